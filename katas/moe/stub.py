"""A mixture-of-experts feed-forward: router, dispatch, load balancing, capacity, in a sliding-window model's block.

PROMPT.md pins the details. The constructors are given done, and moe_model.py holds the rest of the model.
Sizes: B batch, T positions, N = B·T tokens, D model width, F expert width, E experts, k experts a token.
"""

import math
from collections.abc import Sequence

import torch
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
    raise NotImplementedError("route: compute the logits [N, E] first")


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
        raise NotImplementedError("moe: reshape x to tokens [N, D] and route them first")

    def limited(self, x: torch.Tensor, capacity_factor: float) -> tuple[torch.Tensor, float]:
        """forward with a limit on the tokens of an expert: assignments beyond it add nothing, the others stay as is.

        Args: x: [B, T, D]; a token's place in x.reshape(B·T, D) is its rank. capacity_factor: as in
            keep_within_capacity.
        Returns: (y [B, T, D], the fraction of the N·k assignments that were dropped, 0.0 without tokens).
        """
        raise NotImplementedError(
            "capacity: write keep_within_capacity first, then let it choose what reaches the experts"
        )

    def grouped(self, x: torch.Tensor) -> torch.Tensor:
        """forward by sorting: the rows of an expert lie side by side, and experts without tokens cost nothing.

        Args: x: [B, T, D].
        Returns: [B, T, D], of x's dtype.
        """
        raise NotImplementedError("grouped: write sort_by_expert first, then gather all rows in its order")


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
        raise NotImplementedError("block: start with the attention and its residual")


def load_balancing_loss(
    probs: torch.Tensor, indices: torch.Tensor, n_experts: int, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """E·Σ f_e·P_e: 1 where the load is balanced, E where one expert gets everything (Fedus et al. 2021, for k = 1).

    Args: probs: [N, E]. indices: [N, k]. mask: [N] bool, True = the token counts; None = all do. What the others hold
        is not looked at.
    Returns: () of probs' dtype, 0 where no token counts. The gradient goes through probs.
    """
    raise NotImplementedError("balance: drop the tokens that do not count first")


def model_balancing_loss(
    routings: Sequence[tuple[torch.Tensor, torch.Tensor]], n_experts: int, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """The mean over the layers of their load_balancing_loss.

    Args: routings: (probs, indices) of one layer or more. n_experts, mask: as in load_balancing_loss, for all layers.
    Returns: ().
    """
    raise NotImplementedError("balance: compute the loss of each layer first")


def router_z_loss(logits: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """The mean over the tokens of logsumexp(logits)² (Zoph et al. 2022).

    Args: logits: [N, E]. mask: as in load_balancing_loss.
    Returns: () of logits' dtype, 0 where no token counts.
    """
    raise NotImplementedError("balance: compute the logsumexp of each token first")


def keep_within_capacity(indices: torch.Tensor, n_experts: int, capacity_factor: float) -> torch.Tensor:
    """Which assignments find room if an expert takes ceil(capacity_factor·N·k/E) at most, earlier tokens first.

    Args: indices: [N, k], each row of different experts. capacity_factor: > 0, else ValueError.
    Returns: [N, k] bool.
    """
    raise NotImplementedError("capacity: compute how many assignments an expert takes first")


def sort_by_expert(indices: torch.Tensor, n_experts: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Put the assignments of an expert side by side, the experts in ascending order.

    Args: indices: [N, k].
    Returns: (order [N·k], offsets [E + 1]), both int64: order holds the numbers n·k + slot, ascending within an expert,
        and those of expert e stand in order[offsets[e]:offsets[e + 1]].
    """
    raise NotImplementedError("grouped: flatten the indices to [N·k] assignments first")
