"""Rows are turned until they begin with their first token: then a causal mask alone hides the padding behind them."""

import torch
import torch.nn.functional as F  # noqa: N812 — its usual name
from torch import nn
from torch.nn.utils.rnn import pad_sequence


def encode_left(seqs, pad_id, max_len=None):
    if max_len is not None and max_len <= 0:
        raise ValueError("max_len")
    rows = [torch.tensor(seq[-(max_len or len(seq)) :], dtype=torch.long) for seq in seqs]
    if any(row.numel() == 0 for row in rows):
        raise ValueError("empty sequence")
    if not rows:
        return torch.zeros(0, 0, dtype=torch.long), torch.zeros(0, 0, dtype=torch.bool)
    ids = pad_sequence(rows, batch_first=True, padding_value=pad_id, padding_side="left")
    real = [torch.ones_like(row, dtype=torch.bool) for row in rows]
    return ids, pad_sequence(real, batch_first=True, padding_value=False, padding_side="left")


class RewardModel(nn.Module):
    def __init__(self, vocab, max_len, dim=32, heads=2, layers=2, dropout=0.0):
        super().__init__()
        self.heads, self.max_len = heads, max_len
        self.embed, self.positions = nn.Embedding(vocab, dim), nn.Embedding(max_len, dim)
        options = {"activation": "gelu", "batch_first": True, "norm_first": True}
        blocks = [nn.TransformerEncoderLayer(dim, heads, 4 * dim, dropout, **options) for _ in range(layers)]
        self.blocks, self.norm, self.head = nn.ModuleList(blocks), nn.LayerNorm(dim), nn.Linear(dim, 1)
        for weight in self.parameters():
            if weight.dim() > 1:
                nn.init.normal_(weight, std=0.1)

    def forward(self, ids, mask):
        lengths = mask.sum(1)
        longest = int(lengths.max())
        if longest > self.max_len or not bool(mask[:, -1].all()):
            raise ValueError("not a left-padded batch of short enough rows")
        # Row b begins at column T − length; what comes after its end wraps round, and no token before it looks there.
        columns = torch.arange(longest, device=ids.device) - lengths.unsqueeze(1)
        turned = ids.take_along_dim(columns % ids.shape[1], dim=1).masked_fill(columns >= 0, 0)
        x = self.embed(turned) + self.positions.weight[:longest]
        future = torch.ones(longest, longest, dtype=torch.bool, device=ids.device).triu(1)
        for block in self.blocks:
            x = block(x, src_mask=future, is_causal=True)
        last = x[torch.arange(len(ids)), lengths - 1]
        return self.head(self.norm(last))[:, 0]


def checked(*vectors):
    if any(v.ndim != 1 or v.shape != vectors[0].shape or v.numel() == 0 for v in vectors):
        raise ValueError("not one shape [N]")


def bt_loss(r_pos, r_neg, margin=None, center=0.0, label_smoothing=0.0):
    margin = torch.zeros_like(r_pos) if margin is None else margin
    checked(r_pos, r_neg, margin)
    if label_smoothing < 0 or label_smoothing >= 0.5:
        raise ValueError("label_smoothing")
    z = r_pos - r_neg - margin
    # −log σ(−z) = −log σ(z) + z
    nll = F.softplus(-z) + label_smoothing * z
    return torch.mean(nll) + center * torch.mean(torch.square(r_pos + r_neg))


def pairwise_accuracy(r_pos, r_neg):
    checked(r_pos, r_neg)
    return torch.gt(r_pos, r_neg).sum().item() / len(r_pos)


def train_rm(model, batches, lr, pad_id, max_len=None, center=0.0):
    mode, history = model.training, []
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr)
    for batch in batches:
        seqs = [pair[0] for pair in batch] + [pair[1] for pair in batch]
        scores = model(*encode_left(seqs, pad_id, max_len))
        halves = scores[: len(batch)], scores[len(batch) :]
        loss = bt_loss(*halves, center=center)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        history += [{"loss": float(loss.detach()), "accuracy": pairwise_accuracy(*halves)}]
    model.train(mode)
    return history


def calibrate(model, seqs, pad_id, max_len=None, batch_size=64):
    if len(seqs) == 0:
        raise ValueError("no sequences")
    mode = model.training
    model.eval()
    try:
        with torch.inference_mode():
            parts = [
                model(*encode_left(seqs[i : i + batch_size], pad_id, max_len)) for i in range(0, len(seqs), batch_size)
            ]
            mean = torch.cat(parts).mean().item()
    finally:
        model.train(mode)
    model.head.bias.data.sub_(mean)
    return mean
