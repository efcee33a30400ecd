"""Tokens one at a time: a cache of single tokens in a deque, and attention of one query over the keys it may see."""

from collections import deque

import torch
from rotary import rotate
from torch import nn


def sees(query, key, window, n_sinks):
    return key <= query and (query - key < window or key < n_sinks)


def sliding_window_mask(q_pos, k_pos, window, n_sinks=0):
    if window < 1:
        raise ValueError("the window holds at least the token itself")
    rows = [[sees(i, j, window, n_sinks) for j in k_pos.tolist()] for i in q_pos.tolist()]
    return torch.tensor(rows, dtype=torch.bool, device=q_pos.device).reshape(len(q_pos), len(k_pos))


def stacked(tokens, like):
    return torch.stack(tokens, dim=2) if tokens else like[:, :, :0]


class RollingKVCache:
    def __init__(self, window, batch_size, n_kv_heads, head_dim, n_sinks=0, dtype=torch.float32, device="cpu"):
        self.window = window
        self.n_sinks = n_sinks
        self.keys = torch.zeros(batch_size, n_kv_heads, 0, head_dim, dtype=dtype, device=device)
        self.values = torch.zeros_like(self.keys)
        self.positions = torch.zeros(0, dtype=torch.int64, device=device)
        self.seen = 0
        self.sinks, self.last = [], deque(maxlen=window - 1)

    def append(self, k, v):
        old = [*self.sinks, *self.last]
        new = [(k[:, :, i], v[:, :, i], self.seen + i) for i in range(k.shape[2])]
        for key, value, position in new:
            token = key.detach().clone(), value.detach().clone(), position
            if len(self.last) == self.window - 1 and self.window > 1 and self.last[0][2] < self.n_sinks:
                self.sinks.append(self.last[0])
            if self.window == 1 and position < self.n_sinks:
                self.sinks.append(token)
            self.last.append(token)
        self.seen += len(new)
        self.keys, self.values, self.positions = self.joined([*self.sinks, *self.last], k)
        return self.joined(old + new, k)

    def joined(self, tokens, like):
        keys, values = (stacked([token[i] for token in tokens], like.detach()) for i in range(2))
        return keys, values, torch.tensor([token[2] for token in tokens], dtype=torch.int64, device=like.device)


class RingKVCache:
    def __init__(self, window, batch_size, n_kv_heads, head_dim, dtype=torch.float32, device="cpu"):
        self.window = window
        self.keys = torch.zeros(batch_size, n_kv_heads, window, head_dim, dtype=dtype, device=device)
        self.values = torch.zeros_like(self.keys)
        self.seen = 0

    def append(self, k, v):
        before = [p for p in range(self.seen - self.window, self.seen) if p >= 0]
        after = list(range(self.seen, self.seen + k.shape[2]))
        slots = [p % self.window for p in before]
        kept = [buffer[:, :, slots] for buffer in (self.keys, self.values)] if len(after) > 1 else []
        for i, p in enumerate(after):
            self.keys[:, :, p % self.window].copy_(k[:, :, i].detach())
            self.values[:, :, p % self.window].copy_(v[:, :, i].detach())
        self.seen += len(after)
        if len(after) > 1:
            places = torch.tensor(before + after, device=k.device)
            return torch.cat([kept[0], k], 2), torch.cat([kept[1], v], 2), places
        places = sorted((before + after)[-self.window :], key=lambda p: p % self.window)
        return self.keys[:, :, : len(places)], self.values[:, :, : len(places)], torch.tensor(places, device=k.device)


class WindowedAttention(nn.Module):
    def __init__(self, d_model, n_heads, n_kv_heads, window, n_sinks=0):
        super().__init__()
        self.n_heads, self.n_kv_heads, self.window, self.n_sinks = n_heads, n_kv_heads, window, n_sinks
        self.head_dim = d_model // n_heads
        self.q_proj = nn.Linear(d_model, n_heads * self.head_dim, bias=False)
        self.k_proj = nn.Linear(d_model, n_kv_heads * self.head_dim, bias=False)
        self.v_proj = nn.Linear(d_model, n_kv_heads * self.head_dim, bias=False)
        self.o_proj = nn.Linear(n_heads * self.head_dim, d_model, bias=False)

    def heads(self, projected, count):
        return torch.stack(projected.split(self.head_dim, dim=-1), dim=1).reshape(
            len(projected), count, -1, self.head_dim
        )

    def forward(self, x, cache=None):
        first = 0 if cache is None else cache.seen
        q_pos = torch.tensor([first + i for i in range(x.shape[1])], device=x.device)
        q = rotate(self.heads(self.q_proj(x), self.n_heads), q_pos)
        k = rotate(self.heads(self.k_proj(x), self.n_kv_heads), q_pos)
        v = self.heads(self.v_proj(x), self.n_kv_heads)
        k, v, k_pos = (k, v, q_pos) if cache is None else cache.append(k, v)
        mask = sliding_window_mask(q_pos, k_pos, self.window, self.n_sinks)
        y = [self.of_one(q[:, :, i], k[:, :, seen], v[:, :, seen]) for i, seen in enumerate(mask)]
        return self.o_proj(torch.stack(y, dim=1))

    def of_one(self, query, keys, values):
        """Of one token: query [B, H, dh] over the keys and values [B, G, n, dh] that it sees, → [B, H·dh]."""
        out = []
        for h in range(self.n_heads):
            group = h * self.n_kv_heads // self.n_heads
            scores = (keys[:, group] @ query[:, h, :, None]).squeeze(-1) * self.head_dim**-0.5
            out.append((scores.softmax(-1)[:, None] @ values[:, group]).squeeze(1))
        return torch.cat(out, dim=-1)


class Block(nn.Module):
    def __init__(self, d_model, n_heads, n_kv_heads, window, n_sinks=0):
        super().__init__()
        self.norm_1 = nn.RMSNorm(d_model, eps=1e-6)
        self.attn = WindowedAttention(d_model, n_heads, n_kv_heads, window, n_sinks)
        self.norm_2 = nn.RMSNorm(d_model, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(d_model, 4 * d_model), nn.SiLU(), nn.Linear(4 * d_model, d_model))

    def forward(self, x, cache=None):
        x = self.attn(self.norm_1(x), cache) + x
        return self.mlp(self.norm_2(x)) + x


class WindowGPT(nn.Module):
    def __init__(self, vocab_size, d_model, n_heads, n_kv_heads, n_layers, window, n_sinks=0):
        super().__init__()
        self.window, self.n_sinks = window, n_sinks
        self.embed = nn.Embedding(vocab_size, d_model)
        self.blocks = nn.ModuleList(Block(d_model, n_heads, n_kv_heads, window, n_sinks) for _ in range(n_layers))
        self.norm = nn.RMSNorm(d_model, eps=1e-6)
        self.head = nn.Linear(d_model, vocab_size, bias=False)

    def new_cache(self, batch_size):
        sizes = [(self.window, batch_size, block.attn.n_kv_heads, block.attn.head_dim) for block in self.blocks]
        kind = {"n_sinks": self.n_sinks, "dtype": self.head.weight.dtype, "device": self.head.weight.device}
        return [RollingKVCache(*size, **kind) for size in sizes]

    def forward(self, ids, cache=None):
        if cache is None:
            cache = [None for _ in self.blocks]
        x = self.embed(ids)
        for block, own in zip(self.blocks, cache, strict=True):
            x = block(x, own)
        return self.head(self.norm(x))


def generate(model, ids, max_new_tokens, use_cache=True, chunk_size=None):
    if not ids.numel() or max_new_tokens < 0 or (chunk_size is not None and chunk_size <= 0):
        raise ValueError("there is nothing to go on from, or a number is too small")
    text = [*ids.unbind(dim=1)]
    waiting, cache = deque(text), model.new_cache(len(ids)) if use_cache else None
    with torch.inference_mode():
        while len(text) < ids.shape[1] + max_new_tokens:
            if not use_cache:
                logits = model(torch.stack(text, dim=1), None)
            while use_cache and waiting:
                count = min(chunk_size or len(waiting), len(waiting))
                logits = model(torch.stack([waiting.popleft() for _ in range(count)], dim=1), cache)
            text.append(logits[:, -1].max(dim=-1).indices)
            waiting.append(text[-1])
    return torch.stack(text, dim=1)
