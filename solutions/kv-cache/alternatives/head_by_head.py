"""One head at a time, and each new token on its own: nothing is masked, as each takes the slice of keys it may see."""

import math

import torch
from torch import nn
from torch.nn.functional import gelu


class StaticKV:
    def __init__(self, batch_size, n_heads, max_len, head_dim, dtype=torch.float32, device="cpu"):
        self.keys = torch.zeros(batch_size, n_heads, max_len, head_dim, dtype=dtype, device=device)
        self.values = torch.zeros_like(self.keys)
        self.length = 0

    def append(self, k, v):
        start, end = self.length, self.length + k.size(2)
        if end > self.keys.size(2):
            raise ValueError("full")
        with torch.no_grad():
            self.keys[:, :, start:end].copy_(k)
            self.values[:, :, start:end].copy_(v)
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def crop(self, length):
        if length < 0 or length > self.length:
            raise ValueError("nothing is there")
        self.length = length


def attend(query, keys, values):
    """One query [dh] over keys [n, dh] and values [n, dh]."""
    return torch.softmax(keys @ query / math.sqrt(len(query)), dim=0) @ values


class CausalSelfAttention(nn.Module):
    def __init__(self, d_model, n_heads):
        super().__init__()
        self.n_heads = n_heads
        self.c_attn = nn.Linear(d_model, 3 * d_model)
        self.c_proj = nn.Linear(d_model, d_model)

    def forward(self, x, past=None, pad=None):
        batch, t, width = x.shape
        size = width // self.n_heads
        pieces = torch.split(self.c_attn(x), size, dim=-1)
        q, k, v = (torch.stack(pieces[i * self.n_heads : (i + 1) * self.n_heads], dim=1) for i in range(3))
        present = past
        if past is None:
            present = k, v
        elif hasattr(past, "append"):
            k, v = past.append(k, v)
        else:
            present = k, v = torch.concat([past[0], k], 2), torch.concat([past[1], v], 2)
        first = k.size(2) - t
        hidden = [0] * batch if pad is None else pad.tolist()
        rows = [
            [
                torch.cat([self.one(q[b, h, i], k[b, h], v[b, h], hidden[b], first + i) for h in range(self.n_heads)])
                for i in range(t)
            ]
            for b in range(batch)
        ]
        return self.c_proj(torch.stack([torch.stack(row) for row in rows])), present

    def one(self, query, keys, values, start, stop):
        seen = slice(start, stop + 1) if start <= stop else slice(stop, stop + 1)
        return attend(query, keys[seen], values[seen])


class Block(nn.Module):
    def __init__(self, d_model, n_heads):
        super().__init__()
        self.ln_1 = nn.LayerNorm(d_model)
        self.attn = CausalSelfAttention(d_model, n_heads)
        self.ln_2 = nn.LayerNorm(d_model)
        self.c_fc = nn.Linear(d_model, 4 * d_model)
        self.c_proj = nn.Linear(4 * d_model, d_model)

    def forward(self, x, past=None, pad=None):
        attention, present = self.attn(self.ln_1(x), past, pad)
        x = attention + x
        return self.c_proj(gelu(self.c_fc(self.ln_2(x)), approximate="tanh")) + x, present


class GPT(nn.Module):
    def __init__(self, vocab_size, n_positions, d_model, n_heads, n_layers):
        super().__init__()
        self.wte = nn.Embedding(vocab_size, d_model)
        self.wpe = nn.Embedding(n_positions, d_model)
        self.blocks = nn.ModuleList(Block(d_model, n_heads) for _ in range(n_layers))
        self.ln_f = nn.LayerNorm(d_model)

    def forward(self, ids, cache=None, pad=None):
        past = 0
        if cache is not None:
            past = cache[0].length if hasattr(cache[0], "length") else cache[0][0].size(2)
        if past + ids.size(1) > len(self.wpe.weight):
            raise ValueError("too long")
        x = self.wte(ids)
        for b in range(ids.size(0)):
            left = 0 if pad is None else int(pad[b])
            places = [max(past + i - left, 0) for i in range(ids.size(1))]
            x[b] = x[b] + self.wpe.weight[places]
        presents = []
        for layer, block in enumerate(self.blocks):
            x, present = block(x, None if cache is None else cache[layer], pad)
            presents.append(present)
        return torch.einsum("btd,vd->btv", self.ln_f(x), self.wte.weight), presents


def generate(model, ids, max_new_tokens, temperature=0.0, use_cache=True, eos_id=None, generator=None, pad=None):
    if not ids.size(1) or max_new_tokens < 0 or temperature < 0:
        raise ValueError("an empty prompt, or a number below 0")
    mode = model.training
    model.eval()
    try:
        with torch.inference_mode():
            rows, done = [row.tolist() for row in ids], set()
            cache, new = None, ids
            for _ in range(max_new_tokens):
                if use_cache:
                    logits, cache = model(new, cache, pad)
                else:
                    logits, _ = model(torch.tensor(rows, device=ids.device), None, pad)
                for b, token in enumerate(pick(logits[:, -1], temperature, generator)):
                    rows[b].append(eos_id if b in done else token)
                done = {b for b in range(len(rows)) if b in done or (eos_id is not None and rows[b][-1] == eos_id)}
                if len(done) == len(rows):
                    break
                new = torch.tensor([[row[-1]] for row in rows], device=ids.device)
    finally:
        model.train(mode)
    return torch.tensor(rows, device=ids.device)


def pick(logits, temperature, generator):
    if temperature == 0:
        return [int(row.argmax()) for row in logits]
    return torch.multinomial(torch.softmax(logits / temperature, -1), 1, generator=generator).squeeze(1).tolist()


def prefill(model, ids, chunk_size, cache=None):
    if chunk_size <= 0:
        raise ValueError("chunk_size")
    head, rest = ids[:, :chunk_size], ids[:, chunk_size:]
    logits, cache = model(head, cache)
    return prefill(model, rest, chunk_size, cache) if rest.numel() else (logits[:, -1], cache)


def kv_cache_bytes(n_layers, batch_size, n_kv_heads, length, head_dim, dtype):
    shape = (n_layers, 2, batch_size, n_kv_heads, length, head_dim)
    return math.prod(shape) * torch.empty(0, dtype=dtype).itemsize
