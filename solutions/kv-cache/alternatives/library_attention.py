"""The library's attention under a boolean mask; the cache knows how to join itself, whichever kind it is."""

import torch
import torch.nn.functional as F  # noqa: N812 — its usual name
from torch import nn


class StaticKV:
    def __init__(self, batch_size, n_heads, max_len, head_dim, dtype=torch.float32, device="cpu"):
        self.keys = torch.zeros(batch_size, n_heads, max_len, head_dim, dtype=dtype, device=device)
        self.values = torch.zeros_like(self.keys)
        self.length = 0

    def append(self, k, v):
        room = self.keys.shape[2] - self.length
        if k.shape[2] > room:
            raise ValueError(f"room for {room} tokens, not for {k.shape[2]}")
        for buffer, new in ((self.keys, k), (self.values, v)):
            buffer.narrow(2, self.length, new.shape[2]).copy_(new.detach())
        self.length += k.shape[2]
        return self.keys.narrow(2, 0, self.length), self.values.narrow(2, 0, self.length)

    def crop(self, length):
        if length not in range(self.length + 1):
            raise ValueError(f"no {length} tokens to keep")
        self.length = length


def cached_tokens(past):
    match past:
        case None:
            return 0
        case (k, _):
            return k.shape[2]
        case _:
            return past.length


class CausalSelfAttention(nn.Module):
    def __init__(self, d_model, n_heads):
        super().__init__()
        self.n_heads = n_heads
        self.c_attn = nn.Linear(d_model, 3 * d_model)
        self.c_proj = nn.Linear(d_model, d_model)

    def forward(self, x, past=None, pad=None):
        b, t, d = x.shape
        p = cached_tokens(past)
        q, k, v = self.c_attn(x).view(b, t, 3, self.n_heads, d // self.n_heads).permute(2, 0, 3, 1, 4)
        match past:
            case None:
                present = k, v
            case (old_k, old_v):
                present = k, v = torch.cat((old_k, k), dim=-2), torch.cat((old_v, v), dim=-2)
            case static:
                (k, v), present = static.append(k, v), static
        queries, keys = torch.arange(p, p + t, device=x.device), torch.arange(p + t, device=x.device)
        keep = keys <= queries[:, None]
        if pad is not None:
            keep = keep & (keys >= pad[:, None, None, None])
            # A padding token sees itself: then no row is without a key.
            keep = keep | (keys == queries[:, None])
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=keep)
        return self.c_proj(y.permute(0, 2, 1, 3).flatten(2)), present


class Block(nn.Module):
    def __init__(self, d_model, n_heads):
        super().__init__()
        self.ln_1 = nn.LayerNorm(d_model)
        self.attn = CausalSelfAttention(d_model, n_heads)
        self.ln_2 = nn.LayerNorm(d_model)
        self.c_fc = nn.Linear(d_model, 4 * d_model)
        self.c_proj = nn.Linear(4 * d_model, d_model)

    def forward(self, x, past=None, pad=None):
        attended, present = self.attn(self.ln_1(x), past=past, pad=pad)
        h = x + attended
        return h + self.c_proj(nn.GELU("tanh")(self.c_fc(self.ln_2(h)))), present


class GPT(nn.Module):
    def __init__(self, vocab_size, n_positions, d_model, n_heads, n_layers):
        super().__init__()
        self.wte = nn.Embedding(vocab_size, d_model)
        self.wpe = nn.Embedding(n_positions, d_model)
        self.blocks = nn.ModuleList(Block(d_model, n_heads) for _ in range(n_layers))
        self.ln_f = nn.LayerNorm(d_model)

    def forward(self, ids, cache=None, pad=None):
        cache = [None] * len(self.blocks) if cache is None else list(cache)
        columns = cached_tokens(cache[0]) + torch.arange(ids.shape[1], device=ids.device)
        if columns[-1] >= self.wpe.num_embeddings:
            raise ValueError("there are no more positions")
        positions = columns.expand(ids.shape) - (0 if pad is None else pad.unsqueeze(1))
        x = self.wte(ids) + self.wpe(positions.clamp_min(0))
        for layer, block in enumerate(self.blocks):
            x, cache[layer] = block(x, cache[layer], pad)
        return self.ln_f(x) @ self.wte.weight.mT, cache


class Evaluating:
    """Eval mode and no graph inside, the old mode after."""

    def __init__(self, model):
        self.model, self.no_grad = model, torch.no_grad()

    def __enter__(self):
        self.before = self.model.training
        self.model.eval()
        self.no_grad.__enter__()

    def __exit__(self, *error):
        self.no_grad.__exit__(*error)
        self.model.train(self.before)


def draw(logits, temperature, generator):
    if not temperature:
        return logits.max(dim=-1).indices
    return torch.multinomial(torch.exp(torch.log_softmax(logits / temperature, -1)), 1, generator=generator).view(-1)


def generate(model, ids, max_new_tokens, temperature=0.0, use_cache=True, eos_id=None, generator=None, pad=None):
    b, t = ids.shape
    if t < 1 or max_new_tokens < 0 or temperature < 0:
        raise ValueError("nothing to go on from, or a negative number")
    out = torch.full((b, t + max_new_tokens), -1 if eos_id is None else eos_id, dtype=torch.int64, device=ids.device)
    out[:, :t] = ids
    going, end, cache, fed = torch.ones(b, dtype=torch.bool, device=ids.device), t, None, 0
    with Evaluating(model):
        while end < out.shape[1] and going.any():
            logits, new = model(out[:, fed:end], cache, pad)
            if use_cache:
                cache, fed = new, end
            tokens = draw(logits[:, -1, :], temperature, generator)
            out[going, end] = tokens[going]
            if eos_id is not None:
                going &= tokens != eos_id
            end += 1
    return out[:, :end]


def prefill(model, ids, chunk_size, cache=None):
    if chunk_size < 1:
        raise ValueError("a chunk holds at least one token")
    for start in range(0, ids.shape[1], chunk_size):
        logits, cache = model(ids[:, start : start + chunk_size], cache)
    return logits[:, -1], cache


def kv_cache_bytes(n_layers, batch_size, n_kv_heads, length, head_dim, dtype):
    one = torch.empty((), dtype=dtype).element_size()
    return one * (n_layers * 2) * (batch_size * length) * (n_kv_heads * head_dim)
