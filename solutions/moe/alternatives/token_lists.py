"""Plain Python keeps the books: a list of (token, slot) for each expert; tensors only where there is arithmetic."""

import math
from collections import defaultdict

import torch
from moe_model import WindowedAttention
from torch import nn
from torch.nn import functional


def route(x, w_router, k, renormalise=True):
    if not 0 < k <= w_router.size(0):
        raise ValueError("k has to be between 1 and E")
    if x.dtype.itemsize < 4:
        x, w_router = x.float(), w_router.float()
    logits = x.matmul(w_router.t())
    indices = logits.sort(dim=1, descending=True, stable=True).indices[:, :k].contiguous()
    probs = functional.softmax(logits, dim=1)
    weights = functional.softmax(logits.gather(1, indices), dim=1) if renormalise else probs.gather(1, indices)
    return weights, indices, probs


def lists_of(indices, capacity=math.inf):
    """For each expert that anyone chose, the (token, slot) of those who did, as many as find room."""
    lists = defaultdict(list)
    for token, row in enumerate(indices.tolist()):
        for slot, expert in enumerate(row):
            if len(lists[expert]) < capacity:
                lists[expert].append((token, slot))
    return lists


def capacity_of(indices, n_experts, capacity_factor):
    if capacity_factor <= 0:
        raise ValueError("capacity_factor has to be positive")
    return math.ceil(capacity_factor * indices.numel() / n_experts)


class MoE(nn.Module):
    def __init__(self, dim, hidden, n_experts, k, renormalise=True):
        super().__init__()
        self.k, self.renormalise = k, renormalise
        self.w_router = nn.Parameter(torch.randn(n_experts, dim) / math.sqrt(dim))
        self.w_in = nn.Parameter(torch.randn(n_experts, 2 * hidden, dim) / math.sqrt(dim))
        self.w_out = nn.Parameter(torch.randn(n_experts, dim, hidden) / math.sqrt(hidden))

    def forward(self, x):
        return self.serve(x, *self.choose(x))

    def limited(self, x, capacity_factor):
        weights, indices = self.choose(x)
        capacity = capacity_of(indices, self.w_router.size(0), capacity_factor)
        served = sum(map(len, lists_of(indices, capacity).values()))
        dropped = (indices.numel() - served) / indices.numel() if indices.numel() else 0.0
        return self.serve(x, weights, indices, capacity), dropped

    def grouped(self, x):
        weights, indices = self.choose(x)
        return self.serve(x, weights, indices)

    def choose(self, x):
        weights, indices, _ = route(x.reshape(-1, x.size(-1)), self.w_router, self.k, self.renormalise)
        return weights, indices

    def serve(self, x, weights, indices, capacity=math.inf):
        rows = x.reshape(-1, x.size(-1))
        y = torch.zeros_like(rows, dtype=weights.dtype)
        for expert, assignments in lists_of(indices, capacity).items():
            token, slot = torch.tensor(assignments, device=x.device).T
            gate, up = functional.linear(rows[token], self.w_in[expert]).tensor_split(2, dim=-1)
            made = functional.linear(functional.silu(gate) * up, self.w_out[expert])
            y[token] = y[token] + weights[token, slot].unsqueeze(-1) * made  # no token is in a list twice
        return y.to(x.dtype).reshape(x.shape)


class Block(nn.Module):
    def __init__(self, dim, hidden, n_experts, k):
        super().__init__()
        self.norm_attention = nn.RMSNorm(dim, eps=1e-6)
        self.attention = WindowedAttention(dim)
        self.norm_moe = nn.RMSNorm(dim, eps=1e-6)
        self.moe = MoE(dim, hidden, n_experts, k)

    def forward(self, x, context):
        x = self.attention(self.norm_attention(x), context) + x
        return self.moe(self.norm_moe(x)) + x


def load_balancing_loss(probs, indices, n_experts, mask=None):
    if mask is None:
        mask = torch.ones(probs.size(0), dtype=torch.bool, device=probs.device)
    lists = lists_of(indices[mask])
    assignments = max(1, sum(map(len, lists.values())))
    share = [len(lists[expert]) / assignments for expert in range(n_experts)]
    mean = probs[mask].sum(0) / max(1, int(mask.sum()))
    return n_experts * torch.dot(mean, torch.tensor(share, dtype=probs.dtype, device=probs.device))


def model_balancing_loss(routings, n_experts, mask=None):
    return torch.stack([load_balancing_loss(p, i, n_experts, mask) for p, i in routings]).mean()


def router_z_loss(logits, mask=None):
    counted = logits if mask is None else logits[mask]
    return counted.logsumexp(dim=1).square().sum() / max(1, counted.size(0))


def keep_within_capacity(indices, n_experts, capacity_factor):
    keep = torch.zeros_like(indices, dtype=torch.bool)
    for assignments in lists_of(indices, capacity_of(indices, n_experts, capacity_factor)).values():
        for token, slot in assignments:
            keep[token, slot] = True
    return keep


def sort_by_expert(indices, n_experts):
    k = indices.size(1)
    lists = lists_of(indices)
    order = [token * k + slot for expert in range(n_experts) for token, slot in lists[expert]]
    offsets = [0]
    for expert in range(n_experts):
        offsets.append(offsets[-1] + len(lists[expert]))
    return torch.tensor(order, dtype=torch.int64), torch.tensor(offsets, dtype=torch.int64)
