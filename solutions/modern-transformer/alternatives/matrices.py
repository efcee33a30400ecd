"""Rotations as matrices, the schedule as a table, top-p by a mass that is summed in float64 and put back in place."""

import math

import torch
import torch.nn.functional as F  # noqa: N812 — its usual name
from torch import nn


def rope(x, base=10000.0):
    *_, length, width = x.shape
    if width & 1:
        raise ValueError("width is odd")
    turn = torch.zeros(length, width, width, dtype=x.dtype)
    for i in range(0, width, 2):
        angle = torch.arange(length, dtype=x.dtype) / base ** (i / width)
        turn[:, i, i] = turn[:, i + 1, i + 1] = angle.cos()
        turn[:, i + 1, i], turn[:, i, i + 1] = angle.sin(), -angle.sin()
    return torch.einsum("tij,bhtj->bhti", turn, x)


class PreNormBlock(nn.Module):
    def __init__(self, d_model, n_heads, p_drop=0.0):
        super().__init__()
        if d_model % (2 * n_heads):
            raise ValueError(f"d_model {d_model} is not a multiple of 2·{n_heads}")
        self.n_heads, self.p_drop = n_heads, p_drop
        self.norm1 = nn.RMSNorm(d_model, eps=1e-6)
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False)
        self.out = nn.Linear(d_model, d_model, bias=False)
        self.norm2 = nn.RMSNorm(d_model, eps=1e-6)
        self.gate = nn.Linear(d_model, 3 * d_model, bias=False)
        self.up = nn.Linear(d_model, 3 * d_model, bias=False)
        self.down = nn.Linear(3 * d_model, d_model, bias=False)

    def forward(self, x):
        attended = x + self._drop(self._attend(self.norm1(x)))
        normed = self.norm2(attended)
        gate, up = F.linear(normed, torch.cat([self.gate.weight, self.up.weight])).chunk(2, dim=-1)
        return attended + self._drop((gate * gate.sigmoid() * up) @ self.down.weight.T)

    def _attend(self, h):
        weight = self.qkv.weight.view(3, self.n_heads, -1, h.shape[-1])
        q, k, v = torch.einsum("btd,nhcd->nbhtc", h, weight)
        scores = torch.einsum("bhqc,bhkc->bhqk", rope(q), rope(k)) / q.shape[-1] ** 0.5
        times = torch.arange(h.shape[1])
        weights = scores.masked_fill(times > times[:, None], torch.finfo(h.dtype).min).softmax(dim=-1)
        mixed = torch.einsum("bhqk,bhkc->bqhc", self._drop(weights), v)
        return self.out(mixed.flatten(2))

    def _drop(self, x):
        if not self.training or self.p_drop == 0:
            return x
        keep = torch.bernoulli(torch.full_like(x, 1 - self.p_drop))
        return x * keep / (1 - self.p_drop)


class Transformer(nn.Module):
    def __init__(self, vocab, d_model, n_heads, n_layers, p_drop=0.0):
        super().__init__()
        self.p_drop = p_drop
        self.tokens = nn.Embedding(vocab, d_model)
        self.blocks = nn.ModuleList(PreNormBlock(d_model, n_heads, p_drop) for _ in range(n_layers))
        self.norm = nn.RMSNorm(d_model, eps=1e-6)
        self.head = nn.Linear(d_model, vocab, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)

    def forward(self, ids):
        x = nn.functional.embedding(ids, self.tokens.weight)
        if self.training:
            x = F.dropout(x, self.p_drop)
        return self.head(self.norm(nn.Sequential(*self.blocks)(x)))


def temperature(logits, t):
    if t > 0:
        return logits * (1 / t) if logits.dtype == torch.float64 else logits / t
    raise ValueError(f"{t} is no temperature")


def top_k_filter(logits, k):
    if k <= 0:
        raise ValueError(f"{k} keeps no token")
    threshold = logits.sort(dim=-1, descending=True).values[:, : min(k, logits.shape[-1])][:, -1]
    out = logits.clone()
    out[logits < threshold.unsqueeze(-1)] = float("-inf")
    return out


def top_p_filter(logits, p):
    out = logits.clone()
    if p >= 1:
        return out
    order = torch.sort(-logits, dim=-1, stable=True).indices
    place = order.argsort(dim=-1)  # the rank of each token
    mass = torch.softmax(logits.double(), dim=-1).gather(-1, order).cumsum(dim=-1)
    before = torch.cat([torch.zeros_like(mass[:, :1]), mass[:, :-1]], dim=-1).gather(-1, place)
    out[(before >= p) & (place > 0)] = -math.inf
    return out


def sample(logits, t=1.0, k=None, p=None, generator=None):
    if t == 0.0:
        return logits.argmax(-1)
    logits = temperature(logits, t)
    logits = top_k_filter(logits, logits.shape[-1] if k is None else k)
    logits = top_p_filter(logits, 1.0 if p is None else p)
    return torch.softmax(logits, -1).multinomial(1, generator=generator)[:, 0]


def lr_at(step, steps, lr, warmup, final=0.1):
    rise = [lr * (i + 1) / warmup for i in range(warmup)]
    count = max(1, steps - 1 - warmup)
    fall = [lr * (final + (1 - final) * 0.5 * (1 + math.cos(math.pi * i / count))) for i in range(count + 1)]
    table = rise + fall
    return table[min(step, len(table) - 1)]


def train(model, data, steps, lr, warmup, grad_clip, seed, weight_decay=0.0, batch_size=16, length=32):
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(param_groups(model, weight_decay), betas=(0.9, 0.95))
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    model.train()

    def one(step):
        ids = sample_batch(data, batch_size, length, generator)
        loss = -_log_probs(model, ids).mean()
        for weight, grad in zip(weights, torch.autograd.grad(loss, weights), strict=True):
            weight.grad = grad
        norm = torch.stack([weight.grad.norm() for weight in weights]).norm()
        for weight in weights:
            weight.grad *= (grad_clip / (norm + 1e-6)).clamp(max=1)
        for group in optimizer.param_groups:
            group["lr"] = lr_at(step, steps, lr, warmup)
        optimizer.step()
        return float(loss)

    return list(map(one, range(steps)))


def param_groups(model, weight_decay):
    kinds = {}
    for module in model.modules():
        for weight in module.parameters(recurse=False):
            kinds[weight] = isinstance(module, nn.Embedding) or weight.dim() < 2
    groups = {False: [], True: []}
    for weight in filter(lambda weight: weight.requires_grad, model.parameters()):
        groups[kinds[weight]].append(weight)
    return [{"params": groups[flat], "weight_decay": 0.0 if flat else weight_decay} for flat in (False, True)]


def evaluate(model, data, length):
    was = model.training
    model.train(False)
    with torch.inference_mode():
        value = -_log_probs(model, data.unfold(0, length, length)).mean().item()
    model.train(was)
    return value


def _log_probs(model, ids):
    return model(ids)[:, :-1].log_softmax(dim=-1).gather(-1, ids[:, 1:].unsqueeze(-1))


def sample_batch(data, batch_size, length, generator):
    starts = torch.randint(len(data) - length + 1, (batch_size,), generator=generator)
    return data[starts[:, None] + torch.arange(length)]
