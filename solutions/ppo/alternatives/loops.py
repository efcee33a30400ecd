"""In loops over rows and tokens: lists and NumPy in double precision for the data, torch for what has a gradient."""

from dataclasses import dataclass
from itertools import chain

import numpy as np
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
        raise ValueError(f"temperature is {temperature}")
    columns = []
    for t in range(ids.shape[1] - 1):
        z = logits[:, t] / temperature
        z = z - z.detach().amax(dim=1, keepdim=True)
        columns.append(z[torch.arange(len(ids)), ids[:, t + 1]] - z.exp().sum(dim=1).log())
    return torch.stack(columns, dim=1) if columns else logits[:, :0, 0]


def shaped_rewards(scores, logp, ref_logp, mask, kl_coef):
    rows = []
    for score, new, old, kept in zip(*(x.tolist() for x in (scores, logp, ref_logp, mask)), strict=True):
        row = [-kl_coef * (p - q) if m else 0.0 for p, q, m in zip(new, old, kept, strict=True)]
        if any(kept):
            row[max(t for t, m in enumerate(kept) if m)] += score
        rows.append(row)
    return torch.tensor(rows, dtype=logp.dtype)


def returns_to_go(rewards, mask):
    result = []
    for row, kept in zip(rewards.tolist(), mask.tolist(), strict=True):
        total, backwards = 0.0, []
        for reward, m in zip(reversed(row), reversed(kept), strict=True):
            total += reward if m else 0.0
            backwards.append(total if m else 0.0)
        result.append(backwards[::-1])
    return torch.tensor(result, dtype=rewards.dtype)


def masked_whiten(x, mask, shift_mean=True):
    values, kept = x.detach().double().numpy(), mask.numpy()
    result, chosen = np.zeros_like(values), values[kept]
    if len(chosen):
        variance = chosen.var(ddof=1) if len(chosen) > 1 else 0.0
        result[kept] = (chosen - chosen.mean()) / np.sqrt(variance + 1e-8) + (0.0 if shift_mean else chosen.mean())
    return torch.from_numpy(result).to(x.dtype)


def ppo_clip_loss(logp, old_logp, adv, mask, clip=0.2):
    new, old, a = logp[mask], old_logp.detach()[mask], adv.detach()[mask]
    if not len(new):
        return new.sum(), {"clipfrac": 0.0, "approx_kl": 0.0}
    d = torch.clip(new - old, -20.0, 20.0)
    rho = d.exp()
    held = torch.where(a > 0, rho.clamp(max=1 + clip), rho.clamp(min=1 - clip))
    hit, drift = a * held < a * rho, d.detach().double().numpy()
    stats = {"clipfrac": hit.double().mean().item(), "approx_kl": float(np.mean(np.expm1(drift) - drift))}
    return -(a * held).mean(), stats


def rlhf_train(policy, ref, rm, sample, optimizer, controller, cfg, generator):
    modules = list(chain(policy.modules(), ref.modules()))
    modes = [module.training for module in modules]
    policy.eval(), ref.eval()
    history = [update(policy, ref, rm, sample, optimizer, controller, cfg, generator) for _ in range(cfg.updates)]
    for module, mode in zip(modules, modes, strict=True):
        module.training = mode
    return history


def update(policy, ref, rm, sample, optimizer, controller, cfg, generator):
    def logprobs(model, ids):
        return token_logprobs(model(ids), ids, cfg.temperature)[:, prompt - 1 :]

    with torch.no_grad():
        ids, mask = sample(policy)
        n, prompt = len(ids), ids.shape[1] - mask.shape[1]
        old, anchor = logprobs(policy, ids), logprobs(ref, ids)
        scores = rm(ids, torch.hstack([torch.ones(n, prompt, dtype=torch.bool), mask]))
        entry = {"score": float(scores.mean()), "kl": 0.0, "kl_coef": controller.value, "steps": 0}
        rewards = shaped_rewards(scores, old, anchor, mask, controller.value)
        adv = masked_whiten(returns_to_go(rewards, mask), mask)
        for p, q, kept in zip(old, anchor, mask, strict=True):
            entry["kl"] += float((p[kept] - q[kept]).sum()) / n
    seen = []
    orders = (torch.randperm(n, generator=generator) for _ in range(cfg.epochs))
    for rows in chain.from_iterable(order.split(cfg.minibatch) for order in orders):
        loss, stats = ppo_clip_loss(logprobs(policy, ids[rows]), old[rows], adv[rows], mask[rows], cfg.clip)
        seen.append(stats)
        if cfg.target_kl is not None and stats["approx_kl"] > 1.5 * cfg.target_kl:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        entry["steps"] += 1
    controller.update(entry["kl"], n)
    return entry | {name: float(np.mean([stats[name] for stats in seen])) for name in seen[0]}


class AdaptiveKLController:
    def __init__(self, init, target, horizon):
        self.value, self.target, self.horizon = init, target, horizon

    def update(self, kl, n):
        self.value *= 1 + float(np.clip(kl / self.target - 1, -0.2, 0.2)) * n / self.horizon
