"""Index notation for every product, library losses, and sampling by the inverse of the cumulative distribution."""

import torch
import torch.nn.functional as F  # noqa: N812 — its usual name
from torch import nn


def scaled_dot_product_attention(q, k, v, mask=None):
    scores = torch.einsum("bhqc,bhkc->bhqk", q, k) * q.shape[-1] ** -0.5
    if mask is not None:
        mask = mask.expand_as(scores)
        seen = mask.any(
            dim=-1, keepdim=True
        )  # a row of −inf alone would be NaN, and NaN · 0 is NaN in the backward pass
        scores = scores.where(mask, -torch.inf).where(seen, 0.0)
    weights = scores.softmax(dim=-1)
    if mask is not None:
        weights = weights * seen
    return torch.einsum("bhqk,bhkc->bhqc", weights, v), weights


class MultiHeadAttention(nn.Module):
    def __init__(self, d_model, n_heads):
        super().__init__()
        if d_model % n_heads:
            raise ValueError(f"d_model {d_model} is not a multiple of n_heads {n_heads}")
        self.n_heads = n_heads
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.out = nn.Linear(d_model, d_model)

    def forward(self, x):
        width = x.shape[-1]
        weight = self.qkv.weight.view(3, self.n_heads, -1, width)  # (3, H, dh, D)
        bias = self.qkv.bias.view(3, self.n_heads, 1, -1)
        q, k, v = torch.einsum("btd,nhcd->nbhtc", x, weight) + bias[:, None]
        times = torch.arange(x.shape[1])
        out, _ = scaled_dot_product_attention(q, k, v, times[:, None] >= times)
        back = self.out.weight.view(width, self.n_heads, -1)
        return torch.einsum("bhtc,dhc->btd", out, back) + self.out.bias


class TransformerBlock(nn.Module):
    def __init__(self, d_model, n_heads):
        super().__init__()
        self.norm1 = nn.LayerNorm(d_model)
        self.attention = MultiHeadAttention(d_model, n_heads)
        self.norm2 = nn.LayerNorm(d_model)
        self.up = nn.Linear(d_model, 4 * d_model)
        self.down = nn.Linear(4 * d_model, d_model)

    def forward(self, x):
        for branch in (self._attend, self._transform):
            x = x + branch(x)
        return x

    def _attend(self, x):
        return self.attention(self.norm1(x))

    def _transform(self, x):
        return self.down(nn.functional.gelu(self.up(self.norm2(x)), approximate="none"))


class TransformerLM(nn.Module):
    def __init__(self, vocab, d_model, n_heads, n_layers, max_len):
        super().__init__()
        self.max_len = max_len
        self.tokens = nn.Embedding(vocab, d_model)
        self.positions = nn.Embedding(max_len, d_model)
        self.blocks = nn.ModuleList([TransformerBlock(d_model, n_heads) for _ in range(n_layers)])
        self.norm = nn.LayerNorm(d_model)
        self.head = nn.Linear(d_model, vocab, bias=False)
        for name, weight in self.named_parameters():
            if "norm" not in name:
                (nn.init.zeros_ if name.endswith("bias") else nn.init.normal_)(weight)
                weight.data *= 0.02

    def forward(self, ids):
        if ids.size(1) > self.max_len:
            raise ValueError("too many tokens")
        x = self.tokens(ids) + self.positions(torch.arange(ids.size(1)))
        return self.head(self.norm(nn.Sequential(*self.blocks)(x)))


def lm_loss(logits, ids, answer_mask=None):
    targets = ids[:, 1:]
    if answer_mask is not None:
        targets = targets.where(answer_mask[:, 1:], -100)
    total = F.cross_entropy(logits[:, :-1].flatten(0, 1), targets.flatten(), ignore_index=-100, reduction="sum")
    return total / max(1, int((targets != -100).sum()))


def train(model, get_batch, steps, lr):
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr)
    optimizer.zero_grad()
    return [_step(model, optimizer, *get_batch()) for _ in range(steps)]


def _step(model, optimizer, ids, answer_mask):
    loss = lm_loss(model(ids), ids, answer_mask)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return float(loss.detach())


def generate(model, ids, max_new_tokens, temperature=1.0, generator=None):
    if temperature < 0:
        raise ValueError("the temperature is negative")
    mode = model.training
    length = ids.shape[1]
    filled = torch.cat([ids, ids.new_zeros(len(ids), max_new_tokens)], dim=1)
    with torch.inference_mode():
        model.eval()
        for end in range(length, length + max_new_tokens):
            logits = model(filled[:, max(0, end - model.max_len) : end])[:, -1]
            if temperature == 0:
                filled[:, end] = torch.argmax(logits, dim=-1)
            else:
                total = torch.softmax(logits.double() / temperature, dim=-1).cumsum(dim=-1)
                point = total[:, -1:] * torch.rand(len(ids), 1, generator=generator, dtype=torch.float64)
                filled[:, end] = torch.searchsorted(total, point, right=True).squeeze(-1)
        model.train(mode)
    return filled


def reverse_batch(batch_size, length, n_symbols, generator=None):
    symbols = torch.randint(n_symbols, (batch_size, length), generator=generator)
    ids = torch.cat([symbols, torch.full((batch_size, 1), n_symbols), symbols.flip(1)], dim=1)
    return ids, (torch.arange(2 * length + 1) > length).repeat(batch_size, 1)
