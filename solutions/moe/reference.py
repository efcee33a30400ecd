"""A mixture-of-experts feed-forward: router, dispatch, load balancing, capacity, in a sliding-window model's block.

Left out: shared experts, router noise, expert parallelism, bias-based balancing.
Sizes: B batch, T positions, N = B·T tokens, D model width, F expert width, E experts, k experts a token.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812 — its usual name
from moe_model import Context, WindowedAttention
from torch import nn


def route(
    x: torch.Tensor, w_router: torch.Tensor, k: int, renormalise: bool = True
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Choose k experts for each token: those with the highest logits x @ w_routerᵀ.

    Args: x: [N, D]. w_router: [E, D]. k: 1 to E, else ValueError. renormalise: let a token's k weights sum to 1.
    Returns: (weights [N, k], indices [N, k] int64, probs [N, E]): highest logit first, of equal ones the lower index;
        probs is the softmax over all experts. weights and probs are float32 for half precision, else of x's dtype.
    """
    if not 1 <= k <= len(w_router):
        raise ValueError(f"k must be between 1 and {len(w_router)} experts, not {k}")
    dtype = torch.promote_types(x.dtype, torch.float32)
    logits = F.linear(x.to(dtype), w_router.to(dtype))  # (N, E)
    ordered, experts = logits.sort(dim=-1, descending=True, stable=True)  # topk promises no order among equals
    indices, probs = experts[:, :k], logits.softmax(dim=-1)  # (N, k), (N, E)
    weights = ordered[:, :k].softmax(dim=-1) if renormalise else probs.gather(-1, indices)  # (N, k)
    return weights, indices, probs


class MoE(nn.Module):
    """A feed-forward layer of E experts, each a SwiGLU of width F without biases, of which k work on each token."""

    def __init__(self, dim: int, hidden: int, n_experts: int, k: int, renormalise: bool = True) -> None:
        super().__init__()
        self.k, self.renormalise = k, renormalise
        self.w_router = nn.Parameter(torch.randn(n_experts, dim) / math.sqrt(dim))  # (E, D)
        self.w_in = nn.Parameter(torch.randn(n_experts, 2 * hidden, dim) / math.sqrt(dim))  # (E, 2F, D)
        self.w_out = nn.Parameter(torch.randn(n_experts, dim, hidden) / math.sqrt(hidden))  # (E, D, F)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The weighted sum of what each token's k experts make of it; no expert works on any other token.

        Args: x: [B, T, D].
        Returns: [B, T, D], of x's dtype.
        """
        flat, weights, indices = self._routed(x)
        return self._dispatched(flat, weights, indices, torch.ones_like(indices, dtype=torch.bool)).view(x.shape)

    def limited(self, x: torch.Tensor, capacity_factor: float) -> tuple[torch.Tensor, float]:
        """forward with a limit on the tokens of an expert: assignments beyond it add nothing, the others stay as is.

        Args: x: [B, T, D]; a token's place in x.reshape(B·T, D) is its rank. capacity_factor: as in
            keep_within_capacity.
        Returns: (y [B, T, D], the fraction of the N·k assignments that were dropped, 0.0 without tokens).
        """
        flat, weights, indices = self._routed(x)
        keep = keep_within_capacity(indices, len(self.w_router), capacity_factor)
        dropped = (~keep).sum().item() / max(keep.numel(), 1)
        return self._dispatched(flat, weights, indices, keep).view(x.shape), dropped

    def grouped(self, x: torch.Tensor) -> torch.Tensor:
        """forward by sorting: the rows of an expert lie side by side, and experts without tokens cost nothing.

        Args: x: [B, T, D].
        Returns: [B, T, D], of x's dtype.
        """
        flat, weights, indices = self._routed(x)
        order, offsets = sort_by_expert(indices, len(self.w_router))
        token = order // self.k  # (N·k)
        rows = flat[token]  # (N·k, D)
        parts = [self._expert(e, rows[a:b]) for e, (a, b) in enumerate(pairwise(offsets.tolist())) if a < b]
        done = weights.flatten()[order, None] * torch.cat([rows[:0], *parts])  # (N·k, D)
        return flat.new_zeros(flat.shape).index_add_(0, token, done.to(x.dtype)).view(x.shape)

    def _routed(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        flat = x.reshape(-1, x.shape[-1])  # (N, D)
        weights, indices, _ = route(flat, self.w_router, self.k, self.renormalise)
        return flat, weights, indices

    def _dispatched(
        self, flat: torch.Tensor, weights: torch.Tensor, indices: torch.Tensor, keep: torch.Tensor
    ) -> torch.Tensor:
        y = flat.new_zeros(flat.shape)  # (N, D)
        for expert in range(len(self.w_router)):
            token, slot = ((indices == expert) & keep).nonzero(as_tuple=True)  # (n), (n)
            done = self._expert(expert, flat[token])  # (n, D)
            y.index_add_(0, token, (weights[token, slot, None] * done).to(y.dtype))
        return y

    def _expert(self, expert: int, rows: torch.Tensor) -> torch.Tensor:
        gate, up = F.linear(rows, self.w_in[expert]).chunk(2, dim=-1)  # (n, F), (n, F)
        return F.linear(F.silu(gate) * up, self.w_out[expert])  # (n, D)


class Block(nn.Module):
    """A pre-norm transformer block whose feed-forward is a MoE."""

    def __init__(self, dim: int, hidden: int, n_experts: int, k: int) -> None:
        super().__init__()
        self.norm_attention = nn.RMSNorm(dim, eps=1e-6)
        self.attention = WindowedAttention(dim)
        self.norm_moe = nn.RMSNorm(dim, eps=1e-6)
        self.moe = MoE(dim, hidden, n_experts, k)

    def forward(self, x: torch.Tensor, context: Context) -> torch.Tensor:
        """Add attention, then the MoE, each to the residual stream and each on its norm.

        Args: x: [B, T, D], a whole sequence or a chunk of one. context: what the attention has to know.
        Returns: [B, T, D].
        """
        x = x + self.attention(self.norm_attention(x), context)
        return x + self.moe(self.norm_moe(x))


def load_balancing_loss(
    probs: torch.Tensor, indices: torch.Tensor, n_experts: int, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """E·Σ f_e·P_e: 1 where the load is balanced, E where one expert gets everything (Fedus et al. 2021, for k = 1).

    Args: probs: [N, E]. indices: [N, k]. mask: [N] bool, True = the token counts; None = all do. What the others hold
        is not looked at.
    Returns: () of probs' dtype, 0 where no token counts. The gradient goes through probs.
    """
    if mask is not None:
        probs, indices = probs[mask], indices[mask]
    counts = torch.bincount(indices.flatten(), minlength=n_experts)  # (E)
    fraction = counts.to(probs.dtype) / max(indices.numel(), 1)  # (E), sums to 1
    mean = probs.sum(dim=0) / max(len(probs), 1)  # (E), sums to 1
    return n_experts * (fraction * mean).sum()


def model_balancing_loss(
    routings: Sequence[tuple[torch.Tensor, torch.Tensor]], n_experts: int, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """The mean over the layers of their load_balancing_loss.

    Args: routings: (probs, indices) of one layer or more. n_experts, mask: as in load_balancing_loss, for all layers.
    Returns: ().
    """
    losses = [load_balancing_loss(probs, indices, n_experts, mask) for probs, indices in routings]
    return torch.stack(losses).mean()


def router_z_loss(logits: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """The mean over the tokens of logsumexp(logits)² (Zoph et al. 2022).

    Args: logits: [N, E]. mask: as in load_balancing_loss.
    Returns: () of logits' dtype, 0 where no token counts.
    """
    if mask is not None:
        logits = logits[mask]
    return logits.logsumexp(dim=-1).square().sum() / max(len(logits), 1)


def keep_within_capacity(indices: torch.Tensor, n_experts: int, capacity_factor: float) -> torch.Tensor:
    """Which assignments find room if an expert takes ceil(capacity_factor·N·k/E) at most, earlier tokens first.

    Args: indices: [N, k], each row of different experts. capacity_factor: > 0, else ValueError.
    Returns: [N, k] bool.
    """
    if not capacity_factor > 0:
        raise ValueError(f"capacity_factor must be positive, not {capacity_factor}")
    capacity = math.ceil(capacity_factor * indices.numel() / n_experts)
    chosen = F.one_hot(indices.flatten(), n_experts)  # (N·k, E)
    rank = (chosen.cumsum(dim=0) * chosen).sum(dim=-1)  # (N·k), from 1
    return (rank <= capacity).view(indices.shape)


def sort_by_expert(indices: torch.Tensor, n_experts: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Put the assignments of an expert side by side, the experts in ascending order.

    Args: indices: [N, k].
    Returns: (order [N·k], offsets [E + 1]), both int64: order holds the numbers n·k + slot, ascending within an expert,
        and those of expert e stand in order[offsets[e]:offsets[e + 1]].
    """
    flat = indices.flatten()  # (N·k)
    counts = torch.bincount(flat, minlength=n_experts)  # (E)
    return flat.argsort(stable=True), F.pad(counts.cumsum(dim=0), (1, 0))
