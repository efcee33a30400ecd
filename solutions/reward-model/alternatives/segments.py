"""Padding is a document of its own: each token sees the earlier ones of its kind, so that none sees nothing."""

from contextlib import contextmanager
from itertools import chain

import torch
from torch import nn
from torch.nn.functional import logsigmoid


def encode_left(seqs, pad_id, max_len=None):
    if max_len is not None and not max_len > 0:
        raise ValueError("max_len is below 1")
    if min(map(len, seqs), default=1) == 0:
        raise ValueError("empty sequence")
    lengths = torch.tensor([min(len(seq), max_len or len(seq)) for seq in seqs], dtype=torch.long)
    width = int(lengths.max()) if len(seqs) else 0
    mask = torch.arange(width).flip(0) < lengths[:, None]
    ids = torch.full(mask.shape, pad_id, dtype=torch.long)
    flat = chain.from_iterable(seq[len(seq) - n :] for seq, n in zip(seqs, lengths.tolist(), strict=True))
    return ids.masked_scatter(mask, torch.tensor(list(flat), dtype=torch.long)), mask


class RewardModel(nn.Module):
    def __init__(self, vocab, max_len, dim=32, heads=2, layers=2, dropout=0.0):
        super().__init__()
        self.heads = heads
        self.max_len = max_len
        self.embed = nn.Embedding(vocab, dim)
        self.positions = nn.Embedding(max_len, dim)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(dim, heads, dim * 4, dropout, "gelu", batch_first=True, norm_first=True)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, 1)
        for weight in self.parameters():
            if weight.dim() > 1:
                nn.init.normal_(weight, std=0.1)

    def forward(self, ids, mask):
        count = mask.long().cumsum(dim=1)
        if not (mask.select(1, -1).all() and (count <= self.max_len).all()):
            raise ValueError("every row needs 1 to max_len tokens, at its right end")
        x = self.embed(torch.where(mask, ids, 0)) + self.positions(torch.relu(count - 1))
        index = torch.arange(mask.shape[1], device=mask.device)
        hidden = (index[:, None] < index) | (mask[:, :, None] != mask[:, None, :])
        per_head = torch.stack([hidden] * self.heads, dim=1).flatten(0, 1)
        for block in self.blocks:
            x = block(x, src_mask=per_head)
        return self.head(self.norm(x)[:, -1]).flatten()


def bt_loss(r_pos, r_neg, margin=None, center=0.0, label_smoothing=0.0):
    if r_pos.dim() != 1 or r_pos.numel() == 0 or r_neg.shape != r_pos.shape:
        raise ValueError("r_pos and r_neg must be [N]")
    if margin is not None and margin.shape != r_pos.shape:
        raise ValueError("margin must be [N]")
    if not (label_smoothing >= 0 and label_smoothing < 0.5):
        raise ValueError("label_smoothing")
    z = r_pos - r_neg - (0 if margin is None else margin)
    right, wrong = logsigmoid(z), logsigmoid(-z)
    return -torch.lerp(right, wrong, label_smoothing).mean() + (r_pos + r_neg).pow(2).mul(center).mean()


def pairwise_accuracy(r_pos, r_neg):
    if r_pos.dim() != 1 or r_pos.numel() == 0 or r_neg.shape != r_pos.shape:
        raise ValueError("r_pos and r_neg must be [N]")
    return torch.count_nonzero(r_pos > r_neg).item() / r_pos.numel()


@contextmanager
def in_mode(model, training):
    before = model.training
    model.train(training)
    try:
        yield
    finally:
        model.train(before)


class Trainer:
    def __init__(self, model, lr, encode, center):
        self.model, self.encode, self.center = model, encode, center
        self.optimizer = torch.optim.Adam(model.parameters(), lr=lr)

    def step(self, pairs):
        ids, mask = self.encode([*(chosen for chosen, _ in pairs), *(rejected for _, rejected in pairs)])
        r_pos, r_neg = self.model(ids, mask).view(2, -1).unbind()
        loss = bt_loss(r_pos, r_neg, center=self.center)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"loss": loss.item(), "accuracy": pairwise_accuracy(r_pos.detach(), r_neg.detach())}


def train_rm(model, batches, lr, pad_id, max_len=None, center=0.0):
    with in_mode(model, training=True):
        trainer = Trainer(model, lr, lambda seqs: encode_left(seqs, pad_id, max_len), center)
        return [trainer.step(pairs) for pairs in batches]


def calibrate(model, seqs, pad_id, max_len=None, batch_size=64):
    if not seqs:
        raise ValueError("no sequences")
    with in_mode(model, training=False), torch.no_grad():
        scores = [model(*encode_left(list(part), pad_id, max_len)) for part in batched(seqs, batch_size)]
        mean = torch.cat(scores).mean()
        model.head.bias.sub_(mean)
    return mean.item()


def batched(items, size):
    remaining = iter(items)
    while part := [item for _, item in zip(range(size), remaining, strict=False)]:
        yield part
