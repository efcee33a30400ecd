"""What the library has: modules for dropout, a LambdaLR for the schedule, thresholds for both filters."""

import math
from itertools import chain

import torch
import torch.nn.functional as F  # noqa: N812 — its usual name
from torch import nn


def rope(x, base=10000.0):
    if x.shape[-1] % 2 == 1:
        raise ValueError("channels come in pairs")
    even, odd = x[..., 0::2], x[..., 1::2]
    exponents = torch.linspace(0, 1, even.shape[-1] + 1, dtype=torch.float64)[:-1]
    angles = torch.arange(x.shape[-2])[:, None] * torch.exp(-math.log(base) * exponents)
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).reshape(x.shape)


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
        drop = nn.Dropout(self.p_drop).train(self.training)
        b, t, d = x.shape
        parts = F.linear(F.rms_norm(x, (d,), self.norm1.weight, 1e-6), self.qkv.weight).chunk(3, dim=-1)
        q, k, v = (part.view(b, t, self.n_heads, d // self.n_heads).transpose(1, 2) for part in parts)
        hidden = torch.triu(torch.full((t, t), -math.inf, dtype=x.dtype), diagonal=1)
        p_drop = self.training * self.p_drop
        mixed = F.scaled_dot_product_attention(rope(q), rope(k), v, attn_mask=hidden, dropout_p=p_drop)
        x = x + drop(self.out(mixed.transpose(1, 2).contiguous().view(b, t, d)))
        h = self.norm2(x)
        return x + drop(self.down(F.silu(self.gate(h)).mul(self.up(h))))


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
        layers = [self.tokens, nn.Dropout(self.p_drop).train(self.training), *self.blocks, self.norm, self.head]
        for layer in layers:
            ids = layer(ids)
        return ids


def temperature(logits, t):
    if t <= 0:
        raise ValueError("not positive")
    return torch.div(logits, t)


def top_k_filter(logits, k):
    if k < 1:
        raise ValueError("k is less than 1")
    size = logits.shape[1]
    if k >= size:
        return logits.clone()
    kth = logits.kthvalue(size - k + 1, dim=-1, keepdim=True).values
    return logits.where(logits >= kth, -math.inf)


def top_p_filter(logits, p):
    if p >= 1.0:
        return logits.detach().clone()
    ids = torch.argsort(logits, dim=-1, descending=True, stable=True)
    mass = F.softmax(logits, dim=-1).gather(-1, ids).cumsum(dim=-1)
    shifted = F.pad(mass[:, :-1], (1, 0), value=-1.0)  # the mass before each token; nothing is before the first
    keep = torch.empty_like(ids, dtype=torch.bool).scatter_(-1, ids, shifted < max(p, 0.0))
    return torch.where(keep, logits, torch.tensor(-math.inf, dtype=logits.dtype))


def sample(logits, t=1.0, k=None, p=None, generator=None):
    if t < 0:
        raise ValueError("negative temperature")
    if t == 0:
        return torch.argmax(logits, dim=1)
    chosen = temperature(logits, t)
    for limit, keep in ((k, top_k_filter), (p, top_p_filter)):
        if limit is not None:
            chosen = keep(chosen, limit)
    total = F.softmax(chosen.double(), dim=-1).cumsum(dim=-1)
    point = torch.rand(len(logits), 1, generator=generator, dtype=torch.float64) * total[:, -1:]
    return torch.searchsorted(total, point, right=True)[:, 0]


def lr_at(step, steps, lr, warmup, final=0.1):
    if step < warmup:
        factor = (step + 1) / warmup
    else:
        progress = min((step - warmup) / max(steps - 1 - warmup, 1), 1)
        factor = final + 0.5 * (1 - final) * (1 + math.cos(progress * math.pi))
    return factor * lr


def train(model, data, steps, lr, warmup, grad_clip, seed, weight_decay=0.0, batch_size=16, length=32):
    draws = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(param_groups(model, weight_decay), lr=1.0, betas=(0.9, 0.95), foreach=False)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: lr_at(step, steps, lr, warmup))
    model.train()
    optimizer.zero_grad()
    losses = []
    for _ in range(steps):
        loss = _loss(model, sample_batch(data, batch_size, length, draws))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(chain(*(group["params"] for group in optimizer.param_groups)), grad_clip)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        losses.append(loss.item())
    return losses


def param_groups(model, weight_decay):
    tables = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.Embedding)}
    named = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    decays = [weight for name, weight in named if weight.dim() > 1 and name not in tables]
    others = [weight for name, weight in named if weight.dim() <= 1 or name in tables]
    return [dict(params=decays, weight_decay=weight_decay), dict(params=others, weight_decay=0.0)]


@torch.no_grad()
def _evaluated(model, windows):
    return _loss(model, windows).item()


def evaluate(model, data, length):
    mode = model.training
    try:
        return _evaluated(model.eval(), torch.stack(data.split(length)[: len(data) // length]))
    finally:
        model.train(mode)


def _loss(model, ids):
    return nn.CrossEntropyLoss()(model(ids)[:, :-1].transpose(1, 2), ids[:, 1:])


def sample_batch(data, batch_size, length, generator):
    starts = torch.randint(len(data) - length + 1, (batch_size,), generator=generator)
    return data[starts[:, None] + torch.arange(length)]
