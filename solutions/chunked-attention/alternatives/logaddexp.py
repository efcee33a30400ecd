"""Each chunk gives a finished result of its own, and all are put together by merging: no running sums."""

import math

import torch
from torch.utils._pytree import tree_map


def streaming_logsumexp(chunks):
    parts = iter(chunks)
    lse = next((chunk.logsumexp(-1) for chunk in parts), None)
    if lse is None:
        raise ValueError("no chunks")
    for chunk in parts:
        lse = torch.logaddexp(lse, chunk.logsumexp(-1))
    return lse


def chunked_attention(q, k, v, chunk_size, causal=False, mask=None):
    if chunk_size < 1:
        raise ValueError(f"a chunk of {chunk_size} keys")
    wide = torch.promote_types(q.dtype, torch.float32)
    result = None
    for start, visible in _windows(q, k, chunk_size, causal, mask):
        keys, values = (x[:, :, start : start + chunk_size].to(wide) for x in (k, v))
        part = _attention(q.to(wide), keys, values, visible)
        result = part if result is None else merge_partials(*result, *part)
    out, lse = result
    return out.to(q.dtype), lse


def merge_partials(o1, lse1, o2, lse2):
    lse = torch.logaddexp(lse1, lse2)
    return _share(lse1, lse) * o1 + _share(lse2, lse) * o2, lse


def _share(part, whole):
    """exp(part − whole), 0 for a part that saw nothing, [..., 1]."""
    return torch.where(part.isneginf(), 0.0, (part - whole).exp()).unsqueeze(-1)


def _windows(q, k, size, causal, mask):
    """Where each chunk begins, and what is seen of it: a bool tensor or None."""
    tq, tk = q.shape[2], k.shape[2]
    place = torch.arange(tk - tq, tk)
    full = None if mask is None else torch.broadcast_to(mask, (*q.shape[:3], tk))
    for start in range(0, tk, size):
        conditions = [] if full is None else [full[..., start : start + size]]
        if causal:
            conditions.append(place[:, None] >= torch.arange(tk)[start : start + size])
        yield start, conditions[0] & conditions[-1] if conditions else None


def _attention(q, k, v, visible):
    """Attention over these keys alone, with 0 and −inf for a query that sees none."""
    scores = torch.einsum("bhid,bhjd->bhij", q, k) / math.sqrt(q.shape[-1])
    if visible is not None:
        scores = torch.where(visible, scores, -math.inf)
    weights = torch.softmax(scores, -1)
    if visible is not None:
        weights = torch.where(visible.any(-1, keepdim=True), weights, 0.0)
    return torch.einsum("bhij,bhjc->bhic", weights, v), scores.logsumexp(-1)


class Recomputing(torch.autograd.Function):
    """The vector-Jacobian product of each chunk's contribution is left to autograd, on a graph of one chunk."""

    @staticmethod
    def forward(q, k, v, chunk_size, causal, mask):
        return chunked_attention(q, k, v, chunk_size, causal, mask)

    @staticmethod
    def setup_context(ctx, inputs, output):
        q, k, v, ctx.chunk_size, ctx.causal, mask = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(q, k, v, mask, *output)

    @staticmethod
    def backward(ctx, dout, _):
        q, k, v, mask, out, lse = ctx.saved_tensors
        delta = torch.linalg.vecdot(dout, out)
        grads = tree_map(torch.zeros_like, (q, k, v))
        for start, visible in _windows(q, k, ctx.chunk_size, ctx.causal, mask):
            here = slice(start, start + ctx.chunk_size)
            with torch.enable_grad():
                leaves = [x.detach().requires_grad_() for x in (q, k[:, :, here], v[:, :, here])]
                objective = _surrogate(*leaves, visible, dout, delta, lse)
            dq, dk, dv = torch.autograd.grad(objective, leaves)
            grads[0].add_(dq)
            grads[1][:, :, here], grads[2][:, :, here] = dk, dv
        return *grads, None, None, None


def _surrogate(q, k, v, visible, dout, delta, lse):
    """Σ P·(dP − delta) with lse and delta held fixed: its gradient is what these keys send back."""
    scores = torch.einsum("bhid,bhjd->bhij", q, k) / math.sqrt(q.shape[-1])
    hidden = lse.isneginf()[..., None] if visible is None else lse.isneginf()[..., None] | ~visible
    weights = (scores - lse.nan_to_num(neginf=0.0)[..., None]).masked_fill(hidden, -math.inf).exp()
    return (weights * (torch.einsum("bhic,bhjc->bhij", dout, v) - delta[..., None])).sum()


def recomputing_attention(q, k, v, chunk_size, causal=False, mask=None):
    return Recomputing.apply(q, k, v, chunk_size, causal, mask)[0]
