"""Rotation matrices of 2 × 2, contracted by einsum; permutations as index lists; tokens by the inverse of the CDF."""

import math

import torch
from torch import Tensor


def sinusoidal_positions(length: int, d: int, base: float = 10000.0) -> Tensor:
    rows = [[_wave(p * base ** (-(c - c % 2) / d), c % 2) for c in range(d)] for p in range(length)]
    return torch.tensor(rows, dtype=torch.float32).reshape(length, d)


def add_positions(x: Tensor, start: int = 0, base: float = 10000.0) -> Tensor:
    out = x.clone()
    out += sinusoidal_positions(start + x.shape[1], x.shape[2], base)[-x.shape[1] :]
    return out


def rope_cos_sin(positions: Tensor, head_dim: int, base: float = 10000.0) -> tuple[Tensor, Tensor]:
    if head_dim % 2 != 0:
        raise ValueError(f"cannot pair {head_dim} channels")
    frequencies = torch.tensor([base ** (-2 * i / head_dim) for i in range(head_dim // 2)])
    angles = torch.einsum("...,i->...i", positions.to(torch.float32), frequencies)
    return torch.cos(angles), torch.sin(angles)


def apply_rope(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    matrices = torch.stack((torch.stack((cos, -sin)), torch.stack((sin, cos))))  # (2, 2, [B,] T, hd/2)
    tables = matrices if matrices.dim() == 5 else matrices.unsqueeze(2)
    exact = torch.promote_types(x.dtype, torch.float32)
    pairs = x.to(exact).unflatten(-1, (2, -1))  # (B, H, T, 2, hd/2)
    turned = torch.einsum("pqbti,bhtqi->bhtpi", tables.to(exact).expand(-1, -1, len(x), -1, -1), pairs)
    return turned.flatten(-2).to(x.dtype)


def greedy(logits: Tensor) -> Tensor:
    return torch.tensor([row.index(max(row)) for row in logits.tolist()])


def temperature_probs(logits: Tensor, t: float) -> Tensor:
    if t < 0:
        raise ValueError("negative temperature")
    if t == 0:
        return torch.zeros_like(logits).scatter_(1, greedy(logits)[:, None], 1.0)
    return torch.softmax((logits - logits.max(1, keepdim=True)[0]) / t, 1)


def sample(logits: Tensor, t: float, generator: torch.Generator) -> Tensor:
    probs = temperature_probs(logits, t).double()
    if t == 0:
        return greedy(logits)
    cdf = probs.cumsum(1)
    level = torch.rand(len(probs), 1, generator=generator, dtype=torch.float64) * cdf[:, -1:]
    return torch.searchsorted(cdf, level, right=True).squeeze(1)


def positions_from_mask(mask: Tensor) -> Tensor:
    positions = torch.zeros(mask.shape, dtype=torch.int64)
    for row, seen in zip(positions, mask, strict=True):
        row[seen] = torch.arange(int(seen.sum()))
    return positions


def rope_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    q_positions: Tensor,
    k_positions: Tensor,
    mask: Tensor | None = None,
    base: float = 10000.0,
) -> Tensor:
    q = apply_rope(q, *rope_cos_sin(q_positions, q.shape[-1], base))
    k = apply_rope(k, *rope_cos_sin(k_positions, k.shape[-1], base))
    scores = torch.einsum("bhqd,bhkd->bhqk", q, k) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return torch.einsum("bhqk,bhkv->bhqv", scores.softmax(-1), v)


def to_half_split(x: Tensor) -> Tensor:
    return x[..., _half_split_order(x.shape[-1])]


def to_interleaved(x: Tensor) -> Tensor:
    order = _half_split_order(x.shape[-1])
    return x[..., [order.index(channel) for channel in range(len(order))]]


def projection_to_half_split(weight: Tensor, n_heads: int) -> Tensor:
    hd = len(weight) // n_heads
    return weight[[h * hd + channel for h in range(n_heads) for channel in _half_split_order(hd)]]


def scaled_cos_sin(positions: Tensor, head_dim: int, factor: float, base: float = 10000.0) -> tuple[Tensor, Tensor]:
    return rope_cos_sin(positions.double() / factor, head_dim, base)


def _wave(angle: float, is_cos: int) -> float:
    return math.cos(angle) if is_cos else math.sin(angle)


def _half_split_order(width: int) -> list[int]:
    """For each place in half-split order the interleaved channel that stands there."""
    return [*range(0, width, 2), *range(1, width, 2)]
