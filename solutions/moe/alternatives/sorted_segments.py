"""Everything from one sort of the assignments: forward, capacity and grouped are the same walk over its segments."""

import math

import torch
import torch.nn.functional as F  # noqa: N812 — its usual name
from moe_model import WindowedAttention
from torch import nn


def route(x, w_router, k, renormalise=True):
    if k not in range(1, len(w_router) + 1):
        raise ValueError(f"k = {k}")
    precise = x.dtype if x.dtype == torch.float64 else torch.float32
    logits = torch.einsum("nd,ed->ne", x.to(precise), w_router.to(precise))
    indices = torch.argsort(-logits, dim=-1, stable=True)[:, :k]
    log_probs = logits.log_softmax(-1)
    chosen = log_probs.gather(-1, indices)
    if renormalise:
        chosen = chosen - chosen.logsumexp(-1, keepdim=True)
    return chosen.exp(), indices, log_probs.exp()


def sort_by_expert(indices, n_experts):
    k = indices.shape[1]
    keys = indices * (len(indices) * k) + torch.arange(indices.numel(), device=indices.device).view(-1, k)
    order = keys.reshape(-1).argsort()  # no two keys are equal
    counts = torch.zeros(n_experts, dtype=torch.int64, device=indices.device)
    counts.scatter_add_(0, indices.reshape(-1), torch.ones_like(order))
    return order, torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def keep_within_capacity(indices, n_experts, capacity_factor):
    if capacity_factor <= 0:
        raise ValueError(f"capacity_factor = {capacity_factor}")
    capacity = math.ceil(capacity_factor * indices.numel() / n_experts)
    order, offsets = sort_by_expert(indices, n_experts)
    expert = indices.reshape(-1)[order]
    rank = torch.arange(len(order), device=order.device) - offsets[expert]
    keep = torch.empty_like(order, dtype=torch.bool)
    keep[order] = rank < capacity
    return keep.view(indices.shape)


class MoE(nn.Module):
    def __init__(self, dim, hidden, n_experts, k, renormalise=True):
        super().__init__()
        self.n_experts, self.k, self.renormalise = n_experts, k, renormalise
        self.w_router = nn.Parameter(torch.randn(n_experts, dim) / math.sqrt(dim))
        self.w_in = nn.Parameter(torch.randn(n_experts, 2 * hidden, dim) / math.sqrt(dim))
        self.w_out = nn.Parameter(torch.randn(n_experts, dim, hidden) / math.sqrt(hidden))

    def forward(self, x):
        return self.walk(x, lambda indices: indices >= 0)[0]

    def limited(self, x, capacity_factor):
        y, keep = self.walk(x, lambda indices: keep_within_capacity(indices, self.n_experts, capacity_factor))
        return y, 0.0 if keep.numel() == 0 else 1 - keep.float().mean().item()

    def grouped(self, x):
        return self.forward(x)

    def walk(self, x, choose):
        flat = x.reshape(-1, x.shape[2])
        weights, indices, _ = route(flat, self.w_router, self.k, self.renormalise)
        keep = choose(indices)
        order, _ = sort_by_expert(indices, self.n_experts)
        order = order[keep.flatten()[order]]  # what is dropped leaves its segment
        experts, sizes = indices.flatten()[order].unique_consecutive(return_counts=True)
        tokens = order // self.k
        segments = flat[tokens].split(sizes.tolist())
        parts = [self.expert(e, rows) for e, rows in zip(experts.tolist(), segments, strict=False)]
        y = torch.zeros(flat.shape, dtype=torch.promote_types(x.dtype, weights.dtype), device=x.device)
        if parts:
            y = y.index_add(0, tokens, torch.cat(parts) * weights.flatten()[order].unsqueeze(1))
        return y.to(x.dtype).reshape(x.shape), keep

    def expert(self, e, rows):
        gate, up = (rows @ self.w_in[e].T).chunk(2, -1)
        return (F.silu(gate) * up) @ self.w_out[e].T


class Block(nn.Module):
    def __init__(self, dim, hidden, n_experts, k):
        super().__init__()
        self.norm_attention = nn.RMSNorm(dim, eps=1e-6)
        self.attention = WindowedAttention(dim)
        self.norm_moe = nn.RMSNorm(dim, eps=1e-6)
        self.moe = MoE(dim, hidden, n_experts, k)

    def forward(self, x, context):
        for norm, branch in (
            (self.norm_attention, lambda h: self.attention(h, context)),
            (self.norm_moe, self.moe),
        ):
            x = x + branch(norm(x))
        return x


def load_balancing_loss(probs, indices, n_experts, mask=None):
    rows = torch.arange(len(probs)) if mask is None else mask.nonzero().squeeze(1)
    if len(rows) == 0:
        return probs[rows].sum()
    mean = probs[rows].mean(0)
    chosen = indices[rows].flatten()
    return n_experts * mean[chosen].mean()  # Σ_e f_e·P_e is the mean of P over the assignments


def model_balancing_loss(routings, n_experts, mask=None):
    total = 0.0
    for probs, indices in routings:
        total = total + load_balancing_loss(probs, indices, n_experts, mask)
    return total / len(routings)


def router_z_loss(logits, mask=None):
    if mask is not None:
        logits = logits[mask]
    if len(logits) == 0:
        return logits.sum()
    return logits.logsumexp(1).pow(2).mean()
