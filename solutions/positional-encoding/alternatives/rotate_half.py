"""As in Hugging Face's Llama: tables as wide as a head, and x·cos + rotate_half(x)·sin."""

import torch
import torch.nn.functional as F  # noqa: N812 — its usual name
from torch import Tensor


def sinusoidal_positions(length: int, d: int, base: float = 10000.0) -> Tensor:
    table = torch.zeros(length, d)
    frequencies = torch.pow(base, -torch.arange(0, d, 2) / d)
    angles = torch.outer(torch.arange(length).float(), frequencies)
    table[:, 0::2] = angles.sin()
    table[:, 1::2] = angles.cos()[:, : d // 2]
    return table


def add_positions(x: Tensor, start: int = 0, base: float = 10000.0) -> Tensor:
    rows = torch.arange(start, start + x.shape[1])
    return x + F.embedding(rows, sinusoidal_positions(start + x.shape[1], x.shape[2], base)).type_as(x)


def rope_cos_sin(positions: Tensor, head_dim: int, base: float = 10000.0) -> tuple[Tensor, Tensor]:
    if head_dim & 1:
        raise ValueError(f"an odd head_dim: {head_dim}")
    inverse_frequencies = 1.0 / base ** (torch.arange(0, head_dim, 2).float() / head_dim)
    angles = positions.unsqueeze(-1).float() * inverse_frequencies
    return angles.cos(), angles.sin()


def apply_rope(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    cos, sin = (torch.cat((table, table), dim=-1).unsqueeze(-3) for table in (cos, sin))  # ([B,] 1, T, hd)
    return (x * cos + _rotate_half(x) * sin).to(x.dtype)


def greedy(logits: Tensor) -> Tensor:
    return torch.sort(logits, dim=-1, descending=True, stable=True).indices[:, 0]


def temperature_probs(logits: Tensor, t: float) -> Tensor:
    if t < 0:
        raise ValueError(f"t = {t}")
    below = logits - logits.amax(-1, keepdim=True)
    if t > 0:
        return F.softmax(below / t, dim=-1)
    is_largest = below == 0
    return (is_largest & (is_largest.cumsum(-1) == 1)).to(logits.dtype)


def sample(logits: Tensor, t: float, generator: torch.Generator) -> Tensor:
    probs = temperature_probs(logits, t)
    if t == 0:
        return greedy(logits)
    return torch.multinomial(probs, num_samples=1, replacement=True, generator=generator)[:, 0]


def positions_from_mask(mask: Tensor) -> Tensor:
    attention_mask = mask.long()
    return (attention_mask.cumsum(-1) - 1) * attention_mask


def rope_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    q_positions: Tensor,
    k_positions: Tensor,
    mask: Tensor | None = None,
    base: float = 10000.0,
) -> Tensor:
    cos, sin = rope_cos_sin(q_positions, q.size(-1), base)
    k_cos, k_sin = rope_cos_sin(k_positions, k.size(-1), base)
    return F.scaled_dot_product_attention(apply_rope(q, cos, sin), apply_rope(k, k_cos, k_sin), v, mask)


def to_half_split(x: Tensor) -> Tensor:
    return torch.cat(x.unflatten(-1, (-1, 2)).unbind(-1), dim=-1)


def to_interleaved(x: Tensor) -> Tensor:
    out = torch.empty_like(x)
    half = x.size(-1) // 2
    out[..., ::2], out[..., 1::2] = x[..., :half], x[..., half:]
    return out


def projection_to_half_split(weight: Tensor, n_heads: int) -> Tensor:
    return torch.cat([row for head in weight.chunk(n_heads) for row in (head[0::2], head[1::2])])


def scaled_cos_sin(positions: Tensor, head_dim: int, factor: float, base: float = 10000.0) -> tuple[Tensor, Tensor]:
    return rope_cos_sin(positions.div(factor), head_dim, base)


def _rotate_half(x: Tensor) -> Tensor:
    a, b = x.chunk(2, dim=-1)
    return torch.cat((-b, a), dim=-1)
