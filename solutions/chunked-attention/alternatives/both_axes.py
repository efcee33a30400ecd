"""Tiles: blocks of queries and chunks of keys, as in FlashAttention; tiles without a visible key are skipped."""

import functools
import math

import torch

ROWS = 128


def streaming_logsumexp(chunks):
    states = ((s.amax(-1), (s - _shift(s.amax(-1))[..., None]).exp().sum(-1)) for s in chunks)
    try:
        m, l = functools.reduce(_joined, states)  # noqa: E741 — the paper's name
    except TypeError:
        raise ValueError("no chunks") from None
    return m + torch.log(l)


def _shift(m):
    return torch.where(torch.isfinite(m), m, 0)


def _joined(one, other):
    """The associative operation of the online softmax."""
    (m1, l1), (m2, l2) = one, other
    m = torch.maximum(m1, m2)
    return m, l1 * torch.exp(m1 - _shift(m)) + l2 * torch.exp(m2 - _shift(m))


def merge_partials(o1, lse1, o2, lse2):
    lse = torch.logaddexp(lse1, lse2)
    w1, w2 = (torch.exp(part - _shift(lse)) for part in (lse1, lse2))
    return torch.addcmul(o1 * w1[..., None], o2, w2[..., None]), lse


def _tile(q, k, rows, cols, causal, mask):
    """Scaled scores of a tile, −inf where hidden; None where nothing of it is visible to anyone."""
    offset = k.shape[-2] - q.shape[-2]
    if causal and cols.start > rows.stop - 1 + offset:
        return None
    s = torch.matmul(q[..., rows, :] * (1 / math.sqrt(q.shape[-1])), k[..., cols, :].transpose(-1, -2))
    if causal:
        i = torch.arange(rows.start, rows.stop).reshape(-1, 1)
        j = torch.arange(cols.start, cols.stop)
        s = s.where(j - i <= offset, -torch.inf)
    return s if mask is None else s.where(mask[..., rows, cols], -torch.inf)


def _blocks(length, size):
    return [slice(a, min(a + size, length)) for a in range(0, length, size)]


def _opened(mask, q, k):
    return None if mask is None else mask.broadcast_to(q.shape[0], q.shape[1], q.shape[2], k.shape[2])


def chunked_attention(q, k, v, chunk_size, causal=False, mask=None):
    if chunk_size < 1:
        raise ValueError("chunk_size < 1")
    dtype, work = q.dtype, torch.float64 if q.dtype is torch.float64 else torch.float32
    q, k, v = (x.to(work) for x in (q, k, v))
    mask = _opened(mask, q, k)
    out, lse = torch.empty(*q.shape[:3], v.shape[3], dtype=dtype), torch.empty(q.shape[:3], dtype=work)
    for rows in _blocks(q.shape[2], ROWS):
        m = torch.full((*q.shape[:2], rows.stop - rows.start), -torch.inf, dtype=work)
        l, acc = torch.zeros_like(m), 0.0  # noqa: E741 — the paper's name
        for cols in _blocks(k.shape[2], chunk_size):
            s = _tile(q, k, rows, cols, causal, mask)
            if s is None:
                continue
            new = m.maximum(s.amax(-1))
            p, alpha = torch.exp(s - _shift(new)[..., None]), torch.exp(m - _shift(new))
            m, l = new, l * alpha + p.sum(-1)  # noqa: E741 — the paper's name
            acc = acc * alpha[..., None] + torch.matmul(p, v[..., cols, :])
        out[:, :, rows] = acc / torch.where(l == 0, 1, l)[..., None] if torch.is_tensor(acc) else 0.0
        lse[:, :, rows] = m + torch.log(l)
    return out, lse


class Tiled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v, chunk_size, causal, mask):
        out, lse = chunked_attention(q, k, v, chunk_size, causal, mask)
        ctx.save_for_backward(*(q, k, v, out, lse), *([] if mask is None else [mask]))
        ctx.options = chunk_size, causal
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dout):
        q, k, v, out, lse, *masks = ctx.saved_tensors
        mask = _opened(masks[0], q, k) if masks else None
        dq, dk, dv = (torch.zeros(x.shape, dtype=x.dtype) for x in (q, k, v))
        delta = (out * dout).sum(3, keepdim=True)
        for cols in _blocks(k.shape[2], ctx.options[0]):
            for rows in _blocks(q.shape[2], ROWS):
                s = _tile(q, k, rows, cols, ctx.options[1], mask)
                if s is None:
                    continue
                p = torch.exp(s - torch.where(lse == -torch.inf, torch.inf, lse)[:, :, rows, None])
                g = dout[:, :, rows]
                dv[:, :, cols] += torch.matmul(p.transpose(-1, -2), g)
                ds = p * (torch.matmul(g, v[:, :, cols].transpose(-1, -2)) - delta[:, :, rows]) / q.shape[3] ** 0.5
                dq[:, :, rows] += torch.matmul(ds, k[:, :, cols])
                dk[:, :, cols] += torch.matmul(ds.transpose(-1, -2), q[:, :, rows])
        return dq, dk, dv, None, None, None


def recomputing_attention(q, k, v, chunk_size, causal=False, mask=None):
    return Tiled.apply(q, k, v, chunk_size, causal, mask)
