"""A decoder-only transformer from its attention to its samples, with the loss and the loop that train it.

Left out: dropout, a key-value cache, tied embeddings, rotary positions.
Sizes: B batch, T positions, D model width, H heads, V vocabulary.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 — its usual name
from torch import Tensor, nn


def scaled_dot_product_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """softmax(q kᵀ / √dh) v over the keys that a query sees (Vaswani et al. 2017, section 3.2.1).

    Args: q: [B, H, Tq, dh]. k: [B, H, Tk, dh]. v: [B, H, Tk, dv]. mask: bool, of any shape that broadcasts to
        [B, H, Tq, Tk]; True = this query sees this key; None = every query sees every key.
    Returns: (out [B, H, Tq, dv], weights [B, H, Tq, Tk]). Both are 0 for a query that sees no key.
    """
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])  # (B, H, Tq, Tk)
    if mask is None:
        weights = scores.softmax(dim=-1)
    else:
        lowest = torch.finfo(scores.dtype).min  # finite, so that a row without a visible key makes no NaN
        weights = scores.masked_fill(~mask, lowest).softmax(dim=-1).masked_fill(~mask, 0.0)
    return weights @ v, weights


class MultiHeadAttention(nn.Module):
    """Causal self-attention with H heads of D/H channels. The constructor is given."""

    def __init__(self, d_model: int, n_heads: int) -> None:
        """d_model must be a multiple of n_heads, else ValueError."""
        super().__init__()
        if d_model % n_heads:
            raise ValueError(f"d_model {d_model} is not a multiple of n_heads {n_heads}")
        self.n_heads = n_heads
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.out = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor) -> Tensor:
        """Project to queries, keys and values, attend per head to the past and the present, project back.

        Args: x: [B, T, D].
        Returns: [B, T, D]. Position i depends on the positions 0 to i alone.
        """
        b, t, d = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.n_heads, -1).permute(2, 0, 3, 1, 4)  # each (B, H, T, dh)
        causal = torch.ones(t, t, dtype=torch.bool, device=x.device).tril()
        out, _ = scaled_dot_product_attention(q, k, v, causal)
        return self.out(out.transpose(1, 2).reshape(b, t, d))


class TransformerBlock(nn.Module):
    """A pre-norm block: attention and a feed-forward network, each on its residual branch. The constructor is given."""

    def __init__(self, d_model: int, n_heads: int) -> None:
        """The feed-forward network is 4·d_model wide."""
        super().__init__()
        self.norm1 = nn.LayerNorm(d_model)
        self.attention = MultiHeadAttention(d_model, n_heads)
        self.norm2 = nn.LayerNorm(d_model)
        self.up = nn.Linear(d_model, 4 * d_model)
        self.down = nn.Linear(4 * d_model, d_model)

    def forward(self, x: Tensor) -> Tensor:
        """x plus attention of the normed x; then that plus the feed-forward network of that, normed.

        Args: x: [B, T, D]; not modified.
        Returns: [B, T, D].
        """
        x = x + self.attention(self.norm1(x))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class TransformerLM(nn.Module):
    """A causal language model with learned positions. The constructor is given: weights N(0, 0.02), biases 0."""

    def __init__(self, vocab: int, d_model: int, n_heads: int, n_layers: int, max_len: int) -> None:
        """max_len: the longest sequence that forward takes."""
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

    def forward(self, ids: Tensor) -> Tensor:
        """Logits of the next token at every position.

        Args: ids: [B, T] int64, 1 ≤ T; T > max_len raises ValueError.
        Returns: [B, T, V]: at position t the logits of the token at t + 1.
        """
        t = ids.shape[1]
        if t > self.max_len:
            raise ValueError(f"{t} tokens are more than max_len {self.max_len}")
        x = self.tokens(ids) + self.positions.weight[:t]  # (B, T, D)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def lm_loss(logits: Tensor, ids: Tensor, answer_mask: Tensor | None = None) -> Tensor:
    """Mean cross-entropy, in nats, of the counted tokens, each predicted at the position before it.

    Args: logits: [B, T, V]. ids: [B, T] int64. answer_mask: [B, T] bool, True where the token counts; None = all count.
        The first token of a row never counts: nothing predicts it.
    Returns: a tensor of no dimensions, of the logits' dtype: the mean over all counted tokens of the batch; 0 if none.
    """
    logp = logits[:, :-1].log_softmax(dim=-1)  # (B, T − 1, V)
    nll = -logp.gather(-1, ids[:, 1:, None]).squeeze(-1)  # (B, T − 1)
    counted = torch.ones_like(nll) if answer_mask is None else answer_mask[:, 1:].to(nll.dtype)
    return (nll * counted).sum() / counted.sum().clamp(min=1)


def train(
    model: nn.Module, get_batch: Callable[[], tuple[Tensor, Tensor | None]], steps: int, lr: float
) -> list[float]:
    """Train a model in place with AdamW, one batch a step, in train mode; it stays in train mode.

    Args: model: any module that maps ids [B, T] to logits [B, T, V]. get_batch: returns (ids, answer_mask) for lm_loss;
        called once a step. steps: 0 or more. lr: AdamW's learning rate; its other settings are torch's defaults.
    Returns: the loss of each step before its update, as Python floats.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    model.train()
    losses = []
    for _ in range(steps):
        ids, answer_mask = get_batch()
        loss = lm_loss(model(ids), ids, answer_mask)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def generate(
    model: nn.Module,
    ids: Tensor,
    max_new_tokens: int,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Continue each row token by token, one forward pass of the whole batch a token, in eval mode and without a graph.

    Args: model: any module with a `max_len` that maps ids [B, T ≤ max_len] to logits [B, T, V]; its mode is as before
        afterwards. ids: [B, T] int64, 1 ≤ T, longer than max_len too; not modified. max_new_tokens: 0 or more.
        temperature: divides the logits; 0 = the largest logit, the lowest id of equal ones; negative: ValueError.
        generator: the only source of chance; None = torch's own.
    Returns: [B, T + max_new_tokens] int64: the prompt and what follows it. The model sees the last max_len tokens.
    """
    if temperature < 0:
        raise ValueError(f"temperature {temperature} is negative")
    was_training = model.training
    model.eval()
    with torch.no_grad():
        for _ in range(max_new_tokens):
            logits = model(ids[:, -model.max_len :])[:, -1]  # (B, V)
            ids = torch.cat([ids, _next_tokens(logits, temperature, generator)], dim=1)
    model.train(was_training)
    return ids


def reverse_batch(
    batch_size: int, length: int, n_symbols: int, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """A toy task: random symbols, a separator, the same symbols in reverse. Vocabulary: n_symbols + 1.

    Returns: (ids, answer_mask), [batch_size, 2·length + 1]: the separator is the id n_symbols; True on the answer.
    """
    symbols = torch.randint(n_symbols, (batch_size, length), generator=generator)
    separator = torch.full((batch_size, 1), n_symbols)
    ids = torch.cat([symbols, separator, symbols.flip(1)], dim=1)
    return ids, (torch.arange(2 * length + 1) > length).expand(batch_size, -1)


def _next_tokens(logits: Tensor, temperature: float, generator: torch.Generator | None) -> Tensor:
    """One token for each row of logits [B, V], as [B, 1]."""
    if temperature == 0:
        return logits.argmax(dim=-1, keepdim=True)
    return torch.multinomial((logits / temperature).softmax(dim=-1), 1, generator=generator)
