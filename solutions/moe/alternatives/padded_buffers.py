"""Every expert has a buffer of equal size, and two batched products serve all of them: the way of GShard and Switch."""

import math

import torch
from moe_model import WindowedAttention
from torch import nn
from torch.nn.functional import one_hot, silu


def route(x, w_router, k, renormalise=True):
    n_experts = w_router.shape[0]
    if k < 1 or k > n_experts:
        raise ValueError("k is not between 1 and the number of experts")
    if x.dtype in (torch.float16, torch.bfloat16):
        x, w_router = x.float(), w_router.float()
    logits = x @ w_router.T
    probs = torch.softmax(logits, dim=1)
    left, rounds = logits.detach().clone(), []
    for _ in range(k):  # argmax names the first of equals
        best = left.argmax(dim=1, keepdim=True)
        left = left.scatter(1, best, -torch.inf)
        rounds.append(best)
    indices = torch.cat(rounds, dim=1)
    weights = probs.gather(1, indices)
    return (weights / weights.sum(dim=1, keepdim=True) if renormalise else weights), indices, probs


def places(indices, n_experts):
    """How many earlier assignments go to the same expert. -> [N, k]"""
    seen = one_hot(indices, n_experts).sum(dim=1).cumsum(dim=0)  # (N, E)
    return seen.gather(1, indices) - 1


class MoE(nn.Module):
    def __init__(self, dim, hidden, n_experts, k, renormalise=True):
        super().__init__()
        self.k = k
        self.renormalise = renormalise
        self.w_router = nn.Parameter(torch.randn(n_experts, dim) * dim**-0.5)
        self.w_in = nn.Parameter(torch.randn(n_experts, 2 * hidden, dim) * dim**-0.5)
        self.w_out = nn.Parameter(torch.randn(n_experts, dim, hidden) * hidden**-0.5)

    def forward(self, x):
        return self.limited(x, math.inf)[0]

    def limited(self, x, capacity_factor):
        tokens = x.flatten(0, 1)
        weights, indices, _ = route(tokens, self.w_router, self.k, self.renormalise)
        place = places(indices, len(self.w_router))
        keep = torch.ones_like(indices, dtype=torch.bool)
        if capacity_factor != math.inf:
            keep = keep_within_capacity(indices, len(self.w_router), capacity_factor)
        if tokens.shape[0] == 0:
            return torch.zeros_like(x), 0.0
        token, slot = keep.nonzero(as_tuple=True)
        expert, place = indices[token, slot], place[token, slot]
        results = self.in_buffers(tokens, token, expert, place, self.w_in, self.w_out)
        shares = results * weights[token, slot].unsqueeze(1)
        y = torch.zeros_like(tokens).index_add(0, token, shares.to(x.dtype))
        return y.view(x.shape), 1 - len(token) / keep.numel()

    def grouped(self, x):
        tokens = x.flatten(0, 1)
        weights, indices, _ = route(tokens, self.w_router, self.k, self.renormalise)
        if len(tokens) == 0:
            return torch.zeros_like(x)
        used, own = indices.unique(return_inverse=True)  # only these get a buffer
        token = torch.arange(len(tokens), device=x.device).repeat_interleave(self.k)
        place = places(own, len(used)).flatten()
        results = self.in_buffers(tokens, token, own.flatten(), place, self.w_in[used], self.w_out[used])
        shares = (results * weights.reshape(-1, 1)).unflatten(0, (-1, self.k))
        return shares.sum(dim=1).to(x.dtype).view(x.shape)

    def in_buffers(self, tokens, token, expert, place, w_in, w_out):
        """What each assignment's expert makes of its token. -> [assignments, D]"""
        size = int(place.max()) + 1
        buffers = tokens.new_zeros(len(w_in), size, tokens.shape[1])
        buffers = buffers.index_put((expert, place), tokens[token])
        gate, up = torch.bmm(buffers, w_in.mT).chunk(2, dim=2)
        return torch.bmm(silu(gate) * up, w_out.mT)[expert, place]


class Block(nn.Module):
    def __init__(self, dim, hidden, n_experts, k):
        super().__init__()
        self.norm_attention = nn.RMSNorm(dim, eps=1e-6)
        self.attention = WindowedAttention(dim)
        self.norm_moe = nn.RMSNorm(dim, eps=1e-6)
        self.moe = MoE(dim, hidden, n_experts, k)

    def forward(self, x, context):
        attended = x + self.attention(self.norm_attention(x), context)
        return attended + self.moe(self.norm_moe(attended))


def load_balancing_loss(probs, indices, n_experts, mask=None):
    counted = torch.ones(len(probs), dtype=torch.bool, device=probs.device) if mask is None else mask
    counted = counted.unsqueeze(1)
    probs = probs.masked_fill(~counted, 0)
    chosen = one_hot(indices.masked_fill(~counted, 0), n_experts).sum(dim=1) * counted  # (N, E)
    tokens = counted.sum().clamp(min=1)
    f = chosen.sum(dim=0).to(probs.dtype) / (tokens * indices.shape[1])
    return n_experts * f @ (probs.sum(dim=0) / tokens)


def model_balancing_loss(routings, n_experts, mask=None):
    return sum(load_balancing_loss(*routing, n_experts, mask) for routing in routings) / len(routings)


def router_z_loss(logits, mask=None):
    counted = torch.ones(len(logits), dtype=torch.bool, device=logits.device) if mask is None else mask
    z = torch.logsumexp(logits.masked_fill(~counted.unsqueeze(1), 0), dim=1) * counted
    return (z * z).sum() / counted.sum().clamp(min=1)


def keep_within_capacity(indices, n_experts, capacity_factor):
    if capacity_factor <= 0:
        raise ValueError("capacity_factor is not positive")
    n, k = indices.shape
    return places(indices, n_experts) < math.ceil(capacity_factor * n * k / n_experts)


def sort_by_expert(indices, n_experts):
    chosen, order = torch.sort(indices.reshape(-1), stable=True)
    return order, torch.searchsorted(chosen, torch.arange(n_experts + 1, device=chosen.device))
