"""A reward model learned from preferences. PROMPT.md pins the details; the constructor of RewardModel is given.

Sizes: B rows, T positions, D model width, H heads, N pairs.
"""

import torch  # noqa: F401 — for the bodies to come
from torch import Tensor, nn


def encode_left(seqs: list[list[int]], pad_id: int, max_len: int | None = None) -> tuple[Tensor, Tensor]:
    """Sequences of different length as one batch, padded on the left and truncated on the left.

    Args: seqs: B lists of one token id or more; not modified. pad_id: what fills up; it may occur as a real token too.
        max_len: keep at most the last max_len tokens of each; None = all.
    Returns: (ids, mask): ids [B, T] int64, mask [B, T] bool, True on real tokens; T is the longest length kept. Without
        any sequence both are [0, 0]. An empty sequence, or a max_len below 1, is a ValueError.
    """
    raise NotImplementedError("encode: cut each sequence to its last max_len tokens first")


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
        raise NotImplementedError("model: refuse what cannot be scored, then the positions of the real tokens")


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
    raise NotImplementedError("loss: refuse other shapes, then a stable −log σ of the difference")


def pairwise_accuracy(r_pos: Tensor, r_neg: Tensor) -> float:
    """The share of pairs whose chosen score is strictly larger; a tie or a NaN is a miss.

    Args: r_pos, r_neg: [N] float, N ≥ 1; other shapes are a ValueError, as for bt_loss.
    Returns: a Python float.
    """
    raise NotImplementedError("accuracy: refuse other shapes, then count strict wins")


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
    raise NotImplementedError("train: one step, from the pairs to one encoded batch of 2N rows")


def calibrate(
    model: nn.Module, seqs: list[list[int]], pad_id: int, max_len: int | None = None, batch_size: int = 64
) -> float:
    """Shift `model.head.bias` in place so that the mean score of these sequences is 0.

    Args: model: a module as for train_rm, whose scores end in + head.bias; scored in eval mode, without a graph, at
        most batch_size rows at a time; its mode is as before afterwards. seqs: one or more, none of them empty, else
        ValueError. pad_id, max_len: as for encode_left.
    Returns: the mean score before, which was subtracted, as a Python float.
    """
    raise NotImplementedError("calibrate: the scores of all sequences in eval mode, without a graph")
