"""A small causal language model, to be trained as a policy."""

import torch
from torch import nn


class TinyGPT(nn.Module):
    """Learned positions, pre-norm transformer blocks, logits over the vocabulary.

    `forward` is `head(hidden(ids))`. It is causal: what stands after a position, padding too, does not change its
    output. Weights are drawn from torch's global generator. Where `dropout` is above 0, only `eval()` is repeatable.
    """

    def __init__(
        self, vocab: int, length: int, *, dim: int = 32, layers: int = 1, heads: int = 2, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocab, dim)
        self.positions = nn.Embedding(length, dim)
        block = nn.TransformerEncoderLayer(
            dim, heads, 4 * dim, dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(block, layers, nn.LayerNorm(dim), enable_nested_tensor=False)
        self.head = nn.Linear(dim, vocab, bias=False)
        for weight in self.parameters():
            if weight.dim() > 1:
                nn.init.normal_(weight, std=0.05)

    def hidden(self, ids: torch.Tensor) -> torch.Tensor:
        """Ids [B, L] int64, L ≤ length → the states under the head, [B, L, dim]."""
        length = ids.shape[1]
        x = self.embed(ids) + self.positions.weight[:length]
        mask = nn.Transformer.generate_square_subsequent_mask(length, device=ids.device, dtype=x.dtype)
        return self.blocks(x, mask, is_causal=True)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Ids [B, L] int64, L ≤ length → logits [B, L, vocab]: those at position t are for the token at t + 1."""
        return self.head(self.hidden(ids))
