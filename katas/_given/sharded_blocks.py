"""A model of residual blocks without attention, to be spread over ranks."""

import torch
import torch.nn.functional as F  # noqa: N812 — its usual name
from torch import nn


class Block(nn.Module):
    """x + down(gelu(up(norm(x))))."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.up = nn.Linear(dim, hidden)
        self.down = nn.Linear(hidden, dim, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, dim] → [B, dim]."""
        return x + self.down(F.gelu(self.up(self.norm(x))))


class BlockModel(nn.Module):
    """A linear layer, the blocks, and a linear layer to the classes' logits. Weights come from the global generator."""

    def __init__(self, inputs: int, dim: int, hidden: int, n_blocks: int, classes: int) -> None:
        super().__init__()
        self.embed = nn.Linear(inputs, dim)
        self.blocks = nn.ModuleList(Block(dim, hidden) for _ in range(n_blocks))
        self.head = nn.Linear(dim, classes, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, inputs] → [B, classes]."""
        x = self.embed(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)
