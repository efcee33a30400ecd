"""One sequence, one pair and one step at a time, as the formulas read; nothing is vectorised."""

import copy

import torch
from torch import nn
from torch.nn.functional import softplus


class TabularPolicy(nn.Module):
    def __init__(self, table, dropout=0.0):
        super().__init__()
        self.table = nn.Parameter(table.detach().clone())
        self.dropout = nn.Dropout(dropout)

    def forward(self, ids):
        return self.dropout(self.table[ids])


def sequence_logprobs(logits, ids, completion_mask, average=False):
    totals = []
    for row_logits, row_ids, row_mask in zip(logits, ids, completion_mask, strict=True):
        steps = [t for t in range(1, len(row_ids)) if row_mask[t]]
        terms = [torch.log_softmax(row_logits[t - 1], dim=0)[row_ids[t]] for t in steps]
        total = sum(terms, start=logits.new_zeros(()))
        totals.append(total / max(len(terms), 1) if average else total)
    return torch.stack(totals)


def gap(pc, pr, rc, rr):
    with torch.no_grad():
        anchor = rc - rr
    return pc - pr - anchor


def dpo_loss(pc, pr, rc, rr, beta, label_smoothing=0.0, reduction="mean"):
    losses = []
    for h in gap(pc, pr, rc, rr):
        right, wrong = softplus(-beta * h), softplus(beta * h)  # −log σ(x) = softplus(−x)
        losses.append((1 - label_smoothing) * right + label_smoothing * wrong)
    rewards = tuple(beta * (policy.detach() - frozen.detach()) for policy, frozen in ((pc, rc), (pr, rr)))
    by_name = {"none": lambda x: x, "mean": torch.mean, "sum": torch.sum}
    if reduction not in by_name:
        raise ValueError(reduction)
    return by_name[reduction](torch.stack(losses)), *rewards


def ipo_loss(avg_pc, avg_pr, avg_rc, avg_rr, beta):
    target = 0.5 / beta
    return sum((h - target) ** 2 for h in gap(avg_pc, avg_pr, avg_rc, avg_rr)) / len(avg_pc)


def kto_loss(policy_logps, ref_logps, is_desirable, kl_policy_logps, kl_ref_logps, beta, w_d=1.0, w_u=1.0):
    drift = (kl_policy_logps.detach() - kl_ref_logps.detach()).sum().item() / len(kl_ref_logps)
    z0 = max(drift, 0.0)
    total = 0.0
    for policy, frozen, desirable in zip(policy_logps, ref_logps.detach(), is_desirable.tolist(), strict=True):
        r = policy - frozen
        weight, value = (w_d, torch.sigmoid(beta * (r - z0))) if desirable else (w_u, torch.sigmoid(beta * (z0 - r)))
        total = total + weight * (1 - value)
    return total / len(policy_logps)


def safedpo_transform(pairs, unsafe_w, unsafe_l):
    kept = []
    for (winner, loser), w, u in zip(pairs, unsafe_w.tolist(), unsafe_l.tolist(), strict=True):
        if w and u:
            continue
        kept.append((loser, winner, u, w) if w else (winner, loser, w, u))
    rows = [torch.stack([winner, loser]) for winner, loser, _, _ in kept]
    flags_w, flags_l = [w for *_, w, _ in kept], [u for *_, u in kept]
    new_pairs = torch.stack(rows) if rows else pairs[:0].clone()
    return new_pairs, torch.tensor(flags_w, dtype=torch.bool), torch.tensor(flags_l, dtype=torch.bool)


def safedpo_loss(pc, pr, rc, rr, unsafe_w, unsafe_l, beta, delta):
    total = pc.sum() * 0.0
    for h, w, u in zip(gap(pc, pr, rc, rr), unsafe_w.tolist(), unsafe_l.tolist(), strict=True):
        total = total + softplus(-(beta * h - (int(u) - int(w)) * delta))
    return total / max(len(pc), 1)


def train_dpo(policy, reference, batch, beta, lr, steps, loss_type="dpo"):
    sides = ("chosen", "rejected")

    def logps(model):
        return [
            sequence_logprobs(model(batch[f"{s}_ids"]), batch[f"{s}_ids"], batch[f"{s}_mask"], loss_type == "ipo")
            for s in sides
        ]

    frozen = copy.deepcopy(reference).eval().requires_grad_(False)
    anchors = logps(frozen)
    optimizer = torch.optim.SGD(policy.parameters(), lr)
    history = []
    for _ in range(steps):
        policy.zero_grad()
        current = logps(policy)
        loss, *rewards = dpo_loss(*current, *anchors, beta)
        if loss_type == "ipo":
            loss = ipo_loss(*current, *anchors, beta)
        loss.backward()
        optimizer.step()
        won = [c > r for c, r in zip(*(side.tolist() for side in rewards), strict=True)]
        margin = (rewards[0] - rewards[1]).mean().item()
        history.append({"loss": loss.item(), "accuracy": sum(won) / len(won), "margin": margin})
    return history
