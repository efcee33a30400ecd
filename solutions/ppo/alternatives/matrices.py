"""In whole arrays: gather minus logsumexp, a triangular matrix for the returns, one flat loop over planned slices."""

import math
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class PPOConfig:
    updates: int
    epochs: int = 2
    minibatch: int = 32
    clip: float = 0.2
    temperature: float = 1.0
    target_kl: float | None = None


class FixedKL:
    def __init__(self, value):
        self.value = value

    def update(self, kl, n):
        pass


def token_logprobs(logits, ids, temperature=1.0):
    if not temperature > 0:
        raise ValueError(temperature)
    scaled = logits.narrow(1, 0, logits.shape[1] - 1) / temperature
    chosen = torch.take_along_dim(scaled, ids[:, 1:, None], dim=2)[..., 0]
    return chosen - scaled.logsumexp(dim=2)


def clean(x, mask):
    return torch.where(mask, x.detach(), torch.zeros((), dtype=x.dtype))


def shaped_rewards(scores, logp, ref_logp, mask, kl_coef):
    steps = torch.arange(1, mask.shape[1] + 1)
    last = (mask * steps).max(dim=1, keepdim=True).values  # 0 for an empty row
    ends = (steps == last) & mask
    return clean(scores[:, None].expand_as(logp), ends) - kl_coef * clean(logp - ref_logp, mask)


def returns_to_go(rewards, mask):
    width = mask.shape[1]
    later = torch.ones(width, width, dtype=rewards.dtype).tril()  # (from, to)
    return clean(clean(rewards, mask) @ later, mask)


def masked_whiten(x, mask, shift_mean=True):
    n, weight = int(mask.sum()), mask.to(x.dtype)
    x = clean(x, mask)
    mean = x.sum() / max(n, 1)
    away = (x - mean) * weight
    scale = 1 / math.sqrt(float((away * away).sum()) / max(n - 1, 1) + 1e-8)
    return away * scale + (0 if shift_mean else mean) * weight


class _Pieces:
    """The two costs of each token, and what the statistics are made of."""

    def __init__(self, logp, old_logp, adv, mask, clip):
        d = (logp - clean(old_logp, mask)).masked_fill(~mask, 0.0)
        self.d = torch.clip(d, -20.0, 20.0)
        self.a = clean(adv, mask)
        self.plain = self.a * self.d.exp()
        self.clipped = self.a * torch.clip(self.d.exp(), 1 - clip, 1 + clip)


def ppo_clip_loss(logp, old_logp, adv, mask, clip=0.2):
    pieces, n = _Pieces(logp, old_logp, adv, mask, clip), max(mask.sum().item(), 1)
    loss = -torch.min(pieces.plain, pieces.clipped).sum() / n
    drift = torch.expm1(pieces.d) - pieces.d
    hits = torch.count_nonzero(pieces.clipped < pieces.plain)
    return loss, {"clipfrac": hits.item() / n, "approx_kl": drift.sum().item() / n}


def rlhf_train(policy, ref, rm, sample, optimizer, controller, cfg, generator):
    policy_mode, ref_mode = policy.training, ref.training
    policy.train(False)
    ref.train(False)
    history = []
    while len(history) < cfg.updates:
        with torch.no_grad():
            ids, mask = sample(policy)
            n, width = mask.shape
            old, anchor = (token_logprobs(m(ids), ids, cfg.temperature)[:, -width:].clone() for m in (policy, ref))
            scores = rm(ids, torch.nn.functional.pad(mask, (ids.shape[1] - width, 0), value=True))
            coefficient = controller.value
            advantages = masked_whiten(
                returns_to_go(shaped_rewards(scores, old, anchor, mask, coefficient), mask), mask
            )
        limit = math.inf if cfg.target_kl is None else 1.5 * cfg.target_kl
        clipfracs, drifts, steps, going = [], [], 0, True
        for _ in range(cfg.epochs):
            for rows in torch.randperm(n, generator=generator).split(cfg.minibatch) if going else ():
                logp = token_logprobs(policy(ids[rows]), ids[rows], cfg.temperature)[:, -width:]
                loss, stats = ppo_clip_loss(logp, old[rows], advantages[rows], mask[rows], cfg.clip)
                clipfracs.append(stats["clipfrac"])
                drifts.append(stats["approx_kl"])
                going = stats["approx_kl"] <= limit
                if not going:
                    break
                policy.zero_grad()
                loss.backward()
                optimizer.step()
                steps += 1
        kl = clean(old - anchor, mask).sum(dim=1).mean().item()
        controller.update(kl, n)
        entry = {"score": float(scores.mean()), "kl": kl, "kl_coef": coefficient, "steps": steps}
        entry["clipfrac"] = math.fsum(clipfracs) / len(clipfracs)
        entry["approx_kl"] = math.fsum(drifts) / len(drifts)
        history.append(entry)
    policy.train(policy_mode)
    ref.train(ref_mode)
    return history


class AdaptiveKLController:
    def __init__(self, init, target, horizon):
        self.value, self.target, self.horizon = init, target, horizon

    def update(self, kl, n):
        relative = kl / self.target - 1
        if abs(relative) > 0.2:
            relative = math.copysign(0.2, relative)
        self.value *= 1 + relative * n / self.horizon
