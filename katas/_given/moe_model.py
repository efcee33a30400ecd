"""A sliding-window language model without its blocks: one-head attention, and what stands around the blocks.

Which keys are visible, how positions rotate and what is remembered of earlier chunks comes as a `Context` from outside.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 — its usual name
from torch import nn


class Context(NamedTuple):
    """What a chunk of T tokens that attends to S keys has to know, in one layer."""

    mask: torch.Tensor
    """[T, S] bool, True = this token sees this key."""
    rotation: torch.Tensor
    """[T, D, D]: what the query and the key of each token are multiplied by."""
    remember: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
    """Takes the chunk's keys and values, [B, T, D] each, and returns all S within reach, [B, S, D] each."""


class WindowedAttention(nn.Module):
    """Self-attention with one head."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)

    def forward(self, x: torch.Tensor, context: Context) -> torch.Tensor:
        """[B, T, D] → [B, T, D]."""
        queries, keys, values = self.qkv(x).chunk(3, dim=-1)
        queries, keys = (torch.einsum("tij,btj->bti", context.rotation, part) for part in (queries, keys))
        keys, values = context.remember(keys, values)
        return self.out(F.scaled_dot_product_attention(queries, keys, values, attn_mask=context.mask))


class WindowedModel(nn.Module):
    """Embedding, blocks, norm, logits. A block is any module that is called as `block(x, context)`."""

    def __init__(self, vocab: int, dim: int, blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocab, dim)
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.RMSNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, vocab, bias=False)

    def forward(self, ids: torch.Tensor, contexts: Sequence[Context]) -> torch.Tensor:
        """Ids [B, T], one context a block → logits [B, T, vocab]."""
        x = self.embed(ids)
        for block, context in zip(self.blocks, contexts, strict=True):
            x = block(x, context)
        return self.head(self.norm(x))
