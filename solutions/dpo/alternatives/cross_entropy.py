"""The library's way: cross-entropy with an ignore index, binary cross-entropy, and SGD by hand with autograd.grad."""

import torch
import torch.nn.functional as F  # noqa: N812 — its usual name
from torch import nn

IGNORE = -100


class TabularPolicy(nn.Module):
    def __init__(self, table, dropout=0.0):
        super().__init__()
        self.table = nn.Parameter(table.detach().clone())
        self.dropout = nn.Dropout(dropout)

    def forward(self, ids):
        return self.dropout(self.table[ids])


def sequence_logprobs(logits, ids, completion_mask, average=False):
    mask = completion_mask.bool()[:, 1:]
    labels = torch.where(mask, ids[:, 1:], IGNORE)
    # A NaN under the mask would survive in the gradient as 0·NaN, so it is replaced before the softmax.
    clean = torch.where(mask.unsqueeze(-1), logits[:, :-1], 0.0)
    nll = F.cross_entropy(clean.flatten(0, 1), labels.flatten(), ignore_index=IGNORE, reduction="none")
    total = -nll.view(labels.shape).sum(1)
    return total / mask.sum(1).clamp_min(1) if average else total


def dpo_loss(pc, pr, rc, rr, beta, label_smoothing=0.0, reduction="mean"):
    if reduction not in {"mean", "sum", "none"}:
        raise ValueError(f"unknown reduction: {reduction}")
    chosen, rejected = beta * (pc - rc.detach()), beta * (pr - rr.detach())
    target = torch.full_like(chosen, 1 - label_smoothing).detach()
    loss = F.binary_cross_entropy_with_logits(chosen - rejected, target, reduction=reduction)
    return loss, chosen.detach(), rejected.detach()


def ipo_loss(avg_pc, avg_pr, avg_rc, avg_rr, beta):
    h = (avg_pc - avg_rc.detach()) - (avg_pr - avg_rr.detach())
    return F.mse_loss(h, torch.full_like(h, 1 / (2 * beta)))


@torch.no_grad()
def kto_baseline(kl_policy_logps, kl_ref_logps):
    return F.relu(torch.mean(kl_policy_logps - kl_ref_logps))


def kto_loss(policy_logps, ref_logps, is_desirable, kl_policy_logps, kl_ref_logps, beta, w_d=1.0, w_u=1.0):
    above = policy_logps - ref_logps.detach() - kto_baseline(kl_policy_logps, kl_ref_logps)
    good = w_d * (1 - torch.sigmoid(beta * above[is_desirable]))
    bad = w_u * (1 - torch.sigmoid(-beta * above[~is_desirable]))
    return torch.cat([good, bad]).mean()


def safedpo_transform(pairs, unsafe_w, unsafe_l):
    flags = torch.stack([unsafe_w, unsafe_l], dim=1)
    keep = ~flags.all(dim=1)
    pairs, flags = pairs[keep], flags[keep]
    order = flags.int().argsort(dim=1, stable=True)  # the safe one first, and as it was where both are safe
    flags = flags.gather(1, order)
    return pairs.take_along_dim(order.unsqueeze(-1), dim=1), flags[:, 0], flags[:, 1]


def safedpo_loss(pc, pr, rc, rr, unsafe_w, unsafe_l, beta, delta):
    logits = beta * ((pc - rc.detach()) - (pr - rr.detach())) - delta * (1.0 * unsafe_l - 1.0 * unsafe_w)
    if logits.numel() == 0:
        return logits.sum()
    return F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))


def train_dpo(policy, reference, batch, beta, lr, steps, loss_type="dpo"):
    ids = torch.stack([batch["chosen_ids"], batch["rejected_ids"]])
    masks = torch.stack([batch["chosen_mask"], batch["rejected_mask"]])

    def logps(model):
        flat = ids.flatten(0, 1)
        return sequence_logprobs(model(flat), flat, masks.flatten(0, 1), average=loss_type == "ipo").view(2, -1)

    was_training = reference.training
    reference.eval()
    with torch.inference_mode():
        frozen = logps(reference)
    frozen = frozen.clone()
    reference.train(was_training)

    weights = list(policy.parameters())
    history = []
    for _ in range(steps):
        current = logps(policy)
        loss, good, bad = dpo_loss(*current, *frozen, beta)
        loss = ipo_loss(*current, *frozen, beta) if loss_type == "ipo" else loss
        with torch.no_grad():
            for weight, grad in zip(weights, torch.autograd.grad(loss, weights), strict=True):
                weight.sub_(lr * grad)
        accuracy = good.gt(bad).float().mean()  # in float32, as is usual
        history.append({"loss": loss.item(), "accuracy": accuracy.item(), "margin": (good - bad).mean().item()})
    return history
