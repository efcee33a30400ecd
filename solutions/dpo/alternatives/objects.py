"""Loss objects and one-hot selections: an object-oriented solution that never gathers or indexes by a boolean mask."""

from dataclasses import dataclass

import torch
from torch import nn


class TabularPolicy(nn.Module):
    def __init__(self, table, dropout=0.0):
        super().__init__()
        self.table = nn.Parameter(table.detach().clone())
        self.dropout = nn.Dropout(dropout)

    def forward(self, ids):
        return self.dropout(self.table[ids])


def sequence_logprobs(logits, ids, completion_mask, average=False):
    seen = completion_mask.ne(0)[:, 1:, None]
    scores = logits.narrow(1, 0, logits.shape[1] - 1).masked_fill(~seen, 0)
    scores = scores - scores.amax(dim=-1, keepdim=True).detach()
    picked = torch.arange(logits.shape[-1]) == ids[:, 1:, None]
    # A banned token's −inf must not meet a 0 of the one-hot, hence a fill instead of a product.
    token = scores.masked_fill(~picked, 0).sum(-1) - scores.exp().sum(-1).log()
    rows = token.masked_fill(~seen.squeeze(-1), 0).sum(-1)
    return rows / seen.sum((1, 2)).clamp(min=1) if average else rows


@dataclass(frozen=True)
class Pair:
    chosen: torch.Tensor
    rejected: torch.Tensor

    def __sub__(self, other):
        return Pair(self.chosen - other.chosen, self.rejected - other.rejected)

    def detach(self):
        return Pair(self.chosen.detach(), self.rejected.detach())

    def gap(self):
        return self.chosen - self.rejected


def negative_log_sigmoid(x):
    return torch.logaddexp(torch.zeros_like(x), -x)


def dpo_loss(pc, pr, rc, rr, beta, label_smoothing=0.0, reduction="mean"):
    ratios = Pair(pc, pr) - Pair(rc, rr).detach()
    margin = beta * ratios.gap()
    flipped = label_smoothing * margin  # −log σ(−x) = −log σ(x) + x
    losses = negative_log_sigmoid(margin) + flipped
    match reduction:
        case "none":
            loss = losses
        case "sum":
            loss = losses.sum()
        case "mean":
            loss = losses.sum() / losses.numel()
        case other:
            raise ValueError(other)
    fixed = ratios.detach()
    return loss, fixed.chosen.mul(beta), fixed.rejected.mul(beta)


def ipo_loss(avg_pc, avg_pr, avg_rc, avg_rr, beta):
    h = (Pair(avg_pc, avg_pr) - Pair(avg_rc, avg_rr).detach()).gap()
    return torch.mean(torch.pow(h - 1 / (2 * beta), 2))


def kto_loss(policy_logps, ref_logps, is_desirable, kl_policy_logps, kl_ref_logps, beta, w_d=1.0, w_u=1.0):
    z0 = torch.maximum((kl_policy_logps - kl_ref_logps).mean(), torch.zeros((), dtype=policy_logps.dtype)).detach()
    sign = 2.0 * is_desirable.to(policy_logps.dtype) - 1.0
    weight = torch.where(is_desirable, w_d, w_u).to(policy_logps.dtype)
    value = torch.sigmoid(sign * beta * (policy_logps - ref_logps.detach() - z0))
    return (weight - weight * value).mean()


def safedpo_transform(pairs, unsafe_w, unsafe_l):
    index = torch.arange(len(pairs))[~(unsafe_w & unsafe_l)]
    first = (unsafe_w & ~unsafe_l).long()[index]  # where the winner now stands
    flags = torch.stack([unsafe_w, unsafe_l], 1)
    new_pairs = torch.stack([pairs[index, first], pairs[index, 1 - first]], 1)
    return new_pairs, flags[index, first], flags[index, 1 - first]


def safedpo_loss(pc, pr, rc, rr, unsafe_w, unsafe_l, beta, delta):
    h = (Pair(pc, pr) - Pair(rc, rr).detach()).gap()
    cost = Pair(unsafe_w.to(h.dtype), unsafe_l.to(h.dtype)).gap()  # u_w − u_l
    losses = negative_log_sigmoid(beta * h + delta * cost)
    return losses.mean() if len(losses) else losses.sum()


class Trainer:
    def __init__(self, policy, reference, batch, beta, lr, loss_type):
        self.policy, self.batch, self.beta = policy, batch, beta
        self.averages = loss_type == "ipo"
        self.optimizer = torch.optim.SGD(policy.parameters(), lr=lr)
        for parameter in reference.parameters():
            parameter.requires_grad_(False)
        self.frozen = self.logps(reference.eval()).detach()

    def logps(self, model):
        def one(side):
            ids = self.batch[side + "_ids"]
            return sequence_logprobs(model(ids), ids, self.batch[side + "_mask"], average=self.averages)

        return Pair(one("chosen"), one("rejected"))

    def step(self):
        now = self.logps(self.policy)
        four = (now.chosen, now.rejected, self.frozen.chosen, self.frozen.rejected)
        loss = ipo_loss(*four, self.beta) if self.averages else dpo_loss(*four, self.beta)[0]
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        margins = self.beta * (now - self.frozen).detach().gap()
        wins = torch.count_nonzero(margins > 0).item()
        return {"loss": loss.item(), "accuracy": wins / len(margins), "margin": margins.mean().item()}


def train_dpo(policy, reference, batch, beta, lr, steps, loss_type="dpo"):
    trainer = Trainer(policy, reference, batch, beta, lr, loss_type)
    return [trainer.step() for _ in range(steps)]
