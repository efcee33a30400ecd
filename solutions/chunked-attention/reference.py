"""Exact attention over chunks of keys: the online softmax, merging of partial results, and a backward that recomputes.

Sizes: B batch, H heads, Tq queries, Tk keys, d channels of a query or key, dv channels of a value, c keys of one chunk.
"""

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

HALVES = (torch.float16, torch.bfloat16)


def streaming_logsumexp(chunks: Iterable[Tensor]) -> Tensor:
    """The logsumexp along the last axis of what the chunks would be side by side, in one pass.

    Args: chunks: an iterable, perhaps a generator, of tensors [..., n_i] of one float dtype, n_i ≥ 1, all other sizes
        equal; entries finite or −inf. Read once, in order, and not held together. No chunk at all: ValueError.
    Returns: [...] of the chunks' dtype; −inf where all entries are −inf.
    """
    state = None
    for s in chunks:  # (..., n)
        m, total = state or _nothing(s.shape[:-1], s.dtype)  # (...), (...)
        state = _absorb(m, total, s)[:2]
    if state is None:
        raise ValueError("there is no logsumexp of no chunks")
    m, total = state
    return m + total.log()


def chunked_attention(
    q: Tensor, k: Tensor, v: Tensor, chunk_size: int, causal: bool = False, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """softmax(q kᵀ / √d) v, exactly, holding the scores of `chunk_size` keys at a time.

    Args: q: [B, H, Tq, d]. k: [B, H, Tk, d]. v: [B, H, Tk, dv]. chunk_size: 1 or more, else ValueError; may exceed Tk.
        causal: query i sees key j if j ≤ i + Tk − Tq. mask: bool, of any shape that broadcasts to [B, H, Tq, Tk],
        True = this query sees this key; with `causal` both must allow it.
    Returns: (out, lse): out [B, H, Tq, dv] of q's dtype; lse [B, H, Tq], the natural logsumexp of each query's visible
        scaled scores, float32 for half inputs, else of q's dtype. A query that sees no key has out 0 and lse −inf.
    """
    q_wide = _widened(q)  # (B, H, Tq, d)
    m, total = _nothing(q.shape[:-1], q_wide.dtype)  # (B, H, Tq), (B, H, Tq)
    acc = q_wide.new_zeros(*q.shape[:-1], v.shape[-1])  # (B, H, Tq, dv)
    for keys in _spans(k.shape[2], chunk_size):
        m, total, alpha, p = _absorb(m, total, _scores(q_wide, k, keys, causal, mask))  # p (B, H, Tq, c)
        acc = acc * alpha.unsqueeze(-1) + p @ _widened(v[:, :, keys])
    out = acc / total.masked_fill(total == 0, 1.0).unsqueeze(-1)
    return out.to(q.dtype), m + total.log()


def merge_partials(o1: Tensor, lse1: Tensor, o2: Tensor, lse2: Tensor) -> tuple[Tensor, Tensor]:
    """The attention over two disjoint sets of keys from the attention over each.

    Args: o1, o2: [..., dv], finite. lse1, lse2: [...], finite or −inf; where it is −inf no key of that set was seen,
        and its o does not count. All of one dtype, float32 or float64.
    Returns: (o, lse) in the same shapes and dtype; 0 and −inf where no key of either set was seen.
    """
    m = torch.maximum(lse1, lse2)  # (...)
    shift = _finite(m)
    w1, w2 = (lse1 - shift).exp(), (lse2 - shift).exp()  # (...), (...)
    total = w1 + w2
    weighted = w1.unsqueeze(-1) * o1 + w2.unsqueeze(-1) * o2  # (..., dv)
    return weighted / total.masked_fill(total == 0, 1.0).unsqueeze(-1), m + total.log()


def recomputing_attention(
    q: Tensor, k: Tensor, v: Tensor, chunk_size: int, causal: bool = False, mask: Tensor | None = None
) -> Tensor:
    """The `out` of `chunked_attention`, with a backward pass that recomputes the scores chunk by chunk.

    Args: as there; q, k and v of float32 or float64, each with or without requires_grad.
    Returns: out [B, H, Tq, dv]. Its graph keeps q, k, v, mask, out and lse, and nothing of size Tq × Tk.
    """
    return _Recomputing.apply(q, k, v, chunk_size, causal, mask)


class _Recomputing(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v, chunk_size, causal, mask):
        out, lse = chunked_attention(q, k, v, chunk_size, causal, mask)
        ctx.save_for_backward(q, k, v, mask, out, lse)
        ctx.chunk_size, ctx.causal = chunk_size, causal
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, dout):
        q, k, v, mask, out, lse = ctx.saved_tensors
        dq, dk, dv = torch.zeros_like(q), torch.empty_like(k), torch.empty_like(v)
        delta = (dout * out).sum(-1, keepdim=True)  # (B, H, Tq, 1): the row sums of dP·P over all keys
        for keys in _spans(k.shape[2], ctx.chunk_size):
            p = _probabilities(_scores(q, k, keys, ctx.causal, mask), lse)  # (B, H, Tq, c)
            dv[:, :, keys] = p.mT @ dout
            ds = _score_gradient(p, dout @ v[:, :, keys].mT, delta)  # (B, H, Tq, c)
            dq += ds @ k[:, :, keys]
            dk[:, :, keys] = ds.mT @ q
        scale = 1 / math.sqrt(q.shape[-1])
        return dq * scale, dk * scale, dv, None, None, None


def _nothing(shape: torch.Size, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The running maximum and sum before the first score."""
    return torch.full(shape, -math.inf, dtype=dtype), torch.zeros(shape, dtype=dtype)


def _absorb(m: Tensor, total: Tensor, s: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One step of the online softmax over scores s [..., c]: the new m and total, what rescales older sums, and p."""
    new_m = torch.maximum(m, s.amax(-1))  # (...)
    shift = _finite(new_m)
    alpha, p = (m - shift).exp(), (s - shift.unsqueeze(-1)).exp_()  # (...), (..., c)
    return new_m, total * alpha + p.sum(-1), alpha, p


def _finite(m: Tensor) -> Tensor:
    """m, and 0 where it is −inf: −inf − 0 stays −inf where −inf − (−inf) would be NaN."""
    return m.masked_fill(m == -math.inf, 0.0)


def _probabilities(s: Tensor, lse: Tensor) -> Tensor:
    """exp(s − lse), and 0 in rows that see no key."""
    return (s - _finite(lse).unsqueeze(-1)).exp_()


def _score_gradient(p: Tensor, dp: Tensor, delta: Tensor) -> Tensor:
    """The softmax's backward pass for some keys [B, H, Tq, c], given the whole row's sum of dp·p."""
    return (dp - delta).mul_(p)


def _spans(length: int, size: int) -> Iterator[slice]:
    """[0, size), [size, 2·size), …; the last one may be shorter."""
    if size < 1:
        raise ValueError(f"chunk_size must be 1 or more, not {size}")
    return (slice(start, min(start + size, length)) for start in range(0, length, size))


def _scores(q: Tensor, k: Tensor, keys: slice, causal: bool, mask: Tensor | None) -> Tensor:
    """Scaled scores of these keys, −inf where a query does not see one, [B, H, Tq, c]."""
    s = (q / math.sqrt(q.shape[-1])) @ _widened(k[:, :, keys]).mT
    if causal:
        s = s.masked_fill_(~_causal(q.shape[2], k.shape[2], keys), -math.inf)
    if mask is not None:
        s = s.masked_fill_(~mask.expand(*q.shape[:-1], k.shape[2])[..., keys], -math.inf)
    return s


def _causal(tq: int, tk: int, keys: slice) -> Tensor:
    """Which of these keys lie at or before each query, the last query and the last key being at one place, [Tq, c]."""
    return torch.arange(keys.start, keys.stop) <= torch.arange(tq).unsqueeze(-1) + (tk - tq)


def _widened(x: Tensor) -> Tensor:
    """x, and float32 for half precision."""
    return x.float() if x.dtype in HALVES else x
