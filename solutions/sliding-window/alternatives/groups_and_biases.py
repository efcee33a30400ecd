"""Queries in their groups, a bias instead of a mask, and one cache that is written by index."""

import math

import torch
from rotary import rotate
from torch import nn


def sliding_window_mask(q_pos, k_pos, window, n_sinks=0):
    if window < 1:
        raise ValueError(window)
    q_pos = q_pos.unsqueeze(1)
    out_of_window = k_pos <= q_pos - window
    ahead = k_pos > q_pos
    return ~(ahead | (out_of_window & (k_pos >= n_sinks)))


class RollingKVCache:
    def __init__(self, window, batch_size, n_kv_heads, head_dim, n_sinks=0, dtype=torch.float32, device="cpu"):
        self.window = window
        self.n_sinks = n_sinks
        self.keys = torch.zeros(batch_size, n_kv_heads, 0, head_dim, dtype=dtype, device=device)
        self.values = torch.zeros_like(self.keys)
        self.positions = torch.zeros(0, dtype=torch.int64, device=device)
        self.seen = 0

    def append(self, k, v):
        count = k.shape[-2]
        everything = [
            torch.cat([self.keys, k], dim=-2),
            torch.cat([self.values, v], dim=-2),
            torch.cat([self.positions, self.seen + torch.arange(count, device=k.device)]),
        ]
        self.seen += count
        places = everything[2]
        useful = torch.nonzero((places < self.n_sinks) | (places > self.seen - self.window)).flatten()
        self.keys = everything[0].index_select(-2, useful).detach()
        self.values = everything[1].index_select(-2, useful).detach()
        self.positions = places.index_select(0, useful)
        return tuple(everything)


class RingKVCache:
    def __init__(self, window, batch_size, n_kv_heads, head_dim, dtype=torch.float32, device="cpu"):
        self.window = window
        self.keys = torch.zeros(batch_size, n_kv_heads, window, head_dim, dtype=dtype, device=device)
        self.values = torch.zeros_like(self.keys)
        self.seen = 0

    def __len__(self):
        return min(self.seen, self.window)

    def places(self):
        slots = torch.arange(len(self), device=self.keys.device)
        turns = (self.seen - 1 - slots).div(self.window, rounding_mode="floor")
        return slots + turns * self.window

    def append(self, k, v):
        count = k.shape[-2]
        new = self.seen + torch.arange(count, device=k.device)
        joined = None
        if count > 1:
            joined = [
                torch.cat([buffer[:, :, : len(self)], part], -2) for buffer, part in ((self.keys, k), (self.values, v))
            ]
            joined.append(torch.cat([self.places(), new]))
        fits = min(count, self.window)
        for buffer, part in ((self.keys, k), (self.values, v)):
            buffer.index_copy_(2, new[-fits:] % self.window, part[:, :, -fits:].detach())
        self.seen += count
        return (
            tuple(joined) if joined else (self.keys[:, :, : len(self)], self.values[:, :, : len(self)], self.places())
        )


class WindowedAttention(nn.Module):
    def __init__(self, d_model, n_heads, n_kv_heads, window, n_sinks=0):
        super().__init__()
        self.n_heads, self.n_kv_heads, self.window, self.n_sinks = n_heads, n_kv_heads, window, n_sinks
        self.head_dim = d_model // n_heads
        self.q_proj = nn.Linear(d_model, n_heads * self.head_dim, bias=False)
        self.k_proj = nn.Linear(d_model, n_kv_heads * self.head_dim, bias=False)
        self.v_proj = nn.Linear(d_model, n_kv_heads * self.head_dim, bias=False)
        self.o_proj = nn.Linear(n_heads * self.head_dim, d_model, bias=False)

    def forward(self, x, cache=None):
        b, t = x.shape[:2]
        q_pos = torch.arange(t, device=x.device) + getattr(cache, "seen", 0)
        q, k, v = (
            layer(x).view(b, t, -1, self.head_dim).transpose(1, 2) for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        k = rotate(k, q_pos)
        k, v, k_pos = cache.append(k, v) if cache is not None else (k, v, q_pos)
        q = rotate(q, q_pos).unflatten(1, (self.n_kv_heads, -1))  # (B, G, H/G, T, dh)
        hidden = ~sliding_window_mask(q_pos, k_pos, self.window, self.n_sinks)
        bias = torch.zeros(hidden.shape, dtype=x.dtype, device=x.device).masked_fill(hidden, -math.inf)
        weights = torch.softmax(torch.einsum("bgntd,bgsd->bgnts", q, k) / math.sqrt(self.head_dim) + bias, dim=-1)
        return self.o_proj(torch.einsum("bgnts,bgsd->btgnd", weights, v).flatten(2))


class Block(nn.Module):
    def __init__(self, d_model, n_heads, n_kv_heads, window, n_sinks=0):
        super().__init__()
        self.norm_1 = nn.RMSNorm(d_model, eps=1e-6)
        self.attn = WindowedAttention(d_model, n_heads, n_kv_heads, window, n_sinks)
        self.norm_2 = nn.RMSNorm(d_model, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(d_model, 4 * d_model), nn.SiLU(), nn.Linear(4 * d_model, d_model))

    def forward(self, x, cache=None):
        for branch in (lambda h: self.attn(self.norm_1(h), cache), lambda h: self.mlp(self.norm_2(h))):
            x = x + branch(x)
        return x


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
        x = self.embed(ids)
        layers = iter(cache if cache is not None else ())
        for block in self.blocks:
            x = block(x, next(layers, None))
        return self.head(self.norm(x))


def pieces(ids, size):
    while ids.shape[1]:
        yield ids[:, :size]
        ids = ids[:, size:]


def generate(model, ids, max_new_tokens, use_cache=True, chunk_size=None):
    if min(ids.shape[1] - 1, max_new_tokens, 0 if chunk_size is None else chunk_size - 1) < 0:
        raise ValueError("too small")
    out = torch.cat([ids, ids.new_zeros(len(ids), max_new_tokens)], dim=1)
    cache = model.new_cache(len(ids)) if use_cache else None
    first = 0
    for end in range(ids.shape[1], out.shape[1]):
        size = (chunk_size or end) if use_cache else end
        with torch.no_grad():
            for piece in pieces(out[:, first:end], size):
                logits = model(piece, cache)
        out[:, end] = logits[:, -1].argmax(dim=-1)
        first = end if use_cache else 0
    return out
