"""A small learned reward model, to train a policy against."""

import torch
from torch import nn


class PairScorer(nn.Module):
    """Scores a text by its neighbours: the sum, over all pairs of adjacent tokens, of the pair's weight.

    `weights` [V, V]: entry (a, b) is what "a, then b" is worth. What is masked belongs to no pair.
    """

    def __init__(self, weights: torch.Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights.detach().clone())

    @classmethod
    def fit(
        cls, ids: torch.Tensor, mask: torch.Tensor, ratings: torch.Tensor, vocab: int, ridge: float = 1.0
    ) -> "PairScorer":
        """Learn the weights by ridge regression from texts [N, L] int64, [N, L] bool and their ratings [N]."""
        pairs = vocab * ids[:, :-1] + ids[:, 1:]
        counts = torch.zeros(len(ids), vocab * vocab, dtype=ratings.dtype)
        counts.scatter_add_(1, pairs, (mask[:, :-1] & mask[:, 1:]).to(ratings.dtype))
        gram = counts.T @ counts + ridge * torch.eye(vocab * vocab, dtype=ratings.dtype)
        return cls(torch.linalg.solve(gram, counts.T @ ratings).view(vocab, vocab))

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Ids [N, L] int64, mask [N, L] bool → scores [N]."""
        both = mask[:, :-1] & mask[:, 1:]
        return torch.where(both, self.weights[ids[:, :-1], ids[:, 1:]], 0.0).sum(dim=1)
