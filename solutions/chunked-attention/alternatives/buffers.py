"""In place, in buffers made once; the values carry a column of ones, so that one product sums both out and weights.

The score of a hidden key is the lowest finite number, and its weight is set to 0: nowhere does −inf meet −inf.
"""

import torch

HALVES = {torch.float16, torch.bfloat16}


def streaming_logsumexp(chunks):
    top = total = None
    for chunk in chunks:
        if top is None:
            top = torch.full_like(chunk[..., 0], torch.finfo(chunk.dtype).min)
            total = torch.zeros_like(top)
        new = torch.maximum(top, chunk.max(dim=-1).values)
        total.mul_(top.sub_(new).exp_()).add_(torch.exp(chunk - new[..., None]).sum(-1))
        top = new
    if top is None:
        raise ValueError("no chunks")
    return torch.where(total > 0, top + torch.log(total), float("-inf"))


class Online:
    """The state of the online softmax for [B, H, Tq] queries."""

    def __init__(self, q, dv):
        self.top = q.new_full((*q.shape[:3], 1), torch.finfo(q.dtype).min)
        self.sums = q.new_zeros(*q.shape[:3], dv + 1)

    def add(self, scores, visible, values):
        """Scores [B, H, Tq, c] are overwritten."""
        if visible is not None:
            scores.masked_fill_(~visible, torch.finfo(scores.dtype).min)
        new = torch.maximum(self.top, scores.amax(-1, keepdim=True))
        weights = scores.sub_(new).exp_()
        if visible is not None:
            weights.masked_fill_(~visible, 0.0)
        self.sums.mul_(self.top.sub_(new).exp_()).add_(
            weights @ torch.cat([values, torch.ones_like(values[..., :1])], -1)
        )
        self.top = new

    def results(self):
        total = self.sums[..., -1:]
        out = torch.where(total > 0, self.sums[..., :-1] / total, 0.0)
        return out, (self.top + total.log()).squeeze(-1)


def chunked_attention(q, k, v, chunk_size, causal=False, mask=None):
    q, k, v, dtype = *((x.float() if x.dtype in HALVES else x) for x in (q, k, v)), q.dtype
    online = Online(q, v.shape[-1])
    for start, stop in bounds(k.shape[2], chunk_size):
        scores = (q @ k[:, :, start:stop].transpose(2, 3)).mul_(q.shape[-1] ** -0.5)
        online.add(scores, seen(q, k, start, stop, causal, mask), v[:, :, start:stop])
    out, lse = online.results()
    return out.to(dtype), lse


def bounds(length, size):
    if size <= 0:
        raise ValueError("chunk_size is 1 or more")
    starts = list(range(0, length, size))
    return list(zip(starts, [*starts[1:], length], strict=True))


def seen(q, k, start, stop, causal, mask):
    """What the queries see of the keys start to stop: bool, of a shape that broadcasts, or None for all."""
    allowed = None
    if mask is not None:
        one_for_all = mask.ndim == 0 or mask.shape[-1] == 1
        allowed = mask if one_for_all else mask[..., start:stop]
    if causal:
        lower = torch.ones(q.shape[2], stop - start, dtype=torch.bool).tril(k.shape[2] - q.shape[2] - start)
        allowed = lower if allowed is None else lower & allowed
    return allowed


def merge_partials(o1, lse1, o2, lse2):
    lowest = torch.finfo(lse1.dtype).min
    pair = torch.stack([lse1, lse2])
    weights = (pair - pair.max(0).values.clamp(min=lowest)).exp()
    total = weights.sum(0)
    shares = weights / total.clamp(min=torch.finfo(lse1.dtype).tiny)
    return (shares[..., None] * torch.stack([o1, o2])).sum(0), torch.logsumexp(pair, 0)


class Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v, chunk_size, causal, mask):
        out, lse = chunked_attention(q, k, v, chunk_size, causal, mask)
        ctx.save_for_backward(q, k, v, out, lse, mask)
        ctx.how = chunk_size, causal
        return out

    @staticmethod
    def backward(ctx, dout):
        q, k, v, out, lse, mask = ctx.saved_tensors
        chunk_size, causal = ctx.how
        scale, lse = q.shape[-1] ** -0.5, lse.unsqueeze(-1).clamp(min=torch.finfo(lse.dtype).min)
        delta = torch.einsum("bhqc,bhqc->bhq", dout, out).unsqueeze(-1)
        dq, dks, dvs = torch.zeros_like(q), [], []
        for start, stop in bounds(k.shape[2], chunk_size):
            keys, values = k[:, :, start:stop], v[:, :, start:stop]
            p = (q @ keys.transpose(2, 3)).mul_(scale)
            visible = seen(q, k, start, stop, causal, mask)
            if visible is not None:
                p.masked_fill_(~visible, float("-inf"))
            p.sub_(lse).exp_()
            dvs.append(p.transpose(2, 3) @ dout)
            ds = (dout @ values.transpose(2, 3)).sub_(delta).mul_(p).mul_(scale)
            dq.add_(ds @ keys)
            dks.append(ds.transpose(2, 3) @ q)
        return dq, torch.cat(dks, 2), torch.cat(dvs, 2), None, None, None


def recomputing_attention(q, k, v, chunk_size, causal=False, mask=None):
    return Attention.apply(q, k, v, chunk_size, causal, mask)
