"""Complex numbers: a pair of channels is one number, and a rotation is a multiplication by exp(i·angle).

Angles in float64. Tokens are drawn by an exponential race instead of by multinomial.
"""

import torch
from torch import Tensor


def sinusoidal_positions(length: int, d: int, base: float = 10000.0) -> Tensor:
    pairs = (d + 1) // 2
    turns = _unit(torch.arange(length), torch.arange(pairs) * 2 / d, base)  # (length, pairs)
    return torch.stack((turns.imag, turns.real), dim=-1).flatten(1)[:, :d].float()


def add_positions(x: Tensor, start: int = 0, base: float = 10000.0) -> Tensor:
    return (x + sinusoidal_positions(start + x.shape[1], x.shape[2], base)[start:]).to(x.dtype)


def rope_cos_sin(positions: Tensor, head_dim: int, base: float = 10000.0) -> tuple[Tensor, Tensor]:
    if head_dim % 2 == 1:
        raise ValueError("head_dim must be even")
    turns = _unit(positions, torch.arange(head_dim // 2) * 2 / head_dim, base)
    return turns.real.float(), turns.imag.float()


def apply_rope(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    wide = torch.promote_types(x.dtype, torch.float32)
    turns = torch.complex(cos.to(wide), sin.to(wide))
    if turns.ndim == 3:
        turns = turns.unsqueeze(1)
    first, second = x.to(wide).unflatten(-1, (2, -1)).unbind(-2)
    turned = torch.complex(first, second) * turns
    return torch.cat((turned.real, turned.imag), dim=-1).to(x.dtype)


def greedy(logits: Tensor) -> Tensor:
    return torch.max(logits, dim=1).indices


def temperature_probs(logits: Tensor, t: float) -> Tensor:
    if t < 0:
        raise ValueError("t must not be negative")
    if t == 0:
        tokens = torch.arange(logits.shape[1])
        return (tokens == greedy(logits)[:, None]).to(logits.dtype)
    weights = ((logits - logits.max(dim=1, keepdim=True).values) / t).exp()
    return weights / weights.sum(dim=1, keepdim=True)


def sample(logits: Tensor, t: float, generator: torch.Generator) -> Tensor:
    probs = temperature_probs(logits, t)
    if t == 0:
        return probs.argmax(dim=1)
    arrivals = torch.empty_like(probs).exponential_(generator=generator)
    return (probs / arrivals).argmax(dim=1)  # of rates p the first to arrive is i with probability p_i


def positions_from_mask(mask: Tensor) -> Tensor:
    before = mask.cumsum(dim=1) - mask.long()
    return torch.where(mask, before, 0)


def rope_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    q_positions: Tensor,
    k_positions: Tensor,
    mask: Tensor | None = None,
    base: float = 10000.0,
) -> Tensor:
    turned_q, turned_k = (
        apply_rope(x, *rope_cos_sin(positions, x.size(-1), base))
        for x, positions in ((q, q_positions), (k, k_positions))
    )
    scores = turned_q @ turned_k.transpose(2, 3) * q.size(-1) ** -0.5
    if mask is not None:
        scores = scores.where(mask, -torch.inf)
    return scores.softmax(-1) @ v


def to_half_split(x: Tensor) -> Tensor:
    return x.unflatten(-1, (-1, 2)).transpose(-1, -2).flatten(-2)


def to_interleaved(x: Tensor) -> Tensor:
    return x.unflatten(-1, (2, -1)).transpose(-1, -2).flatten(-2)


def projection_to_half_split(weight: Tensor, n_heads: int) -> Tensor:
    rows, d = weight.shape
    return weight.reshape(n_heads, rows // n_heads // 2, 2, d).swapaxes(1, 2).reshape(rows, d)


def scaled_cos_sin(positions: Tensor, head_dim: int, factor: float, base: float = 10000.0) -> tuple[Tensor, Tensor]:
    return rope_cos_sin(positions.double() / factor, head_dim, base)


def _unit(positions: Tensor, exponents: Tensor, base: float) -> Tensor:
    """exp(i·m·base^(−exponent)), complex128 [..., exponents]."""
    angles = positions.double().unsqueeze(-1) * base ** -exponents.double()
    return torch.polar(torch.ones_like(angles), angles)
