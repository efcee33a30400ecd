"""Sinusoidal and rotary position encodings, greedy decoding and temperature. PROMPT.md pins the details.

Sizes: B batch, H heads, T positions, Tq queries, Tk keys, d model width, hd channels of a head (even), V vocabulary.
"""

import torch
from torch import Tensor


def sinusoidal_positions(length: int, d: int, base: float = 10000.0) -> Tensor:
    """The table of Vaswani et al. 2017, section 3.5: row p has sin(p·base^(−2i/d)) at column 2i, its cos at 2i + 1.

    Args: length: rows, for the positions 0, 1, …; may be 0. d: columns, 1 or more; the last of an odd d is a sin.
    Returns: [length, d] float32, a new tensor.
    """
    raise NotImplementedError("sinusoidal: multiply each position by each pair's frequency first")


def add_positions(x: Tensor, start: int = 0, base: float = 10000.0) -> Tensor:
    """x plus the sinusoidal rows of the positions start, start + 1, …; x itself is not scaled.

    Args: x: [B, T, d] float32 or float64, not modified. start: the position of x's first token, 0 or more.
    Returns: [B, T, d], of x's dtype.
    """
    raise NotImplementedError("sinusoidal: take the rows from start on")


def rope_cos_sin(positions: Tensor, head_dim: int, base: float = 10000.0) -> tuple[Tensor, Tensor]:
    """Cos and sin of the angles m·base^(−2i/hd) by which RoPE turns pair i < hd/2 at position m.

    Args: positions: [..., T] of any integer type, float32 or float64: in any order, negative or fractional too.
        head_dim: hd; odd: ValueError.
    Returns: (cos, sin), [..., T, hd/2] float32 each.
    """
    raise NotImplementedError("tables: refuse an odd head_dim, then compute the hd/2 frequencies")


def apply_rope(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair of channels (i, i + hd/2), the half-split layout: (a, b) → (a·cos − b·sin, a·sin + b·cos).

    Args: x: [B, H, T, hd], queries or keys, of any float type; may be non-contiguous; not modified. cos, sin:
        [T, hd/2] float32, or [B, T, hd/2], a table for each row of the batch.
    Returns: [B, H, T, hd] of x's dtype, computed in float32 or wider (float64 in float64) and rounded once.
    """
    raise NotImplementedError("rope: take the two halves of the last axis first")


def greedy(logits: Tensor) -> Tensor:
    """The most likely token of each row, of equals the lowest id: logits [B, V] → [B] int64."""
    raise NotImplementedError("decoding: find the largest logit of each row")


def temperature_probs(logits: Tensor, t: float) -> Tensor:
    """softmax(logits / t) along the last axis; at t = 0 all probability is on the greedy token.

    Args: logits: [B, V] float32 or float64, finite or −inf, not all −inf in a row; not modified. t: 0, or 1e-35 or
        more. t < 0: ValueError.
    Returns: [B, V] of the logits' dtype.
    """
    raise NotImplementedError("decoding: settle t < 0 and t = 0 first")


def sample(logits: Tensor, t: float, generator: torch.Generator) -> Tensor:
    """A token of each row, drawn independently from temperature_probs(logits, t).

    Args: logits, t: as in temperature_probs. generator: the only source of chance; at t = 0 it is not drawn from.
    Returns: [B] int64.
    """
    raise NotImplementedError("decoding: draw from temperature_probs with the generator")


def positions_from_mask(mask: Tensor) -> Tensor:
    """Each token's position: the number of tokens before it in its row. Padding has position 0, wherever it stands.

    Args: mask: [B, T] bool, True = token, False = padding.
    Returns: [B, T] int64.
    """
    raise NotImplementedError("positions: count the tokens up to each place")


def rope_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    q_positions: Tensor,
    k_positions: Tensor,
    mask: Tensor | None = None,
    base: float = 10000.0,
) -> Tensor:
    """Scaled dot-product attention of queries and keys that are turned by their own positions.

    Args: q: [B, H, Tq, hd]. k: [B, H, Tk, hd]. v: [B, H, Tk, dv]. q_positions: [Tq] or [B, Tq]. k_positions: [Tk] or
        [B, Tk]. mask: bool, broadcasts to [B, H, Tq, Tk], True = the query sees the key; None = every one sees all.
    Returns: [B, H, Tq, dv].
    """
    raise NotImplementedError("positions: turn q and k, each by its own positions")


def to_half_split(x: Tensor) -> Tensor:
    """Interleaved channels (a0, b0, a1, b1, …) in half-split order (a0, a1, …, b0, b1, …): [..., hd] → [..., hd]."""
    raise NotImplementedError("layouts: take the even channels, then the odd ones")


def to_interleaved(x: Tensor) -> Tensor:
    """Half-split channels (a0, a1, …, b0, b1, …) in interleaved order (a0, b0, a1, b1, …): [..., hd] → [..., hd]."""
    raise NotImplementedError("layouts: put the two halves side by side")


def projection_to_half_split(weight: Tensor, n_heads: int) -> Tensor:
    """The weight of a query or key projection that was trained for interleaved pairs, for use with apply_rope.

    Args: weight: [H·hd, D], as in nn.Linear; head h owns the rows h·hd to (h + 1)·hd. n_heads: H.
    Returns: [H·hd, D], whose products x @ weight.T are those of before, each head's channels in half-split order.
    """
    raise NotImplementedError("layouts: split the rows into heads first")


def scaled_cos_sin(positions: Tensor, head_dim: int, factor: float, base: float = 10000.0) -> tuple[Tensor, Tensor]:
    """rope_cos_sin for a context `factor` times as long: position m is turned like m/factor (Chen et al. 2023).

    Args: positions, head_dim, base: as in rope_cos_sin. factor: above 0.
    Returns: (cos, sin), [..., T, hd/2] float32 each.
    """
    raise NotImplementedError("layouts: scale the positions, then ask rope_cos_sin")
