"""The library's grouped attention; the cache keeps slices that are cloned."""

import torch
from rotary import rotate
from torch import nn
from torch.nn.functional import scaled_dot_product_attention


def sliding_window_mask(q_pos, k_pos, window, n_sinks=0):
    if window <= 0:
        raise ValueError(f"window = {window}")
    queries, keys = torch.meshgrid(q_pos, k_pos, indexing="ij")
    near = keys.gt(queries - window)
    return keys.le(queries).logical_and(near.logical_or(keys.lt(n_sinks)))


class RollingKVCache:
    def __init__(self, window, batch_size, n_kv_heads, head_dim, n_sinks=0, dtype=torch.float32, device="cpu"):
        self.window = window
        self.n_sinks = n_sinks
        self.keys = torch.zeros(batch_size, n_kv_heads, 0, head_dim, dtype=dtype, device=device)
        self.values = torch.zeros_like(self.keys)
        self.positions = torch.zeros(0, dtype=torch.int64, device=device)
        self.seen = 0

    def append(self, k, v):
        t = k.size(2)
        positions = torch.cat((self.positions, torch.arange(self.seen, self.seen + t, device=k.device)))
        keys, values = torch.cat((self.keys, k), dim=2), torch.cat((self.values, v), dim=2)
        self.seen += t
        # The sinks stand in front, whether they are all there yet or not; the window is what is left of the rest.
        sinks = min(self.n_sinks, self.seen)
        start = max(len(positions) - (self.window - 1), sinks)
        self.keys, self.values = (
            torch.cat((part[:, :, :sinks], part[:, :, start:]), dim=2).detach() for part in (keys, values)
        )
        self.positions = torch.cat((positions[:sinks], positions[start:]))
        return keys, values, positions


class RingKVCache:
    def __init__(self, window, batch_size, n_kv_heads, head_dim, dtype=torch.float32, device="cpu"):
        self.window = window
        self.keys = torch.zeros(batch_size, n_kv_heads, window, head_dim, dtype=dtype, device=device)
        self.values = torch.zeros_like(self.keys)
        self.seen = 0

    def append(self, k, v):
        if k.size(2) == 1:
            slot = self.seen % self.window
            self.keys[:, :, slot : slot + 1] = k.detach()
            self.values[:, :, slot : slot + 1] = v.detach()
            self.seen += 1
            return self.tokens()
        keys, values, positions = self.tokens()
        keys, values = torch.cat((keys, k), dim=2), torch.cat((values, v), dim=2)
        for i in range(k.size(2)):
            slot = (self.seen + i) % self.window
            self.keys[:, :, slot], self.values[:, :, slot] = k.detach()[:, :, i], v.detach()[:, :, i]
        positions = torch.cat((positions, torch.arange(self.seen, self.seen + k.size(2), device=k.device)))
        self.seen += k.size(2)
        return keys, values, positions

    def tokens(self):
        first = max(self.seen - self.window, 0)
        in_time = torch.arange(first, self.seen, device=self.keys.device)
        in_slots = in_time.roll(first % self.window)
        return self.keys[:, :, : len(in_slots)], self.values[:, :, : len(in_slots)], in_slots


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
        b, t, _ = x.shape
        first = cache.seen if cache is not None else 0
        here = first + torch.arange(t, device=x.device)
        q = self.q_proj(x).view(b, t, self.n_heads, self.head_dim).permute(0, 2, 1, 3)
        k = self.k_proj(x).view(b, t, self.n_kv_heads, self.head_dim).permute(0, 2, 1, 3)
        v = self.v_proj(x).view(b, t, self.n_kv_heads, self.head_dim).permute(0, 2, 1, 3)
        q, k, there = rotate(q, here), rotate(k, here), here
        if cache is not None:
            k, v, there = cache.append(k, v)
        mask = sliding_window_mask(here, there, self.window, self.n_sinks)
        y = scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)
        return self.o_proj(y.permute(0, 2, 1, 3).reshape(b, t, -1))


class Block(nn.Module):
    def __init__(self, d_model, n_heads, n_kv_heads, window, n_sinks=0):
        super().__init__()
        self.norm_1 = nn.RMSNorm(d_model, eps=1e-6)
        self.attn = WindowedAttention(d_model, n_heads, n_kv_heads, window, n_sinks)
        self.norm_2 = nn.RMSNorm(d_model, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(d_model, 4 * d_model), nn.SiLU(), nn.Linear(4 * d_model, d_model))

    def forward(self, x, cache=None):
        h = x + self.attn(self.norm_1(x), cache=cache)
        return h + self.mlp(self.norm_2(h))


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
        for layer, block in enumerate(self.blocks):
            x = block(x) if cache is None else block(x, cache[layer])
        return self.head(self.norm(x))


@torch.no_grad()
def extended(model, ids, steps, use_cache, chunk_size):
    cache, fed = (model.new_cache(ids.size(0)), 0) if use_cache else (None, 0)
    for _ in range(steps):
        if use_cache:
            size = chunk_size or ids.size(1)
            for start in range(fed, ids.size(1), size):
                logits = model(ids[:, start : start + size], cache)
            fed = ids.size(1)
        else:
            logits = model(ids, None)
        ids = torch.cat((ids, logits[:, -1:].argmax(-1)), dim=1)
    return ids


def generate(model, ids, max_new_tokens, use_cache=True, chunk_size=None):
    if ids.size(1) < 1:
        raise ValueError("the prompt is empty")
    if max_new_tokens < 0:
        raise ValueError("max_new_tokens is negative")
    if chunk_size is not None and chunk_size < 1:
        raise ValueError("chunks are empty")
    return extended(model, ids, max_new_tokens, use_cache, chunk_size)
