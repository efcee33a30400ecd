"""No padding ever reaches the model: rows of one length go through it together. NumPy encodes, Adam is written out."""

import numpy as np
import torch
from torch import nn


def encode_left(seqs, pad_id, max_len=None):
    if max_len is not None and max_len < 1:
        raise ValueError(f"bad max_len: {max_len}")
    lengths = [len(seq) if max_len is None else min(len(seq), max_len) for seq in seqs]
    if 0 in lengths:
        raise ValueError("there is nothing to score in an empty sequence")
    width = max(lengths) if lengths else 0
    ids = np.full((len(seqs), width), pad_id, dtype=np.int64)
    mask = np.zeros((len(seqs), width), dtype=bool)
    for row, (seq, length) in enumerate(zip(seqs, lengths, strict=True)):
        ids[row, width - length :] = seq[len(seq) - length :]
        mask[row, width - length :] = True
    return torch.from_numpy(ids), torch.from_numpy(mask)


class RewardModel(nn.Module):
    def __init__(self, vocab, max_len, dim=32, heads=2, layers=2, dropout=0.0):
        super().__init__()
        self.heads = heads
        self.max_len = max_len
        self.embed = nn.Embedding(vocab, dim)
        self.positions = nn.Embedding(max_len, dim)
        self.blocks = nn.ModuleList()
        for _ in range(layers):
            self.blocks.append(nn.TransformerEncoderLayer(dim, heads, 4 * dim, dropout, "gelu", 1e-5, True, True))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, 1)
        for weight in self.parameters():
            if weight.dim() > 1:
                nn.init.normal_(weight, std=0.1)

    def _scores(self, tokens):
        n = tokens.shape[1]
        if n > self.max_len:
            raise ValueError("too long")
        x = self.embed(tokens) + self.positions(torch.arange(n))
        causal = nn.Transformer.generate_square_subsequent_mask(n, dtype=x.dtype)
        for block in self.blocks:
            x = block(x, src_mask=causal)
        return self.head(self.norm(x[:, n - 1])).squeeze(1)

    def forward(self, ids, mask):
        if bool((~mask[:, -1]).any()):
            raise ValueError("padding at the end")
        width, lengths = ids.shape[1], mask.sum(dim=1)
        rows, scores = [], []
        for n in lengths.unique().tolist():
            rows.append((lengths == n).nonzero().squeeze(1))
            scores.append(self._scores(ids[rows[-1], width - n :]))
        return torch.cat(scores)[torch.cat(rows).argsort()]


def _vectors(*tensors):
    first = tensors[0]
    for tensor in tensors:
        if tensor.dim() != 1 or tensor.size(0) < 1 or tensor.size(0) != first.size(0):
            raise ValueError("scores must be vectors of one length")


def bt_loss(r_pos, r_neg, margin=None, center=0.0, label_smoothing=0.0):
    _vectors(r_pos, r_neg)
    logits = r_pos - r_neg
    if margin is not None:
        _vectors(r_pos, margin)
        logits = logits - margin
    if not 0.0 <= label_smoothing < 0.5:
        raise ValueError("label_smoothing lies in [0, 0.5)")
    target = torch.full_like(logits, 1.0 - label_smoothing).detach()
    loss = nn.functional.binary_cross_entropy_with_logits(logits, target)
    return loss + center * (r_pos + r_neg).pow(2).mean() if center else loss


def pairwise_accuracy(r_pos, r_neg):
    _vectors(r_pos, r_neg)
    wins = [p > n for p, n in zip(r_pos.tolist(), r_neg.tolist(), strict=True)]
    return sum(wins) / len(wins)


def train_rm(model, batches, lr, pad_id, max_len=None, center=0.0):
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    first, second = ([torch.zeros_like(weight) for weight in weights] for _ in range(2))
    before = model.training
    model.train(True)
    history = []
    for step, pairs in enumerate(batches, start=1):
        chosen, rejected = map(list, zip(*pairs, strict=True))
        r_pos, r_neg = torch.tensor_split(model(*encode_left(chosen + rejected, pad_id, max_len)), 2)
        loss = bt_loss(r_pos, r_neg, center=center)
        grads = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for weight, grad, m, v in zip(weights, grads, first, second, strict=True):
                m.mul_(0.9).add_(grad, alpha=0.1)
                v.mul_(0.999).add_(grad.square(), alpha=0.001)
                scale = (v / (1 - 0.999**step)).sqrt() + 1e-8
                weight.sub_(lr * (m / (1 - 0.9**step)) / scale)
        history.append({"loss": loss.item(), "accuracy": pairwise_accuracy(r_pos, r_neg)})
    model.train(before)
    return history


def calibrate(model, seqs, pad_id, max_len=None, batch_size=64):
    if not seqs or any(not seq for seq in seqs):
        raise ValueError("sequences are needed, and tokens in them")
    before, total = model.training, 0.0
    model.train(False)
    with torch.no_grad():
        for start in range(0, len(seqs), batch_size):
            total = total + model(*encode_left(seqs[start : start + batch_size], pad_id, max_len)).double().sum()
        mean = (total / len(seqs)).to(model.head.bias.dtype)
        model.head.bias.copy_(model.head.bias - mean)
    model.train(before)
    return float(mean)
