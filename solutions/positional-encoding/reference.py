"""Sinusoidal and rotary position encodings (Vaswani et al. 2017; Su et al. 2021), greedy decoding and temperature.

Left out: learned positions, caches of tables, YaRN's frequencies, top-k and top-p.
Sizes: B batch, H heads, T positions, Tq queries, Tk keys, d model width, hd channels of a head (even), V vocabulary.
"""

import torch
import torch.nn.functional as F  # noqa: N812 — its usual name
from torch import Tensor


def sinusoidal_positions(length: int, d: int, base: float = 10000.0) -> Tensor:
    """The table of Vaswani et al. 2017, section 3.5: row p has sin(p·base^(−2i/d)) at column 2i, its cos at 2i + 1.

    Args: length: rows, for the positions 0, 1, …; may be 0. d: columns, 1 or more; the last of an odd d is a sin.
    Returns: [length, d] float32, a new tensor.
    """
    columns = torch.arange(d, dtype=torch.float32)
    frequencies = base ** (-2 * (columns // 2) / d)  # (d,)
    angles = torch.arange(length, dtype=torch.float32)[:, None] * frequencies  # (length, d)
    return torch.where(columns % 2 == 0, angles.sin(), angles.cos())


def add_positions(x: Tensor, start: int = 0, base: float = 10000.0) -> Tensor:
    """x plus the sinusoidal rows of the positions start, start + 1, …; x itself is not scaled.

    Args: x: [B, T, d] float32 or float64, not modified. start: the position of x's first token, 0 or more.
    Returns: [B, T, d], of x's dtype.
    """
    table = sinusoidal_positions(start + x.shape[1], x.shape[2], base)
    return x + table[start:].to(x.dtype)  # (B, T, d) + (T, d)


def rope_cos_sin(positions: Tensor, head_dim: int, base: float = 10000.0) -> tuple[Tensor, Tensor]:
    """Cos and sin of the angles m·base^(−2i/hd) by which RoPE turns pair i < hd/2 at position m.

    Args: positions: [..., T] of any integer type, float32 or float64: in any order, negative or fractional too.
        head_dim: hd; odd: ValueError.
    Returns: (cos, sin), [..., T, hd/2] float32 each.
    """
    if head_dim % 2:
        raise ValueError(f"head_dim {head_dim} is odd: its channels make no pairs")
    frequencies = base ** (-torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)  # (hd/2,)
    angles = positions[..., None].float() * frequencies  # (..., T, hd/2)
    return angles.cos(), angles.sin()


def apply_rope(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair of channels (i, i + hd/2), the half-split layout: (a, b) → (a·cos − b·sin, a·sin + b·cos).

    Args: x: [B, H, T, hd], queries or keys, of any float type; may be non-contiguous; not modified. cos, sin:
        [T, hd/2] float32, or [B, T, hd/2], a table for each row of the batch.
    Returns: [B, H, T, hd] of x's dtype, computed in float32 or wider (float64 in float64) and rounded once.
    """
    if cos.dim() == 3:
        cos, sin = cos[:, None], sin[:, None]  # (B, 1, T, hd/2): the same for all heads
    a, b = x.chunk(2, dim=-1)  # (B, H, T, hd/2) each
    return torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1).to(x.dtype)


def greedy(logits: Tensor) -> Tensor:
    """The most likely token of each row, of equals the lowest id: logits [B, V] → [B] int64."""
    return logits.argmax(dim=-1)


def temperature_probs(logits: Tensor, t: float) -> Tensor:
    """softmax(logits / t) along the last axis; at t = 0 all probability is on the greedy token.

    Args: logits: [B, V] float32 or float64, finite or −inf, not all −inf in a row; not modified. t: 0, or 1e-35 or
        more. t < 0: ValueError.
    Returns: [B, V] of the logits' dtype.
    """
    if t < 0:
        raise ValueError(f"a temperature of {t} is negative")
    if t == 0:
        return F.one_hot(greedy(logits), logits.shape[-1]).to(logits.dtype)
    below = logits - logits.amax(dim=-1, keepdim=True)  # first, so that a small t makes −inf of it and never +inf
    return torch.softmax(below / t, dim=-1)


def sample(logits: Tensor, t: float, generator: torch.Generator) -> Tensor:
    """A token of each row, drawn independently from temperature_probs(logits, t).

    Args: logits, t: as in temperature_probs. generator: the only source of chance; at t = 0 it is not drawn from.
    Returns: [B] int64.
    """
    if t == 0:
        return greedy(logits)
    return torch.multinomial(temperature_probs(logits, t), 1, generator=generator).squeeze(-1)


def positions_from_mask(mask: Tensor) -> Tensor:
    """Each token's position: the number of tokens before it in its row. Padding has position 0, wherever it stands.

    Args: mask: [B, T] bool, True = token, False = padding.
    Returns: [B, T] int64.
    """
    return (mask.cumsum(dim=-1) - 1).masked_fill(~mask, 0)


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
    q = apply_rope(q, *rope_cos_sin(q_positions, q.shape[-1], base))
    k = apply_rope(k, *rope_cos_sin(k_positions, k.shape[-1], base))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def to_half_split(x: Tensor) -> Tensor:
    """Interleaved channels (a0, b0, a1, b1, …) in half-split order (a0, a1, …, b0, b1, …): [..., hd] → [..., hd]."""
    return torch.cat((x[..., 0::2], x[..., 1::2]), dim=-1)


def to_interleaved(x: Tensor) -> Tensor:
    """Half-split channels (a0, a1, …, b0, b1, …) in interleaved order (a0, b0, a1, b1, …): [..., hd] → [..., hd]."""
    return torch.stack(x.chunk(2, dim=-1), dim=-1).flatten(-2)


def projection_to_half_split(weight: Tensor, n_heads: int) -> Tensor:
    """The weight of a query or key projection that was trained for interleaved pairs, for use with apply_rope.

    Args: weight: [H·hd, D], as in nn.Linear; head h owns the rows h·hd to (h + 1)·hd. n_heads: H.
    Returns: [H·hd, D], whose products x @ weight.T are those of before, each head's channels in half-split order.
    """
    heads = weight.unflatten(0, (n_heads, -1))  # (H, hd, D)
    return to_half_split(heads.mT).mT.flatten(0, 1)


def scaled_cos_sin(positions: Tensor, head_dim: int, factor: float, base: float = 10000.0) -> tuple[Tensor, Tensor]:
    """rope_cos_sin for a context `factor` times as long: position m is turned like m/factor (Chen et al. 2023).

    Args: positions, head_dim, base: as in rope_cos_sin. factor: above 0.
    Returns: (cos, sin), [..., T, hd/2] float32 each.
    """
    return rope_cos_sin(positions / factor, head_dim, base)
