"""A transformer as it is built today, its sampler and its training loop. PROMPT.md pins the details.

The constructors and sample_batch are given done.
Sizes: B batch, T positions, D model width, H heads of dh channels, V vocabulary.
"""

import torch
from torch import Tensor, nn


def rope(x: Tensor, base: float = 10000.0) -> Tensor:
    """Rotate the channel pairs (2i, 2i + 1) at position p by the angle p·base^(−2i/dh) (Su et al. 2021, interleaved).

    Args: x: [B, H, T, dh], positions 0 to T − 1; dh odd: ValueError. base: more than 0.
    Returns: [B, H, T, dh], of x's dtype. x is not modified.
    """
    raise NotImplementedError("rope: compute the angles [T, dh/2] first")


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
        raise NotImplementedError("block: add attention of norm1(x), after its dropout, to x first")


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
        raise NotImplementedError("block: embed the ids and apply dropout first")


def temperature(logits: Tensor, t: float) -> Tensor:
    """logits / t; t ≤ 0: ValueError. Returns a new tensor of the logits' shape and dtype."""
    raise NotImplementedError("top_k: refuse what is not positive, then divide")


def top_k_filter(logits: Tensor, k: int) -> Tensor:
    """Keep every logit that is not below the k-th largest of its row; −inf for the others.

    Args: logits: [B, V], −inf allowed; not modified. k: 1 or more, else ValueError; V or more keeps all.
    Returns: a new tensor, [B, V]. Logits equal to the k-th largest are all kept.
    """
    raise NotImplementedError("top_k: find the k-th largest logit of each row first")


def top_p_filter(logits: Tensor, p: float) -> Tensor:
    """Keep the smallest set of most likely tokens whose mass is p or more; −inf for the others (Holtzman et al. 2020).

    Args: logits: [B, V], −inf allowed; not modified. p: 1 or more keeps all, 0 or less the first alone.
    Returns: a new tensor, [B, V]. A token is kept if the mass of those before it, in descending order, is below p; of
        equal logits the lower id comes first. The first is always kept.
    """
    raise NotImplementedError("top_p: sort each row in descending order first")


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
    raise NotImplementedError("sample: handle t = 0 first, then apply the filters in order")


def lr_at(step: int, steps: int, lr: float, warmup: int, final: float = 0.1) -> float:
    """The learning rate of a step: a linear rise over `warmup` steps to lr, then half a cosine down to final·lr.

    Args: step: 0 to steps − 1. warmup: 0 or more; step warmup − 1 is the first at lr. final: what is left of lr at the
        last step, and after it.
    """
    raise NotImplementedError("train: write the rise, then the cosine")


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
    raise NotImplementedError("train: draw a batch and compute its loss first")


def param_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Two groups for AdamW: what decays, and what does not.

    Args: model: any module. weight_decay: of the first group.
    Returns: [{"params": [...], "weight_decay": weight_decay}, {"params": [...], "weight_decay": 0.0}]: first the weight
        matrices, then all that has fewer than two dimensions (norms, biases) and the weights of every nn.Embedding.
        Each parameter that requires a gradient is in one of them, once, in the order of model.parameters().
    """
    raise NotImplementedError("decay: find the embeddings' weights first")


def evaluate(model: nn.Module, data: Tensor, length: int) -> float:
    """The mean cross-entropy of the next token, in nats, over the whole windows of `length` tokens of a stream.

    Args: model: as in train; it runs in eval mode without a graph, and is in the mode it came in afterwards. data: [N]
        int64, N ≥ length. length: 2 or more; what is left at the end of the stream is not used.
    """
    raise NotImplementedError("decay: cut the stream into windows first")


def sample_batch(data: Tensor, batch_size: int, length: int, generator: torch.Generator) -> Tensor:
    """Windows of a stream [N] of tokens, at random starts: [batch_size, length]. Given."""
    starts = torch.randint(len(data) - length + 1, (batch_size,), generator=generator)
    return data[starts[:, None] + torch.arange(length)]
