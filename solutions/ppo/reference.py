"""RLHF: PPO against a learned reward model, with KL-shaped rewards, and without a critic.

PROMPT.md pins the details. Sizes: N rollouts, P prompt and T completion tokens, L = P + T, V tokens of vocabulary.
"""

from dataclasses import dataclass

import torch

EPS = 1e-8
LIMIT = 20.0


@dataclass(frozen=True)
class PPOConfig:
    """The numbers of `rlhf_train` (given)."""

    updates: int
    """Rollout batches."""
    epochs: int = 2
    """How often each rollout batch is gone through."""
    minibatch: int = 32
    """Rows of an optimizer step."""
    clip: float = 0.2
    temperature: float = 1.0
    """At which the rollouts are sampled: it divides the logits of policy and reference everywhere."""
    target_kl: float | None = None
    """Ends an update's epochs early (part `stop`)."""


class FixedKL:
    """A KL coefficient that stays what it is (given); the same interface as `AdaptiveKLController`."""

    def __init__(self, value):
        self.value = value

    def update(self, kl, n):
        pass


def token_logprobs(logits, ids, temperature=1.0):
    """Log-probability of every token but the first, given those before it. -> (B, L-1), the dtype of `logits`

    logits (B, L, V) float, those at t are for the token at t + 1; ids (B, L) int64; L >= 1. A temperature that is not
    above 0 is a ValueError. Column t of the result belongs to the token at t + 1.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, not {temperature}")
    logps = (logits[:, :-1] / temperature).log_softmax(dim=-1)  # (B, L-1, V)
    return logps.gather(-1, ids[:, 1:].unsqueeze(-1)).squeeze(-1)  # (B, L-1)


def shaped_rewards(scores, logp, ref_logp, mask, kl_coef):
    """-kl_coef·(logp - ref_logp) at every token, plus the row's score at its last one. -> (N, T), without a graph

    scores (N,), logp and ref_logp (N, T) float; mask (N, T) bool, True on the completion's tokens. Masked places are 0.
    A row without tokens is 0 throughout. Source: Ziegler et al. 2019, section 2.
    """
    scores, drift = scores.detach(), (logp - ref_logp).detach()  # (N,), (N, T)
    penalty = torch.where(mask, kl_coef * drift, 0.0)  # (N, T)
    tokens_left = mask.flip(1).cumsum(1).flip(1)  # (N, T), this one included
    last = mask & (tokens_left == 1)  # (N, T), one True in each row that has tokens
    return torch.where(last, scores.unsqueeze(1), 0.0) - penalty


def returns_to_go(rewards, mask):
    """The sum of the rewards from each token on, γ = 1. -> (N, T), 0 where masked, without a graph

    rewards (N, T) float, mask (N, T) bool; masked rewards count for nothing, whatever they are.
    """
    later = torch.where(mask, rewards.detach(), 0.0).flip(1).cumsum(1).flip(1)  # (N, T)
    return torch.where(mask, later, 0.0)


def masked_whiten(x, mask, shift_mean=True):
    """(x - mean)·rsqrt(var + 1e-8), over all unmasked entries at once. -> the shape of `x`, 0 where masked, no graph

    var divides by count - 1, and is 0 for a single entry. shift_mean=False adds the mean back. Nothing unmasked: zeros.
    """
    x, count = x.detach(), mask.sum()
    mean = torch.where(mask, x, 0.0).sum() / count.clamp(min=1)
    centred = torch.where(mask, x - mean, 0.0)
    variance = centred.square().sum() / (count - 1).clamp(min=1)
    white = centred * torch.rsqrt(variance + EPS)
    return white if shift_mean else torch.where(mask, white + mean, 0.0)


def ppo_clip_loss(logp, old_logp, adv, mask, clip=0.2):
    """The clipped surrogate, to be minimised, as a mean over all tokens. -> (loss (), {"clipfrac", "approx_kl"})

    logp, old_logp, adv (N, T) float; mask (N, T) bool. With the log-ratio clamped to ±20 and ρ = exp of it, a token
    costs max(-A·ρ, -A·clip(ρ, 1 - clip, 1 + clip)). clipfrac is the share of tokens for which the second is strictly
    larger, approx_kl the mean of ρ - 1 - log ρ: Python floats. The gradient reaches logp alone. No tokens: zeros.
    Source: Schulman et al. 2017, eq. 7.
    """
    log_ratio = torch.where(mask, logp - old_logp.detach(), 0.0).clamp(-LIMIT, LIMIT)  # (N, T)
    ratio, adv = log_ratio.exp(), torch.where(mask, adv.detach(), 0.0)
    plain, clipped = -adv * ratio, -adv * ratio.clamp(1 - clip, 1 + clip)  # (N, T) each, 0 where masked
    count = max(int(mask.sum()), 1)
    stats = {
        "clipfrac": int((clipped > plain).sum()) / count,
        "approx_kl": float((log_ratio.expm1() - log_ratio).detach().sum()) / count,
    }
    return torch.maximum(plain, clipped).sum() / count, stats


def _completion_logprobs(model, ids, width, temperature):
    return token_logprobs(model(ids), ids, temperature)[:, -width:]  # (N, T)


@torch.no_grad()
def _rollout(policy, ref, rm, sample, kl_coef, temperature):
    """Everything of an update that stays fixed during its epochs. -> (ids, mask, old_logp, adv), score, kl"""
    ids, mask = sample(policy)  # (N, L), (N, T)
    width = mask.shape[1]
    logp, ref_logp = (_completion_logprobs(model, ids, width, temperature) for model in (policy, ref))
    prompt = mask.new_ones(len(ids), ids.shape[1] - width)  # (N, P)
    scores = rm(ids, torch.cat([prompt, mask], dim=1))  # (N,)
    rewards = shaped_rewards(scores, logp, ref_logp, mask, kl_coef)
    adv = masked_whiten(returns_to_go(rewards, mask), mask)
    kl = torch.where(mask, logp - ref_logp, 0.0).sum(dim=1).mean()
    return (ids, mask, logp, adv), scores.mean().item(), kl.item()


def _optimise(policy, optimizer, batch, cfg, generator):
    """The epochs over one rollout batch. -> the stats of every minibatch, the steps taken"""
    stats = []
    for _ in range(cfg.epochs):
        for rows in torch.randperm(len(batch[0]), generator=generator).split(cfg.minibatch):
            ids, mask, old_logp, adv = (part[rows] for part in batch)
            logp = _completion_logprobs(policy, ids, mask.shape[1], cfg.temperature)
            loss, found = ppo_clip_loss(logp, old_logp, adv, mask, cfg.clip)
            stats.append(found)
            if cfg.target_kl is not None and found["approx_kl"] > 1.5 * cfg.target_kl:
                return stats, len(stats) - 1
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return stats, len(stats)


def rlhf_train(policy, ref, rm, sample, optimizer, controller, cfg, generator):
    """Train `policy` in place with PPO against `rm`, kept near `ref`. -> one dict of floats for each update

    policy, ref: modules, ids (N, L) -> logits (N, L, V). rm(ids (N, L), mask (N, L) bool) -> scores (N,).
    sample(policy) -> (ids (N, L) int64, mask (N, T) bool): fresh rollouts. optimizer: over the policy's parameters.
    controller: `.value` is the KL coefficient, `.update(kl, n)` follows each update. cfg: a PPOConfig.
    generator: a torch.Generator for the order of the rows.
    """
    modes = policy.training, ref.training
    policy.eval(), ref.eval()
    history = []
    for _ in range(cfg.updates):
        kl_coef = controller.value
        batch, score, kl = _rollout(policy, ref, rm, sample, kl_coef, cfg.temperature)
        stats, steps = _optimise(policy, optimizer, batch, cfg, generator)
        controller.update(kl, len(batch[0]))
        means = {name: sum(found[name] for found in stats) / len(stats) for name in ("clipfrac", "approx_kl")}
        history.append({"score": score, "kl": kl, "kl_coef": kl_coef, "steps": steps, **means})
    policy.train(modes[0]), ref.train(modes[1])
    return history


class AdaptiveKLController:
    """A KL coefficient that is steered towards a target KL.

    value: the coefficient now, a float. Source: Ziegler et al. 2019, section 2.2.
    """

    def __init__(self, init, target, horizon):
        self.value, self.target, self.horizon = init, target, horizon

    def update(self, kl, n):
        """After n rollouts with a mean KL of `kl`: multiply by 1 + clip(kl/target - 1, ±0.2)·n/horizon."""
        error = min(max(kl / self.target - 1, -0.2), 0.2)
        self.value *= 1 + error * n / self.horizon
