"""GPT-2 with a cache of keys and values, and generation with it. PROMPT.md pins the details.

Left out: dropout, sampling filters, grouped heads; positions are learned and absolute.
Sizes: B batch, T new tokens, P tokens in the cache, S = P + T, V vocabulary, D width, H heads, dh = D / H, L layers.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 — its usual name
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
        end = self.length + k.shape[2]
        if end > self.keys.shape[2]:
            raise ValueError(f"{end} tokens do not fit into a cache of {self.keys.shape[2]}")
        self.keys[:, :, self.length : end] = k.detach()
        self.values[:, :, self.length : end] = v.detach()
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def crop(self, length: int) -> None:
        """Forget all but the first `length` tokens. Raises ValueError unless 0 ≤ length ≤ self.length."""
        if not 0 <= length <= self.length:
            raise ValueError(f"cannot keep {length} of {self.length} tokens")
        self.length = length


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
        q, k, v = (self._split(part) for part in self.c_attn(x).chunk(3, dim=-1))  # (B, H, T, dh) each
        keys, values, present = _extended(past, k, v)  # (B, H, S, dh)
        scores = q @ keys.transpose(-1, -2) / math.sqrt(q.shape[-1])  # (B, H, T, S)
        hidden = ~_visible(x.shape[1], keys.shape[2], pad, x.device)
        # A finite fill: the row of a padding token, which sees no key, must not become NaN.
        weights = scores.masked_fill(hidden, torch.finfo(scores.dtype).min).softmax(dim=-1)
        return self.c_proj((weights @ values).transpose(1, 2).reshape(x.shape)), present

    def _split(self, x: Tensor) -> Tensor:
        """[B, T, D] → [B, H, T, dh]."""
        return x.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)


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
        y, present = self.attn(self.ln_1(x), past, pad)
        x = x + y
        return x + self.c_proj(F.gelu(self.c_fc(self.ln_2(x)), approximate="tanh")), present


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
        start, t = 0 if cache is None else _length(cache[0]), ids.shape[1]
        if start + t > self.wpe.num_embeddings:
            raise ValueError(f"{start} + {t} tokens, and there are {self.wpe.num_embeddings} positions")
        positions = torch.arange(start, start + t, device=ids.device)  # (T,)
        if pad is not None:
            positions = (positions - pad[:, None]).clamp(min=0)  # (B, T)
        x = self.wte(ids) + self.wpe(positions)  # (B, T, D)
        presents = []
        for block, past in zip(self.blocks, cache or [None] * len(self.blocks), strict=True):
            x, present = block(x, past, pad)
            presents.append(present)
        return F.linear(self.ln_f(x), self.wte.weight), presents


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
    if ids.shape[1] == 0 or max_new_tokens < 0 or temperature < 0:
        raise ValueError("an empty prompt, or a negative number")
    was_training = model.training
    model.eval()
    fresh, cache, ended = ids, None, torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
    with torch.no_grad():
        for _ in range(max_new_tokens):
            logits, cache = model(fresh, cache, pad) if use_cache else model(ids, None, pad)
            tokens = _chosen(logits[:, -1], temperature, generator)  # (B,)
            if eos_id is not None:
                tokens = tokens.masked_fill(ended, eos_id)
                ended = ended | (tokens == eos_id)
            fresh = tokens[:, None]  # all that the cache has not seen
            ids = torch.cat([ids, fresh], dim=1)
            if ended.all():
                break
    model.train(was_training)
    return ids


def prefill(model: nn.Module, ids: Tensor, chunk_size: int, cache: Any = None) -> tuple[Tensor, Any]:
    """Feed ids [B, T], T ≥ 1, to the model in chunks of `chunk_size` tokens, the last one of what is left.

    Returns: (logits after the last token [B, V], cache). Raises ValueError for chunk_size < 1.
    """
    if chunk_size < 1:
        raise ValueError(f"chunks of {chunk_size} tokens")
    for chunk in ids.split(chunk_size, dim=1):
        logits, cache = model(chunk, cache)
    return logits[:, -1], cache


def kv_cache_bytes(
    n_layers: int, batch_size: int, n_kv_heads: int, length: int, head_dim: int, dtype: torch.dtype
) -> int:
    """Bytes of the keys and values of so many tokens in all layers."""
    return 2 * n_layers * batch_size * n_kv_heads * length * head_dim * dtype.itemsize


def _length(past: Pair | StaticKV) -> int:
    """P, the number of cached tokens."""
    return past.length if isinstance(past, StaticKV) else past[0].shape[2]


def _extended(past: Pair | StaticKV | None, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Pair | StaticKV]:
    """All keys, all values, and what to hand in as `past` next time."""
    if isinstance(past, StaticKV):
        return *past.append(k, v), past
    if past is not None:
        k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
    return k, v, (k, v)


def _visible(t: int, s: int, pad: Tensor | None, device: torch.device) -> Tensor:
    """Which of s keys the last t of them see: [T, S], or [B, 1, T, S] with padding."""
    causal = torch.ones(t, s, dtype=torch.bool, device=device).tril(s - t)
    return causal if pad is None else causal & (torch.arange(s, device=device) >= pad[:, None])[:, None, None]


def _chosen(logits: Tensor, temperature: float, generator: torch.Generator | None) -> Tensor:
    """One token a row of logits [B, V]."""
    if temperature == 0:
        return logits.argmax(dim=-1)
    return torch.multinomial((logits / temperature).softmax(dim=-1), 1, generator=generator)[:, 0]
