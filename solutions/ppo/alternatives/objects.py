"""In objects: a rollout batch that is a dataclass, a log-softmax by hand, cross-entropy, where-by-sign for the loss."""

from dataclasses import dataclass

import torch
from torch.nn import functional


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
    if temperature <= 0:
        raise ValueError("temperature must be positive")
    rows, length, vocab = logits.shape
    predictions = logits[:, : length - 1].reshape(-1, vocab) / temperature
    losses = functional.cross_entropy(predictions, ids[:, 1:].reshape(-1), reduction="none")
    return -losses.view(rows, length - 1)


def shaped_rewards(scores, logp, ref_logp, mask, kl_coef):
    rewards = (-kl_coef * (logp - ref_logp)).detach().masked_fill(~mask, 0.0)
    rows = mask.any(dim=1).nonzero().squeeze(1)
    positions = torch.arange(mask.shape[1], device=mask.device).expand_as(mask)
    last = positions.masked_fill(~mask, -1).amax(dim=1)
    rewards[rows, last[rows]] += scores.detach()[rows]
    return rewards


def returns_to_go(rewards, mask):
    returns = torch.zeros_like(rewards)
    running = rewards.new_zeros(len(rewards))
    for t in range(rewards.shape[1] - 1, -1, -1):
        running = torch.where(mask[:, t], running + rewards[:, t].detach(), running)
        returns[:, t] = torch.where(mask[:, t], running, 0.0)
    return returns.detach()


def masked_whiten(x, mask, shift_mean=True):
    result, kept = torch.zeros_like(x).detach(), x.detach()[mask]
    if not len(kept):
        return result
    variance = kept.var() if len(kept) > 1 else kept.new_zeros(())
    white = (kept - kept.mean()) / (variance + 1e-8).sqrt()
    result[mask] = white if shift_mean else white + kept.mean()
    return result


def ppo_clip_loss(logp, old_logp, adv, mask, clip=0.2):
    if not mask.any():
        return logp[mask].sum(), {"clipfrac": 0.0, "approx_kl": 0.0}
    d = (logp[mask] - old_logp[mask].detach()).clamp(min=-20, max=20)
    advantage, ratio = adv[mask].detach(), d.exp()
    bound = 1 + clip * advantage.sign()
    binds = torch.where(advantage > 0, ratio > bound, ratio < bound) & (advantage != 0)
    losses = -advantage * torch.where(binds, bound, ratio)
    with torch.no_grad():
        stats = {"clipfrac": binds.double().mean().item(), "approx_kl": (ratio - 1 - d).mean().item()}
    return losses.mean(), stats


@dataclass
class Batch:
    """One update's rollouts, and what is known of them before its epochs."""

    ids: torch.Tensor
    mask: torch.Tensor
    old_logp: torch.Tensor
    advantages: torch.Tensor

    def __len__(self):
        return len(self.ids)

    def rows(self, index):
        return Batch(self.ids[index], self.mask[index], self.old_logp[index], self.advantages[index])


class Trainer:
    def __init__(self, policy, ref, rm, sample, optimizer, cfg, generator):
        self.policy, self.ref, self.rm, self.sample = policy, ref, rm, sample
        self.optimizer, self.cfg, self.generator = optimizer, cfg, generator

    def logprobs(self, model, ids, prompt):
        return token_logprobs(model(ids), ids, self.cfg.temperature)[:, prompt - 1 :]

    @torch.no_grad()
    def rollout(self, kl_coef):
        ids, mask = self.sample(self.policy)
        prompt = ids.shape[1] - mask.shape[1]
        logp, ref_logp = self.logprobs(self.policy, ids, prompt), self.logprobs(self.ref, ids, prompt)
        seen = torch.ones(ids.shape, dtype=torch.bool, device=ids.device)
        seen[:, prompt:] = mask
        scores = self.rm(ids, seen)
        returns = returns_to_go(shaped_rewards(scores, logp, ref_logp, mask, kl_coef), mask)
        kl = (logp - ref_logp)[mask].sum().item() / len(ids)
        return Batch(ids, mask, logp, masked_whiten(returns, mask)), scores.mean().item(), kl

    def minibatches(self, batch):
        for _ in range(self.cfg.epochs):
            order = torch.randperm(len(batch), generator=self.generator)
            for start in range(0, len(batch), self.cfg.minibatch):
                yield batch.rows(order[start : start + self.cfg.minibatch])

    def improve(self, batch):
        found, steps = [], 0
        for part in self.minibatches(batch):
            logp = self.logprobs(self.policy, part.ids, part.ids.shape[1] - part.mask.shape[1])
            loss, stats = ppo_clip_loss(logp, part.old_logp, part.advantages, part.mask, self.cfg.clip)
            found.append(stats)
            if self.cfg.target_kl is not None and stats["approx_kl"] > 1.5 * self.cfg.target_kl:
                break
            self.optimizer.zero_grad(set_to_none=False)
            loss.backward()
            self.optimizer.step()
            steps += 1
        means = {key: sum(stats[key] for stats in found) / len(found) for key in found[0]}
        return {"steps": steps, **means}


def rlhf_train(policy, ref, rm, sample, optimizer, controller, cfg, generator):
    trainer, history = Trainer(policy, ref, rm, sample, optimizer, cfg, generator), []
    training = [(model, model.training) for model in (policy, ref)]
    for model, _ in training:
        model.eval()
    for _ in range(cfg.updates):
        batch, score, kl = trainer.rollout(controller.value)
        record = {"score": score, "kl": kl, "kl_coef": controller.value} | trainer.improve(batch)
        controller.update(kl, len(batch))
        history.append(record)
    for model, mode in training:
        model.train(mode)
    return history


class AdaptiveKLController:
    def __init__(self, init, target, horizon):
        self.value, self.target, self.horizon = init, target, horizon

    def update(self, kl, n):
        error = max(-0.2, min(0.2, (kl - self.target) / self.target))
        self.value += self.value * error * n / self.horizon
