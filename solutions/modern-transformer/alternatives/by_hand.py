"""Every operation spelled out: softmax, RMSNorm, SiLU, dropout, cross-entropy, clipping and AdamW; Gumbel noise."""

import math

import torch
from torch import nn


def rope(x, base=10000.0):
    length, width = x.shape[-2:]
    if width % 2:
        raise ValueError("an odd number of channels")
    out = torch.empty_like(x)
    times = torch.arange(length, dtype=x.dtype)
    for i in range(width // 2):
        angle = times * base ** (-2 * i / width)
        a, b = x[..., 2 * i], x[..., 2 * i + 1]
        out[..., 2 * i] = a * angle.cos() - b * angle.sin()
        out[..., 2 * i + 1] = a * angle.sin() + b * angle.cos()
    return out


def _normed(x, norm):
    return x / (x.pow(2).mean(dim=-1, keepdim=True) + norm.eps).sqrt() * norm.weight


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
        x = x + self._dropout(self._attention(_normed(x, self.norm1)))
        h = _normed(x, self.norm2)
        gate = self.gate(h)
        return x + self._dropout(self.down(gate / (1 + (-gate).exp()) * self.up(h)))

    def _attention(self, h):
        length, width = h.shape[1:]
        dh = width // self.n_heads
        past = torch.ones(length, length, dtype=torch.bool).tril()
        mixed = []
        for head in range(self.n_heads):
            q, k, v = (h @ self.qkv.weight[start + head * dh :][:dh].T for start in (0, width, 2 * width))
            q, k = rope(q[:, None])[:, 0], rope(k[:, None])[:, 0]
            scores = (q @ k.mT / math.sqrt(dh)).masked_fill(~past, -torch.inf)
            e = (scores - scores.amax(dim=-1, keepdim=True)).exp()
            mixed.append(self._dropout(e / e.sum(dim=-1, keepdim=True)) @ v)
        return torch.cat(mixed, dim=-1) @ self.out.weight.T

    def _dropout(self, x):
        return _dropout(x, self.p_drop) if self.training else x


def _dropout(x, p_drop):
    return torch.where(torch.rand_like(x) < p_drop, 0.0, x / (1 - p_drop))


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
        x = self.tokens.weight[ids]
        if self.training:
            x = _dropout(x, self.p_drop)
        for block in self.blocks:
            x = block(x)
        return _normed(x, self.norm) @ self.head.weight.T


def temperature(logits, t):
    if not t > 0:
        raise ValueError(t)
    return logits / t


def top_k_filter(logits, k):
    if k < 1:
        raise ValueError(k)
    above = (logits[:, None, :] > logits[:, :, None]).sum(dim=-1) if logits.shape[-1] < 500 else _rank(logits)
    return torch.where(above < k, logits, -torch.inf)


def _rank(logits):
    """How many logits of the row are larger, by search in the sorted row."""
    ordered = (-logits).sort(dim=-1).values
    return torch.searchsorted(ordered, (-logits).contiguous(), right=False)


def top_p_filter(logits, p):
    if p >= 1:
        return logits.clone()
    out = torch.full_like(logits, -torch.inf)
    for row, kept in zip(logits, out, strict=True):
        order = torch.argsort(row, descending=True, stable=True)
        mass = row.double().softmax(dim=-1)[order].cumsum(dim=-1)
        count = 1 + int((mass[:-1] < p).long().cumprod(dim=0).sum())
        kept[order[:count]] = row[order[:count]]
    return out


def sample(logits, t=1.0, k=None, p=None, generator=None):
    if t:
        logits = temperature(logits, t)
        logits = logits if k is None else top_k_filter(logits, k)
        logits = logits if p is None else top_p_filter(logits, p)
        noise = torch.empty(logits.shape, dtype=torch.float64).exponential_(generator=generator)
        logits = logits - noise.log()
    return logits.max(dim=-1).indices


def lr_at(step, steps, lr, warmup, final=0.1):
    if step + 1 <= warmup:
        return lr / warmup * (step + 1)
    last = steps - 1
    if step >= last and last > warmup:
        return final * lr
    share = (step - warmup) / (last - warmup) if last > warmup else min(1, step - warmup)
    low = final * lr
    return low + (lr - low) * math.cos(math.pi * share / 2) ** 2


def train(model, data, steps, lr, warmup, grad_clip, seed, weight_decay=0.0, batch_size=16, length=32):
    generator = torch.Generator()
    generator.manual_seed(seed)
    decays, others = (group["params"] for group in param_groups(model, weight_decay))
    weights = [*decays, *others]
    first, second, losses = [0.0] * len(weights), [0.0] * len(weights), []
    model.train()
    for step in range(steps):
        loss = _loss(model, sample_batch(data, batch_size, length, generator))
        grads = torch.autograd.grad(loss, weights)
        norm = math.sqrt(sum(float(grad.double().square().sum()) for grad in grads))
        factor, now = min(1.0, grad_clip / (norm + 1e-6)), lr_at(step, steps, lr, warmup)
        with torch.no_grad():
            for i, (weight, grad) in enumerate(zip(weights, grads, strict=True)):
                first[i] = 0.9 * first[i] + 0.1 * factor * grad
                second[i] = 0.95 * second[i] + 0.05 * (factor * grad) ** 2
                if i < len(decays):
                    weight -= now * weight_decay * weight
                m, v = first[i] / (1 - 0.9 ** (step + 1)), second[i] / (1 - 0.95 ** (step + 1))
                weight -= now * m / (v.sqrt() + 1e-8)
        losses.append(float(loss))
    return losses


def param_groups(model, weight_decay):
    tables = [module.weight for module in model.modules() if isinstance(module, nn.Embedding)]
    decays, others = [], []
    for weight in model.parameters():
        if weight.requires_grad and weight.ndim >= 2 and not any(weight is table for table in tables):
            decays.append(weight)
        elif weight.requires_grad:
            others.append(weight)
    return [{"params": decays, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def evaluate(model, data, length):
    mode = model.training
    model.eval()
    total = 0.0
    windows = [data[start : start + length] for start in range(0, len(data) - length + 1, length)]
    with torch.no_grad():
        for window in windows:
            total += float(_loss(model, window[None]))
    model.train(mode)
    return total / len(windows)


def _loss(model, ids):
    logits = model(ids)[:, :-1]
    chosen = logits.gather(-1, ids[:, 1:, None]).squeeze(-1)
    return (logits.logsumexp(dim=-1) - chosen).mean()


def sample_batch(data, batch_size, length, generator):
    starts = torch.randint(len(data) - length + 1, (batch_size,), generator=generator)
    return data[starts[:, None] + torch.arange(length)]
