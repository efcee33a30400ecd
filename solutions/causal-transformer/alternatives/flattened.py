"""Batch and heads as one axis of batched products, an additive mask, pure functions behind the modules' forward."""

import torch
import torch.nn.functional as F  # noqa: N812 — its usual name
from torch import nn


def scaled_dot_product_attention(q, k, v, mask=None):
    b, h, tq, dh = q.shape
    tk, dv = v.shape[2:]
    scores = torch.bmm(q.reshape(b * h, tq, dh), k.reshape(b * h, tk, dh).mT).div(dh**0.5).view(b, h, tq, tk)
    if mask is None:
        weights = F.softmax(scores, dim=-1)
    else:
        shut = ~mask.broadcast_to(scores.shape)
        empty = shut.all(dim=-1, keepdim=True)
        bias = torch.zeros_like(scores).masked_fill(shut & ~empty, -torch.inf)
        weights = F.softmax(scores + bias, dim=-1).masked_fill(empty, 0.0)
    out = torch.bmm(weights.reshape(b * h, tq, tk), v.reshape(b * h, tk, dv))
    return out.view(b, h, tq, dv), weights


def _attention(x, weight, bias, out_weight, out_bias, n_heads):
    t, d = x.shape[1:]
    parts = F.linear(x, weight, bias).chunk(3, dim=-1)
    q, k, v = (part.unflatten(-1, (n_heads, d // n_heads)).movedim(2, 1) for part in parts)
    mixed, _ = scaled_dot_product_attention(q, k, v, torch.tril(torch.ones((t, t), device=x.device)) > 0)
    return F.linear(mixed.movedim(1, 2).flatten(2), out_weight, out_bias)


class MultiHeadAttention(nn.Module):
    def __init__(self, d_model, n_heads):
        super().__init__()
        if d_model % n_heads:
            raise ValueError(f"d_model {d_model} is not a multiple of n_heads {n_heads}")
        self.n_heads = n_heads
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.out = nn.Linear(d_model, d_model)

    def forward(self, x):
        return _attention(x, self.qkv.weight, self.qkv.bias, self.out.weight, self.out.bias, self.n_heads)


class TransformerBlock(nn.Module):
    def __init__(self, d_model, n_heads):
        super().__init__()
        self.norm1 = nn.LayerNorm(d_model)
        self.attention = MultiHeadAttention(d_model, n_heads)
        self.norm2 = nn.LayerNorm(d_model)
        self.up = nn.Linear(d_model, 4 * d_model)
        self.down = nn.Linear(4 * d_model, d_model)

    def forward(self, x):
        stream = x.clone()
        stream += self.attention(self.norm1(x))
        return stream + self.down(F.gelu(self.up(self.norm2(stream))))


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
        if ids.shape[1] > self.max_len:
            raise ValueError("more tokens than positions")
        where = torch.arange(ids.shape[1]).expand_as(ids)
        x = F.embedding(ids, self.tokens.weight) + F.embedding(where, self.positions.weight)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def lm_loss(logits, ids, answer_mask=None):
    b, t, _ = logits.shape
    if t == 1:
        return logits.sum() * 0
    nll = F.cross_entropy(logits[:, :-1].mT, ids[:, 1:], reduction="none")  # (B, T − 1)
    if answer_mask is None:
        return nll.sum() / (b * (t - 1))
    counted = answer_mask[:, 1:]
    return nll.masked_fill(~counted, 0.0).sum() / counted.sum().clamp(min=1)


def train(model, get_batch, steps, lr):
    model.train(True)
    optimizer, losses = torch.optim.AdamW([{"params": list(model.parameters())}], lr=lr, foreach=False), []
    while len(losses) < steps:
        ids, answer_mask = get_batch()
        model.zero_grad(set_to_none=False)
        loss = lm_loss(model(ids), ids, answer_mask)
        loss.backward()
        optimizer.step()
        losses.append(loss.tolist())
    return losses


def generate(model, ids, max_new_tokens, temperature=1.0, generator=None):
    if temperature < 0.0:
        raise ValueError(temperature)
    if max_new_tokens == 0:
        return ids.clone()
    mode = model.training
    model.eval()
    try:
        with torch.no_grad():
            logits = model(ids[:, -model.max_len :])[:, -1]
    finally:
        model.train(mode)
    if temperature:
        new = torch.softmax((logits - logits.amax(-1, keepdim=True)) / temperature, -1)
        new = new.multinomial(1, generator=generator)
    else:
        new = logits.argmax(-1, keepdim=True)
    return generate(model, torch.hstack([ids, new]), max_new_tokens - 1, temperature, generator)


def reverse_batch(batch_size, length, n_symbols, generator=None):
    symbols = torch.randint(n_symbols, (batch_size, length), generator=generator)
    ids = torch.cat([symbols, torch.full((batch_size, 1), n_symbols), symbols.flip(1)], dim=1)
    return ids, (torch.arange(2 * length + 1) > length).repeat(batch_size, 1)
