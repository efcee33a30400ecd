"""A GPT with sliding-window attention, and generation in constant memory. PROMPT.md pins the details.

Left out: sampling, end tokens, padding, a banded kernel: the mask is dense.
Sizes: B batch, T new tokens, W window, V vocabulary, D width, H query heads, G key and value heads, dh = D / H,
S keys that a call attends to.
"""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 — its usual name
from rotary import rotate
from torch import Tensor, nn


def sliding_window_mask(q_pos: Tensor, k_pos: Tensor, window: int, n_sinks: int = 0) -> Tensor:
    """Which keys each query sees: those of the last `window` positions up to its own, and the sinks before it.

    Args: q_pos: [Tq] int64, k_pos: [Tk] int64, absolute positions from 0, in any order; either may be empty.
        window: 1 or more, the query's own position included. n_sinks: how many first positions every later one sees.
    Returns: [Tq, Tk] bool, True = seen. Raises ValueError for window < 1.
    """
    if window < 1:
        raise ValueError(f"a window of {window} tokens")
    back = q_pos[:, None] - k_pos  # (Tq, Tk)
    return (back >= 0) & ((back < window) | (k_pos < n_sinks))


class RollingKVCache:
    """Keys and values of one layer, of the tokens that later ones can still see."""

    def __init__(
        self,
        window: int,
        batch_size: int,
        n_kv_heads: int,
        head_dim: int,
        n_sinks: int = 0,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.window = window
        self.n_sinks = n_sinks
        self.keys = torch.zeros(batch_size, n_kv_heads, 0, head_dim, dtype=dtype, device=device)
        self.values = torch.zeros_like(self.keys)
        self.positions = torch.zeros(0, dtype=torch.int64, device=device)
        self.seen = 0

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Take the next T tokens, return all that one of them may see, and keep what the token after them may see.

        Args: k, v: [B, G, T, dh], T ≥ 1, k already rotated; they stand at the positions seen … seen + T − 1.
        Returns: (keys, values, positions): what was kept, then the new tokens; [B, G, R + T, dh] twice, [R + T] int64.
        Afterwards `keys`, `values` and `positions` hold the last W − 1 tokens (and the sinks), oldest first, detached
        and in storage of their own size; `seen` has grown by T.
        """
        new = torch.arange(self.seen, self.seen + k.shape[2], device=k.device)
        keys, values = torch.cat([self.keys, k], dim=2), torch.cat([self.values, v], dim=2)  # (B, G, R + T, dh)
        positions = torch.cat([self.positions, new])
        self.seen += k.shape[2]
        kept = sliding_window_mask(torch.tensor([self.seen], device=k.device), positions, self.window, self.n_sinks)[0]
        # Indexing by a mask copies; a slice would hold on to the storage of the whole chunk.
        self.keys, self.values = keys[:, :, kept].detach(), values[:, :, kept].detach()
        self.positions = positions[kept]
        return keys, values, positions


class RingKVCache:
    """The same in W slots that never move: the token at position p lies in slot p mod W. For part 6."""

    def __init__(
        self,
        window: int,
        batch_size: int,
        n_kv_heads: int,
        head_dim: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.window = window
        self.keys = torch.zeros(batch_size, n_kv_heads, window, head_dim, dtype=dtype, device=device)
        self.values = torch.zeros_like(self.keys)
        self.seen = 0

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As RollingKVCache.append, but in any order of tokens, and one token older may be among them.

        For T = 1 the keys and values returned are views of the buffers: nothing but the new token is copied.
        """
        t, filled = k.shape[2], min(self.seen, self.window)
        old = self._positions(filled, k.device)
        new = torch.arange(self.seen, self.seen + t, device=k.device)
        if t > 1:  # the first of them sees what the last ones will overwrite
            keys = torch.cat([self.keys[:, :, :filled], k], dim=2)
            values = torch.cat([self.values[:, :, :filled], v], dim=2)
        last = new[-self.window :]
        self.keys[:, :, last % self.window] = k[:, :, -self.window :].detach()
        self.values[:, :, last % self.window] = v[:, :, -self.window :].detach()
        self.seen += t
        if t > 1:
            return keys, values, torch.cat([old, new])
        filled = min(self.seen, self.window)
        return self.keys[:, :, :filled], self.values[:, :, :filled], self._positions(filled, k.device)

    def _positions(self, filled: int, device: torch.device) -> Tensor:
        """The positions of the tokens in the first `filled` slots."""
        slots = torch.arange(filled, device=device)
        return self.seen - 1 - (self.seen - 1 - slots) % self.window


class WindowedAttention(nn.Module):
    """Grouped-query attention over a sliding window, with rotary positions."""

    def __init__(self, d_model: int, n_heads: int, n_kv_heads: int, window: int, n_sinks: int = 0) -> None:
        super().__init__()
        self.n_heads, self.n_kv_heads, self.window, self.n_sinks = n_heads, n_kv_heads, window, n_sinks
        self.head_dim = d_model // n_heads
        self.q_proj = nn.Linear(d_model, n_heads * self.head_dim, bias=False)
        self.k_proj = nn.Linear(d_model, n_kv_heads * self.head_dim, bias=False)
        self.v_proj = nn.Linear(d_model, n_kv_heads * self.head_dim, bias=False)
        self.o_proj = nn.Linear(n_heads * self.head_dim, d_model, bias=False)

    def forward(self, x: Tensor, cache: Any = None) -> Tensor:
        """Attention of the next T tokens to themselves and to those before them.

        Args: x: [B, T, D]. cache: any object with `seen` and `append`, as RollingKVCache has them; None = none before.
        Returns: y [B, T, D]. The cache, if there is one, has taken the T tokens.
        """
        start = 0 if cache is None else cache.seen
        q_pos = torch.arange(start, start + x.shape[1], device=x.device)
        q = rotate(self._split(self.q_proj(x)), q_pos)  # (B, H, T, dh)
        k, v = rotate(self._split(self.k_proj(x)), q_pos), self._split(self.v_proj(x))  # (B, G, T, dh)
        keys, values, k_pos = (k, v, q_pos) if cache is None else cache.append(k, v)  # (B, G, S, dh), …, (S,)
        mask = sliding_window_mask(q_pos, k_pos, self.window, self.n_sinks)
        group = self.n_heads // self.n_kv_heads
        keys, values = (part.repeat_interleave(group, dim=1) for part in (keys, values))  # (B, H, S, dh)
        y = F.scaled_dot_product_attention(q, keys, values, attn_mask=mask)
        return self.o_proj(y.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        """[B, T, heads·dh] → [B, heads, T, dh]."""
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, d_model: int, n_heads: int, n_kv_heads: int, window: int, n_sinks: int = 0) -> None:
        super().__init__()
        self.norm_1 = nn.RMSNorm(d_model, eps=1e-6)
        self.attn = WindowedAttention(d_model, n_heads, n_kv_heads, window, n_sinks)
        self.norm_2 = nn.RMSNorm(d_model, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(d_model, 4 * d_model), nn.SiLU(), nn.Linear(4 * d_model, d_model))

    def forward(self, x: Tensor, cache: Any = None) -> Tensor:
        """x [B, T, D] → y [B, T, D], cache as in WindowedAttention.forward."""
        x = x + self.attn(self.norm_1(x), cache)
        return x + self.mlp(self.norm_2(x))


class WindowGPT(nn.Module):
    """A language model of such blocks."""

    def __init__(
        self,
        vocab_size: int,
        d_model: int,
        n_heads: int,
        n_kv_heads: int,
        n_layers: int,
        window: int,
        n_sinks: int = 0,
    ) -> None:
        super().__init__()
        self.window, self.n_sinks = window, n_sinks
        self.embed = nn.Embedding(vocab_size, d_model)
        self.blocks = nn.ModuleList(Block(d_model, n_heads, n_kv_heads, window, n_sinks) for _ in range(n_layers))
        self.norm = nn.RMSNorm(d_model, eps=1e-6)
        self.head = nn.Linear(d_model, vocab_size, bias=False)

    def new_cache(self, batch_size: int) -> list[RollingKVCache]:
        """An empty cache for each layer."""
        weight = self.head.weight
        return [
            RollingKVCache(
                self.window,
                batch_size,
                block.attn.n_kv_heads,
                block.attn.head_dim,
                self.n_sinks,
                weight.dtype,
                weight.device,
            )
            for block in self.blocks
        ]

    def forward(self, ids: Tensor, cache: list[Any] | None = None) -> Tensor:
        """Logits [B, T, V] after each of the next T tokens, ids [B, T] int64; cache: one entry a layer, or None."""
        x = self.embed(ids)  # (B, T, D)
        for block, layer in zip(self.blocks, cache or [None] * len(self.blocks), strict=True):
            x = block(x, layer)
        return self.head(self.norm(x))


def generate(
    model: nn.Module, ids: Tensor, max_new_tokens: int, use_cache: bool = True, chunk_size: int | None = None
) -> Tensor:
    """The prompt and the most likely tokens after it, one by one, without a graph.

    Args: model: any module that is called as `model(ids, cache)` and makes a cache by `model.new_cache(B)`. ids: [B, T]
        int64. use_cache: feed each token once; else the whole sequence at each step. chunk_size: with a cache, the
        prompt is fed in chunks of so many tokens, the last one of what is left; None = at once.
    Returns: [B, T + max_new_tokens] int64. Raises ValueError for T = 0, max_new_tokens < 0, chunk_size < 1.
    """
    if ids.shape[1] == 0 or max_new_tokens < 0 or (chunk_size is not None and chunk_size < 1):
        raise ValueError("an empty prompt, a negative number, or empty chunks")
    cache, fresh = model.new_cache(len(ids)) if use_cache else None, ids
    with torch.no_grad():
        for _ in range(max_new_tokens):
            pieces = fresh.split(chunk_size or ids.shape[1], dim=1) if use_cache else [ids]
            for piece in pieces:
                logits = model(piece, cache)
            fresh = logits[:, -1].argmax(dim=-1, keepdim=True)  # (B, 1), all that the cache has not seen
            ids = torch.cat([ids, fresh], dim=1)
    return ids
