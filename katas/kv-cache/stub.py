"""GPT-2 with a cache of keys and values, and generation with it. PROMPT.md pins the details.

Left out: dropout, sampling filters, grouped heads; positions are learned and absolute.
Sizes: B batch, T new tokens, P tokens in the cache, S = P + T, V vocabulary, D width, H heads, dh = D / H, L layers.
"""

from typing import Any

import torch
from torch import Tensor, nn

Pair = tuple[Tensor, Tensor]
"""Keys and values of one layer, [B, H, S, dh] each."""


class StaticKV:
    """Preallocated keys and values of one layer, for part 5. Stands wherever a Pair may; holds no graph."""

    def __init__(
        self,
        batch_size: int,
        n_heads: int,
        max_len: int,
        head_dim: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.keys = torch.zeros(batch_size, n_heads, max_len, head_dim, dtype=dtype, device=device)
        self.values = torch.zeros_like(self.keys)
        self.length = 0

    def append(self, k: Tensor, v: Tensor) -> Pair:
        """Write k and v [B, H, T, dh] behind what is there, in place and detached.

        Returns: (keys, values), views [B, H, length, dh] of everything written so far, these included.
        Raises ValueError where they do not fit; then nothing has changed.
        """
        raise NotImplementedError("static: compute where the new tokens end, and whether they fit")

    def crop(self, length: int) -> None:
        """Forget all but the first `length` tokens. Raises ValueError unless 0 ≤ length ≤ self.length."""
        raise NotImplementedError("static: what has to change so that later tokens overwrite the others?")


class CausalSelfAttention(nn.Module):
    """Multi-head self-attention over cached and new tokens."""

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.c_attn = nn.Linear(d_model, 3 * d_model)
        self.c_proj = nn.Linear(d_model, d_model)

    def forward(
        self, x: Tensor, past: Pair | StaticKV | None = None, pad: Tensor | None = None
    ) -> tuple[Tensor, Pair | StaticKV]:
        """Attention of the T new tokens to themselves and to the P cached ones.

        Args: x: [B, T, D]. past: keys and values of the P tokens before, or None. pad: [B] int64, how many columns at
            the left of each row are padding, or None.
        Returns: (y [B, T, D], present): what to hand in as `past` next time: a new Pair, or the StaticKV that came in.
        """
        raise NotImplementedError(
            "attention: queries, keys and values first, split into heads; then join keys and values to past"
        )


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(d_model)
        self.attn = CausalSelfAttention(d_model, n_heads)
        self.ln_2 = nn.LayerNorm(d_model)
        self.c_fc = nn.Linear(d_model, 4 * d_model)
        self.c_proj = nn.Linear(4 * d_model, d_model)

    def forward(
        self, x: Tensor, past: Pair | StaticKV | None = None, pad: Tensor | None = None
    ) -> tuple[Tensor, Pair | StaticKV]:
        """x [B, T, D] → (y [B, T, D], present), the other arguments as in CausalSelfAttention.forward."""
        raise NotImplementedError("model: x + attn(ln_1(x)) first; hand on what attention returns beside y")


class GPT(nn.Module):
    """GPT-2; its output matrix is the token embedding."""

    def __init__(self, vocab_size: int, n_positions: int, d_model: int, n_heads: int, n_layers: int) -> None:
        super().__init__()
        self.wte = nn.Embedding(vocab_size, d_model)
        self.wpe = nn.Embedding(n_positions, d_model)
        self.blocks = nn.ModuleList(Block(d_model, n_heads) for _ in range(n_layers))
        self.ln_f = nn.LayerNorm(d_model)

    def forward(
        self, ids: Tensor, cache: list[Pair] | list[StaticKV] | None = None, pad: Tensor | None = None
    ) -> tuple[Tensor, list[Pair] | list[StaticKV]]:
        """Logits after each of the T new tokens.

        Args: ids: [B, T] int64, T ≥ 1. cache: one entry a layer, what an earlier call returned, or None. pad: as in
            CausalSelfAttention.forward.
        Returns: (logits [B, T, V], cache for the next call, a new list of L entries).
        Raises ValueError where P + T > n_positions; then no StaticKV has changed.
        """
        raise NotImplementedError("model: find P from the cache, then the positions of the new tokens")


def generate(
    model: nn.Module,
    ids: Tensor,
    max_new_tokens: int,
    temperature: float = 0.0,
    use_cache: bool = True,
    eos_id: int | None = None,
    generator: torch.Generator | None = None,
    pad: Tensor | None = None,
) -> Tensor:
    """The prompt and what the model goes on with, without a graph and in eval mode.

    Args: model: any module, called as `model(ids, cache, pad)` like GPT. ids: [B, T] int64. temperature: 0 takes the
        token of the largest logit, else it is drawn from softmax(logits / temperature). eos_id: a row ends with its
        first new one and is filled with it. pad: handed on to the model.
    Returns: [B, T + n] int64; n = max_new_tokens, or fewer where every row has ended.
    Raises ValueError for T = 0, max_new_tokens < 0, temperature < 0.
    """
    raise NotImplementedError("generate: one step with the whole prompt and no cache first")


def prefill(model: nn.Module, ids: Tensor, chunk_size: int, cache: Any = None) -> tuple[Tensor, Any]:
    """Feed ids [B, T], T ≥ 1, to the model in chunks of `chunk_size` tokens, the last one of what is left.

    Returns: (logits after the last token [B, V], cache). Raises ValueError for chunk_size < 1.
    """
    raise NotImplementedError("prefill: feed the first chunk, and hand its cache to the next")


def kv_cache_bytes(
    n_layers: int, batch_size: int, n_kv_heads: int, length: int, head_dim: int, dtype: torch.dtype
) -> int:
    """Bytes of the keys and values of so many tokens in all layers."""
    raise NotImplementedError("static: count the numbers, then the bytes of each")
