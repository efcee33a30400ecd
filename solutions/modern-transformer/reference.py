"""A transformer as it is built today, its sampler and its training loop.

RMSNorm before each branch, rotary positions, SwiGLU, dropout; temperature, top-k, top-p; warm-up, cosine, clipping.
Left out: a key-value cache, grouped heads, tied embeddings, half precision.
Sizes: B batch, T positions, D model width, H heads of dh channels, V vocabulary.
"""

import math

import torch
import torch.nn.functional as F  # noqa: N812 — its usual name
from torch import Tensor, nn


def rope(x: Tensor, base: float = 10000.0) -> Tensor:
    """Rotate the channel pairs (2i, 2i + 1) at position p by the angle p·base^(−2i/dh) (Su et al. 2021, interleaved).

    Args: x: [B, H, T, dh], positions 0 to T − 1; dh odd: ValueError. base: more than 0.
    Returns: [B, H, T, dh], of x's dtype. x is not modified.
    """
    t, dh = x.shape[-2:]
    if dh % 2:
        raise ValueError(f"{dh} channels make no pairs")
    frequencies = base ** (-torch.arange(0, dh, 2, dtype=x.dtype) / dh)  # (dh/2,)
    angles = torch.outer(torch.arange(t, dtype=x.dtype), frequencies)  # (T, dh/2)
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())  # (B, H, T, dh/2)
    return torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)).flatten(-2)


class PreNormBlock(nn.Module):
    """Causal attention with rotary positions, then SwiGLU, each behind an RMSNorm. The constructor is given."""

    def __init__(self, d_model: int, n_heads: int, p_drop: float = 0.0) -> None:
        """d_model must be a multiple of 2·n_heads, else ValueError; p_drop: of all dropouts, in train mode alone."""
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

    def forward(self, x: Tensor) -> Tensor:
        """x plus attention of the normed x; then that plus SwiGLU of that, normed. Dropout on weights and branches.

        Args: x: [B, T, D]; not modified.
        Returns: [B, T, D]. Position i depends on the positions 0 to i alone.
        """
        x = x + F.dropout(self._attended(self.norm1(x)), self.p_drop, self.training)
        h = self.norm2(x)
        return x + F.dropout(self.down(F.silu(self.gate(h)) * self.up(h)), self.p_drop, self.training)

    def _attended(self, h: Tensor) -> Tensor:
        """Causal multi-head attention, [B, T, D] → [B, T, D]."""
        q, k, v = self.qkv(h).unflatten(-1, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)  # each (B, H, T, dh)
        p_drop = self.p_drop if self.training else 0.0
        mixed = F.scaled_dot_product_attention(rope(q), rope(k), v, dropout_p=p_drop, is_causal=True)
        return self.out(mixed.transpose(1, 2).flatten(2))


class Transformer(nn.Module):
    """A causal language model without a table of positions. The constructor is given: weights N(0, 0.02)."""

    def __init__(self, vocab: int, d_model: int, n_heads: int, n_layers: int, p_drop: float = 0.0) -> None:
        """p_drop: of the embedding, and of all blocks."""
        super().__init__()
        self.p_drop = p_drop
        self.tokens = nn.Embedding(vocab, d_model)
        self.blocks = nn.ModuleList(PreNormBlock(d_model, n_heads, p_drop) for _ in range(n_layers))
        self.norm = nn.RMSNorm(d_model, eps=1e-6)
        self.head = nn.Linear(d_model, vocab, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)

    def forward(self, ids: Tensor) -> Tensor:
        """Embedding, its dropout, the blocks, the last norm, the head.

        Args: ids: [B, T] int64.
        Returns: logits [B, T, V]: at position t those of the token at t + 1.
        """
        x = F.dropout(self.tokens(ids), self.p_drop, self.training)  # (B, T, D)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def temperature(logits: Tensor, t: float) -> Tensor:
    """logits / t; t ≤ 0: ValueError. Returns a new tensor of the logits' shape and dtype."""
    if t <= 0:
        raise ValueError(f"temperature {t} is not positive")
    return logits / t


def top_k_filter(logits: Tensor, k: int) -> Tensor:
    """Keep every logit that is not below the k-th largest of its row; −inf for the others.

    Args: logits: [B, V], −inf allowed; not modified. k: 1 or more, else ValueError; V or more keeps all.
    Returns: a new tensor, [B, V]. Logits equal to the k-th largest are all kept.
    """
    if k < 1:
        raise ValueError(f"k {k} keeps nothing")
    kth = logits.topk(min(k, logits.shape[-1])).values[:, -1:]  # (B, 1)
    return logits.masked_fill(logits < kth, -torch.inf)


def top_p_filter(logits: Tensor, p: float) -> Tensor:
    """Keep the smallest set of most likely tokens whose mass is p or more; −inf for the others (Holtzman et al. 2020).

    Args: logits: [B, V], −inf allowed; not modified. p: 1 or more keeps all, 0 or less the first alone.
    Returns: a new tensor, [B, V]. A token is kept if the mass of those before it, in descending order, is below p; of
        equal logits the lower id comes first. The first is always kept.
    """
    if p >= 1:
        return logits.clone()
    ordered, ids = logits.sort(dim=-1, descending=True, stable=True)
    probs = ordered.softmax(dim=-1)
    removed = probs.cumsum(dim=-1) - probs >= p  # (B, V), in descending order
    removed[:, 0] = False
    return logits.masked_fill(removed.scatter(-1, ids, removed), -torch.inf)


def sample(
    logits: Tensor,
    t: float = 1.0,
    k: int | None = None,
    p: float | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """One token a row: temperature, then top-k, then top-p, then a draw.

    Args: logits: [B, V]; not modified. t: 0 takes the largest logit, the lowest id of equal ones; negative: ValueError.
        k, p: as in the filters; None = off. generator: the only source of chance; None = torch's own.
    Returns: [B] int64.
    """
    if t == 0:
        return logits.argmax(dim=-1)
    logits = temperature(logits, t)
    if k is not None:
        logits = top_k_filter(logits, k)
    if p is not None:
        logits = top_p_filter(logits, p)
    return torch.multinomial(logits.softmax(dim=-1), 1, generator=generator).squeeze(-1)


def lr_at(step: int, steps: int, lr: float, warmup: int, final: float = 0.1) -> float:
    """The learning rate of a step: a linear rise over `warmup` steps to lr, then half a cosine down to final·lr.

    Args: step: 0 to steps − 1. warmup: 0 or more; step warmup − 1 is the first at lr. final: what is left of lr at the
        last step, and after it.
    """
    if step < warmup:
        return lr * (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, steps - 1 - warmup))
    return lr * (final + (1 - final) * (1 + math.cos(math.pi * progress)) / 2)


def train(
    model: nn.Module,
    data: Tensor,
    steps: int,
    lr: float,
    warmup: int,
    grad_clip: float,
    seed: int,
    weight_decay: float = 0.0,
    batch_size: int = 16,
    length: int = 32,
) -> list[float]:
    """Train a model in place with AdamW, a schedule and clipped gradients, in train mode; it stays in train mode.

    Args: model: any module that maps ids [B, T] to logits [B, T, V]. data: [N] int64, a stream of tokens. grad_clip:
        the largest global L2 norm of the gradient. seed: of the batches, which sample_batch draws. weight_decay: of
        param_groups; with 0 no weight decays.
    Returns: the loss of each step before its update, as Python floats.
    """
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(param_groups(model, weight_decay), lr=lr, betas=(0.9, 0.95))
    model.train()
    losses = []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = lr_at(step, steps, lr, warmup)
        loss = _next_token_loss(model, sample_batch(data, batch_size, length, generator))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), grad_clip)
        optimizer.step()
        losses.append(loss.item())
    return losses


def param_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Two groups for AdamW: what decays, and what does not.

    Args: model: any module. weight_decay: of the first group.
    Returns: [{"params": [...], "weight_decay": weight_decay}, {"params": [...], "weight_decay": 0.0}]: first the weight
        matrices, then all that has fewer than two dimensions (norms, biases) and the weights of every nn.Embedding.
        Each parameter that requires a gradient is in one of them, once, in the order of model.parameters().
    """
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    groups: tuple[list, list] = ([], [])
    for weight in model.parameters():
        if weight.requires_grad:
            groups[weight.dim() < 2 or id(weight) in tables].append(weight)
    return [{"params": groups[0], "weight_decay": weight_decay}, {"params": groups[1], "weight_decay": 0.0}]


def evaluate(model: nn.Module, data: Tensor, length: int) -> float:
    """The mean cross-entropy of the next token, in nats, over the whole windows of `length` tokens of a stream.

    Args: model: as in train; it runs in eval mode without a graph, and is in the mode it came in afterwards. data: [N]
        int64, N ≥ length. length: 2 or more; what is left at the end of the stream is not used.
    """
    was_training = model.training
    model.eval()
    with torch.no_grad():
        loss = _next_token_loss(model, data[: len(data) // length * length].view(-1, length))
    model.train(was_training)
    return loss.item()


def sample_batch(data: Tensor, batch_size: int, length: int, generator: torch.Generator) -> Tensor:
    """Windows of a stream [N] of tokens, at random starts: [batch_size, length]. Given."""
    starts = torch.randint(len(data) - length + 1, (batch_size,), generator=generator)
    return data[starts[:, None] + torch.arange(length)]


def _next_token_loss(model: nn.Module, ids: Tensor) -> Tensor:
    """Mean cross-entropy of ids[:, 1:], each predicted at the position before it."""
    return F.cross_entropy(model(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
