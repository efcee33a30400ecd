"""A reward model learned from preferences: left-padded batches, a transformer scorer, Bradley-Terry, its training.

Sizes: B rows, T positions, D model width, H heads, N pairs.
"""

import torch
import torch.nn.functional as F  # noqa: N812 — its usual name
from torch import Tensor, nn


def encode_left(seqs: list[list[int]], pad_id: int, max_len: int | None = None) -> tuple[Tensor, Tensor]:
    """Sequences of different length as one batch, padded on the left and truncated on the left.

    Args: seqs: B lists of one token id or more; not modified. pad_id: what fills up; it may occur as a real token too.
        max_len: keep at most the last max_len tokens of each; None = all.
    Returns: (ids, mask): ids [B, T] int64, mask [B, T] bool, True on real tokens; T is the longest length kept. Without
        any sequence both are [0, 0]. An empty sequence, or a max_len below 1, is a ValueError.
    """
    if max_len is not None and max_len < 1:
        raise ValueError(f"max_len must be 1 or more, not {max_len}")
    if not all(seqs):
        raise ValueError("a sequence is empty: it has no last token")
    kept = [seq if max_len is None else seq[-max_len:] for seq in seqs]
    width = max(map(len, kept), default=0)
    rows = [[pad_id] * (width - len(seq)) + list(seq) for seq in kept]
    ids = torch.tensor(rows, dtype=torch.int64).reshape(len(seqs), width)  # (B, T)
    lengths = torch.tensor([len(seq) for seq in kept], dtype=torch.int64)  # (B,)
    return ids, torch.arange(width) >= width - lengths.unsqueeze(1)


class RewardModel(nn.Module):
    """A causal transformer with a scalar head. The constructor is given."""

    def __init__(
        self, vocab: int, max_len: int, dim: int = 32, heads: int = 2, layers: int = 2, dropout: float = 0.0
    ) -> None:
        """max_len: the most real tokens a row may have."""
        super().__init__()
        self.heads = heads
        self.max_len = max_len
        self.embed = nn.Embedding(vocab, dim)
        self.positions = nn.Embedding(max_len, dim)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                dim, heads, 4 * dim, dropout, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, 1)
        for weight in self.parameters():
            if weight.dim() > 1:
                nn.init.normal_(weight, std=0.1)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Score each row at its last real token, as if the row came alone and without padding.

        Args: ids: [B, T] int64; anything where the mask is False. mask: [B, T] bool, True on real tokens, which stand
            at the right end of their row. Neither is modified. T may exceed max_len.
        Returns: [B], of the parameters' dtype. ValueError if the last column of the mask is not all True, or if a row
            has more than max_len real tokens.
        """
        if not mask[:, -1].all():
            raise ValueError("a row ends in padding: pad on the left")
        if mask.sum(dim=1).max() > self.max_len:
            raise ValueError(f"a row has more than {self.max_len} real tokens")
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)  # (B, T)
        x = self.embed(ids.masked_fill(~mask, 0)) + self.positions(positions)  # (B, T, D)
        hidden = ~_visible(mask).repeat_interleave(self.heads, dim=0)  # (B·H, T, T)
        for block in self.blocks:
            x = block(x, src_mask=hidden)
        return self.head(self.norm(x[:, -1])).squeeze(-1)


def _visible(mask: Tensor) -> Tensor:
    """Which position sees which, [B, T, T]: the real ones up to itself, and itself in any case.

    A padded position has no real one before it. A softmax over nothing would be NaN.
    """
    length = mask.shape[1]
    past = torch.ones(length, length, dtype=torch.bool, device=mask.device).tril()
    return past & mask.unsqueeze(1) | torch.eye(length, dtype=torch.bool, device=mask.device)


def bt_loss(
    r_pos: Tensor, r_neg: Tensor, margin: Tensor | None = None, center: float = 0.0, label_smoothing: float = 0.0
) -> Tensor:
    """The negative log-likelihood of the preferences under Bradley-Terry, and a pull of the scores towards 0.

    With z = r_pos − r_neg − margin and ε the label smoothing, the mean over the pairs of
    −(1 − ε)·log σ(z) − ε·log σ(−z) + center·(r_pos + r_neg)².

    Args: r_pos, r_neg: [N] float, N ≥ 1: the scores of chosen and rejected. margin: [N]; None = 0. center: 0 or more.
        label_smoothing: 0 ≤ ε < 0.5, else ValueError. Shapes that differ, or are not [N], are a ValueError.
    Returns: a tensor of no dimensions, of the scores' dtype.
    """
    _require_pairs(r_pos, r_neg, *(() if margin is None else (margin,)))
    if not 0 <= label_smoothing < 0.5:
        raise ValueError(f"label_smoothing must be in [0, 0.5), not {label_smoothing}")
    z = r_pos - r_neg if margin is None else r_pos - r_neg - margin  # (N,)
    nll = -(1 - label_smoothing) * F.logsigmoid(z) - label_smoothing * F.logsigmoid(-z)  # (N,)
    return (nll + center * (r_pos + r_neg).square()).mean()


def _require_pairs(*tensors: Tensor) -> None:
    """ValueError unless all have one and the same shape [N], N ≥ 1."""
    shapes = {tuple(tensor.shape) for tensor in tensors}
    if len(shapes) != 1 or tensors[0].dim() != 1 or not tensors[0].numel():
        raise ValueError(f"expected one shape [N], N ≥ 1, got {sorted(shapes)}")


def pairwise_accuracy(r_pos: Tensor, r_neg: Tensor) -> float:
    """The share of pairs whose chosen score is strictly larger; a tie or a NaN is a miss.

    Args: r_pos, r_neg: [N] float, N ≥ 1; other shapes are a ValueError, as for bt_loss.
    Returns: a Python float.
    """
    _require_pairs(r_pos, r_neg)
    return (r_pos > r_neg).double().mean().item()


def train_rm(
    model: nn.Module,
    batches: list[list[tuple[list[int], list[int]]]],
    lr: float,
    pad_id: int,
    max_len: int | None = None,
    center: float = 0.0,
) -> list[dict[str, float]]:
    """Train a reward model in place with Adam, one batch of pairs a step, in train mode; its mode is restored.

    Args: model: any module that maps (ids, mask) to scores [B]. batches: one list of (chosen, rejected) a step. lr:
        Adam's learning rate; its other settings are torch's defaults. pad_id, max_len: as for encode_left. center: as
        for bt_loss.
    Returns: for each step {"loss", "accuracy"}, Python floats, from before its update.
    """
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    was_training = model.training
    model.train()
    history = []
    for pairs in batches:
        chosen, rejected = zip(*pairs, strict=True)
        ids, mask = encode_left([*chosen, *rejected], pad_id, max_len)  # (2N, T)
        r_pos, r_neg = model(ids, mask).chunk(2)  # (N,), (N,)
        loss = bt_loss(r_pos, r_neg, center=center)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append({"loss": loss.item(), "accuracy": pairwise_accuracy(r_pos, r_neg)})
    model.train(was_training)
    return history


def calibrate(
    model: nn.Module, seqs: list[list[int]], pad_id: int, max_len: int | None = None, batch_size: int = 64
) -> float:
    """Shift `model.head.bias` in place so that the mean score of these sequences is 0.

    Args: model: a module as for train_rm, whose scores end in + head.bias; scored in eval mode, without a graph, at
        most batch_size rows at a time; its mode is as before afterwards. seqs: one or more, none of them empty, else
        ValueError. pad_id, max_len: as for encode_left.
    Returns: the mean score before, which was subtracted, as a Python float.
    """
    if not seqs:
        raise ValueError("the mean of no scores is not defined")
    chunks = [seqs[start : start + batch_size] for start in range(0, len(seqs), batch_size)]
    batches = [encode_left(chunk, pad_id, max_len) for chunk in chunks]
    was_training = model.training
    model.eval()
    with torch.no_grad():
        mean = torch.cat([model(ids, mask) for ids, mask in batches]).mean()
        model.head.bias -= mean
    model.train(was_training)
    return mean.item()
