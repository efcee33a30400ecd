"""Added biases instead of masks, einsum instead of transposes, and a stream of tokens underneath `generate`."""

from functools import reduce

import torch
from torch import nn
from torch.nn import functional


class StaticKV:
    def __init__(self, batch_size, n_heads, max_len, head_dim, dtype=torch.float32, device="cpu"):
        self.keys = torch.zeros(batch_size, n_heads, max_len, head_dim, dtype=dtype, device=device)
        self.values = torch.zeros_like(self.keys)
        self.length = 0

    def append(self, k, v):
        count = k.shape[-2]
        if self.length + count > self.keys.shape[-2]:
            raise ValueError(f"{count} more than there is room for")
        places = torch.arange(self.length, self.length + count, device=k.device)
        self.keys.index_copy_(2, places, k.detach())
        self.values.index_copy_(2, places, v.detach())
        self.length += count
        return self.written()

    def written(self):
        return self.keys[..., : self.length, :], self.values[..., : self.length, :]

    def crop(self, length):
        if not self.length >= length >= 0:
            raise ValueError(f"{length} is not among 0 … {self.length}")
        self.length = length


def bias(t, s, pad, like):
    """0 where a key is seen, the lowest number where not: [1 or B, 1, T, S]."""
    gap = torch.arange(s, device=like.device)[None, :] - torch.arange(s - t, s, device=like.device)[:, None]
    hidden = (gap > 0)[None, None]
    if pad is not None:
        hidden = hidden | (torch.arange(s, device=like.device) < pad[:, None])[:, None, None, :]
    return torch.zeros(hidden.shape, dtype=like.dtype, device=like.device).masked_fill(hidden, -torch.inf)


class CausalSelfAttention(nn.Module):
    def __init__(self, d_model, n_heads):
        super().__init__()
        self.n_heads = n_heads
        self.c_attn = nn.Linear(d_model, 3 * d_model)
        self.c_proj = nn.Linear(d_model, d_model)

    def forward(self, x, past=None, pad=None):
        weight = self.c_attn.weight.unflatten(0, (3, self.n_heads, -1))  # (3, H, dh, D)
        offset = self.c_attn.bias.unflatten(0, (3, self.n_heads, 1, -1))  # (3, H, 1, dh)
        q, k, v = torch.einsum("btd,nhed->nbhte", x, weight) + offset[:, None]
        if isinstance(past, StaticKV):
            present, (k, v) = past, past.append(k, v)
        else:
            old_k, old_v = past or (k[:, :, :0], v[:, :, :0])
            k, v = torch.cat([old_k, k], dim=2), torch.cat([old_v, v], dim=2)
            present = (k, v)
        scores = torch.einsum("bhte,bhse->bhts", q, k) * q.shape[-1] ** -0.5 + bias(x.shape[1], k.shape[2], pad, x)
        weights = scores.softmax(-1).nan_to_num(0.0)
        merged = torch.einsum("bhts,bhse->bthe", weights, v).flatten(-2)
        return self.c_proj(merged), present


class Block(nn.Module):
    def __init__(self, d_model, n_heads):
        super().__init__()
        self.ln_1 = nn.LayerNorm(d_model)
        self.attn = CausalSelfAttention(d_model, n_heads)
        self.ln_2 = nn.LayerNorm(d_model)
        self.c_fc = nn.Linear(d_model, 4 * d_model)
        self.c_proj = nn.Linear(4 * d_model, d_model)

    def mlp(self, x):
        h = self.c_fc(self.ln_2(x))
        return self.c_proj(0.5 * h * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (h + 0.044715 * h**3))))

    def forward(self, x, past=None, pad=None):
        y, present = self.attn(self.ln_1(x), past, pad)
        return x + y + self.mlp(x + y), present


class GPT(nn.Module):
    def __init__(self, vocab_size, n_positions, d_model, n_heads, n_layers):
        super().__init__()
        self.wte = nn.Embedding(vocab_size, d_model)
        self.wpe = nn.Embedding(n_positions, d_model)
        self.blocks = nn.ModuleList(Block(d_model, n_heads) for _ in range(n_layers))
        self.ln_f = nn.LayerNorm(d_model)

    def forward(self, ids, cache=None, pad=None):
        cache = cache or [(torch.zeros(0, 0, 0, 0),) * 2] * len(self.blocks)
        start = cache[0].length if isinstance(cache[0], StaticKV) else cache[0][0].shape[2]
        if start + ids.shape[1] > self.wpe.weight.shape[0]:
            raise ValueError(f"position {start + ids.shape[1] - 1} is not there")
        columns = torch.arange(start, start + ids.shape[1], device=ids.device)
        places = columns if pad is None else torch.relu(columns - pad[:, None])
        x = functional.embedding(ids, self.wte.weight) + functional.embedding(places, self.wpe.weight)
        out = []
        for block, past in zip(self.blocks, cache, strict=True):
            x, present = block(x, past if start or isinstance(past, StaticKV) else None, pad)
            out += [present]
        return functional.linear(self.ln_f(x), self.wte.weight), out


def stream(model, ids, temperature, use_cache, generator, pad):
    """Yields the next token of each row, [B], for ever; is sent the tokens that were taken."""
    cache, fed = None, ids
    while True:
        with torch.no_grad():
            logits, new = model(fed, cache, pad)
        if temperature == 0:
            tokens = logits[:, -1].argmax(-1)
        else:
            tokens = torch.multinomial(functional.softmax(logits[:, -1] / temperature, -1), 1, generator=generator)[
                :, 0
            ]
        taken = (yield tokens)[:, None]
        cache, fed = (new, taken) if use_cache else (None, torch.cat([fed, taken], dim=1))


def generate(model, ids, max_new_tokens, temperature=0.0, use_cache=True, eos_id=None, generator=None, pad=None):
    if min(max_new_tokens, temperature, ids.shape[1] - 1) < 0:
        raise ValueError("max_new_tokens, temperature or the prompt")
    mode, columns, tokens = model.training, [ids], None
    source = stream(model.eval(), ids, temperature, use_cache, generator, pad)
    ended = torch.zeros_like(ids[:, 0], dtype=torch.bool)
    while len(columns) <= max_new_tokens and not ended.all():
        tokens = source.send(tokens)
        if eos_id is not None:
            tokens = torch.where(ended, eos_id, tokens)
            ended = ended.logical_or(tokens == eos_id)
        columns.append(tokens[:, None])
    model.train(mode)
    return torch.cat(columns, dim=1)


def prefill(model, ids, chunk_size, cache=None):
    if chunk_size < 1:
        raise ValueError(f"chunk_size = {chunk_size}")
    logits, cache = reduce(lambda state, chunk: model(chunk, state[1]), ids.split(chunk_size, dim=1), (None, cache))
    return logits.select(1, -1), cache


def kv_cache_bytes(n_layers, batch_size, n_kv_heads, length, head_dim, dtype):
    per_token = 2 * n_kv_heads * head_dim * dtype.itemsize
    return per_token * n_layers * batch_size * length
