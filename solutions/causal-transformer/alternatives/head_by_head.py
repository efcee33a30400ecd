"""One head at a time, every formula spelled out: log-sum-exp, LayerNorm, GELU and AdamW by hand, Gumbel noise."""

import math

import torch
from torch import nn


def scaled_dot_product_attention(q, k, v, mask=None):
    scores = (q / math.sqrt(q.shape[-1])) @ k.mT
    if mask is None:
        mask = torch.ones(1, dtype=torch.bool)
    scores = torch.where(mask, scores, torch.full_like(scores, -1e30))
    top = scores.detach().amax(dim=-1, keepdim=True)
    e = torch.where(mask, (scores - top).exp(), torch.zeros_like(scores))
    weights = e / e.sum(dim=-1, keepdim=True).clamp(min=1e-30)  # a row that sees a key sums to 1 or more
    return weights @ v, weights


class MultiHeadAttention(nn.Module):
    def __init__(self, d_model, n_heads):
        super().__init__()
        if d_model % n_heads:
            raise ValueError(f"d_model {d_model} is not a multiple of n_heads {n_heads}")
        self.n_heads = n_heads
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.out = nn.Linear(d_model, d_model)

    def forward(self, x):
        length, width = x.shape[1:]
        dh = width // self.n_heads
        past = torch.ones(length, length, dtype=torch.bool).triu(1).logical_not()
        outs = []
        for head in range(self.n_heads):
            q, k, v = (self._part(x, kind * width + head * dh, dh) for kind in range(3))
            outs.append(scaled_dot_product_attention(q, k, v, past)[0].squeeze(1))
        return self.out(torch.cat(outs, dim=-1))

    def _part(self, x, start, dh):
        rows = slice(start, start + dh)
        return (x @ self.qkv.weight[rows].T + self.qkv.bias[rows]).unsqueeze(1)  # (B, 1, T, dh)


class TransformerBlock(nn.Module):
    def __init__(self, d_model, n_heads):
        super().__init__()
        self.norm1 = nn.LayerNorm(d_model)
        self.attention = MultiHeadAttention(d_model, n_heads)
        self.norm2 = nn.LayerNorm(d_model)
        self.up = nn.Linear(d_model, 4 * d_model)
        self.down = nn.Linear(4 * d_model, d_model)

    def forward(self, x):
        middle = x + self.attention(_normed(x, self.norm1))
        hidden = self.up(_normed(middle, self.norm2))
        return middle + self.down(hidden * (1 + torch.erf(hidden / math.sqrt(2))) / 2)


class TransformerLM(nn.Module):
    def __init__(self, vocab, d_model, n_heads, n_layers, max_len):
        super().__init__()
        self.max_len = max_len
        self.tokens = nn.Embedding(vocab, d_model)
        self.positions = nn.Embedding(max_len, d_model)
        self.blocks = nn.ModuleList(TransformerBlock(d_model, n_heads) for _ in range(n_layers))
        self.norm = nn.LayerNorm(d_model)
        self.head = nn.Linear(d_model, vocab, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, ids):
        length = ids.shape[1]
        if length > self.max_len:
            raise ValueError("too long")
        x = torch.stack([self.tokens.weight[ids[:, t]] + self.positions.weight[t] for t in range(length)], dim=1)
        for block in self.blocks:
            x = block(x)
        return _normed(x, self.norm) @ self.head.weight.T


def _normed(x, norm):
    x = x - x.mean(dim=-1, keepdim=True)
    return x / (x.square().mean(dim=-1, keepdim=True) + norm.eps).sqrt() * norm.weight + norm.bias


def lm_loss(logits, ids, answer_mask=None):
    rows, times = torch.nonzero(torch.ones_like(ids) if answer_mask is None else answer_mask, as_tuple=True)
    rows, times = rows[times > 0], times[times > 0]
    if not len(rows):
        return logits.sum() * 0
    before = logits[rows, times - 1]  # (counted, V)
    chosen = before[torch.arange(len(rows)), ids[rows, times]]
    return (before.logsumexp(dim=-1) - chosen).mean()


def train(model, get_batch, steps, lr, betas=(0.9, 0.999), eps=1e-8, decay=0.01):
    model.train()
    weights = list(model.parameters())
    first, second = ([torch.zeros_like(w) for w in weights] for _ in range(2))
    losses = []
    for step in range(1, steps + 1):
        ids, answer_mask = get_batch()
        loss = lm_loss(model(ids), ids, answer_mask)
        grads = torch.autograd.grad(loss, weights)
        losses.append(loss.item())
        with torch.no_grad():
            for w, g, m, v in zip(weights, grads, first, second, strict=True):
                w *= 1 - lr * decay
                m.lerp_(g, 1 - betas[0])
                v.lerp_(g * g, 1 - betas[1])
                w -= lr * (m / (1 - betas[0] ** step)) / ((v / (1 - betas[1] ** step)).sqrt() + eps)
    return losses


def generate(model, ids, max_new_tokens, temperature=1.0, generator=None):
    if temperature < 0:
        raise ValueError("negative temperature")
    mode = model.training
    model.train(False)
    out = [ids]
    with torch.no_grad():
        for _ in range(max_new_tokens):
            context = torch.cat(out, dim=1)[:, -model.max_len :]
            scores = model(context)[:, -1, :]
            if temperature > 0:
                noise = -torch.empty(scores.shape, dtype=torch.float64).exponential_(generator=generator).log()
                scores = scores / temperature + noise
            out.append(scores.max(dim=-1, keepdim=True).indices)
    model.train(mode)
    return torch.cat(out, dim=1)


def reverse_batch(batch_size, length, n_symbols, generator=None):
    symbols = torch.randint(n_symbols, (batch_size, length), generator=generator)
    ids = torch.cat([symbols, torch.full((batch_size, 1), n_symbols), symbols.flip(1)], dim=1)
    return ids, (torch.arange(2 * length + 1) > length).repeat(batch_size, 1)
