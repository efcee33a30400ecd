"""No loop over time: a matrix of discounts, products with selected tokens, distributions of torch."""

from dataclasses import dataclass
from math import nan

import torch
from tiny_gpt import TinyGPT
from torch import nn
from torch.distributions import Categorical


@dataclass(frozen=True)
class Config:
    updates: int = 25
    epochs: int = 4
    lr: float = 5e-3
    gamma: float = 1.0
    lam: float = 0.95
    clip: float = 0.2
    value_clip: float | None = 0.2
    value_coef: float = 0.5
    entropy_coef: float = 0.01
    max_grad_norm: float = 1.0


class ActorCritic(nn.Module):
    def __init__(self, vocab, length, *, dim=32, layers=1, heads=2, dropout=0.0):
        super().__init__()
        self.policy = TinyGPT(vocab, length, dim=dim, layers=layers, heads=heads, dropout=dropout)
        self.value_head = nn.Linear(dim, 1)
        nn.init.zeros_(self.value_head.weight)
        nn.init.zeros_(self.value_head.bias)

    def forward(self, ids):
        states = self.policy.hidden(ids)
        return states @ self.policy.head.weight.T, states @ self.value_head.weight[0] + self.value_head.bias


def evaluate_actions(model, prompts, completions):
    steps = completions.shape[1]
    logits, values = (x[:, -steps - 1 : -1] for x in model(torch.hstack([prompts, completions])))
    drawn = Categorical(logits=logits)
    return drawn.log_prob(completions), drawn.entropy(), values


def discounts(carries, steps):
    """D[n, t, s]: by how much the error at s counts at t; carries[n, s] is what passes from s + 1 back to s."""
    rows = []
    for t in range(steps):
        tail = torch.cat([torch.ones_like(carries[:, :1]), carries[:, t : steps - 1]], dim=1).cumprod(1)
        rows.append(torch.cat([torch.zeros_like(carries[:, :t]), tail], dim=1))
    return torch.stack(rows, dim=1)


def compute_gae(rewards, values, mask, gamma, lam, bootstrap=None):
    if not rewards.shape == values.shape == mask.shape or mask.long().diff(dim=1).gt(0).any():
        raise ValueError("rewards, values and mask do not fit")
    rows, steps = rewards.shape
    after = rewards.new_zeros(rows) if bootstrap is None else bootstrap.detach()
    if tuple(after.shape) != (rows,):
        raise ValueError("bootstrap")
    keep, lengths = mask != 0, (mask != 0).sum(1)
    rewards, values = (torch.where(keep, x.detach(), 0.0) for x in (rewards, values))
    following = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], dim=1)
    ends = lengths > 0
    following[ends, lengths[ends] - 1] = after[ends]
    deltas = torch.where(keep, rewards + gamma * following - values, 0.0)
    apart = torch.arange(steps)[None, :] - torch.arange(steps)[:, None]
    powers = torch.where(apart >= 0, (gamma * lam) ** apart.clamp(min=0).to(deltas.dtype), 0.0)
    advantages = torch.where(keep, deltas @ powers.T, 0.0)
    return advantages, torch.where(keep, advantages + values, 0.0)


def clipped_value_loss(values, old_values, returns, mask, clip):
    keep = mask > 0
    v, old, target = values[keep], old_values[keep].detach(), returns[keep].detach()
    count = max(v.numel(), 1)
    plain = (v - target).square()
    if clip is None:
        return plain.sum() / (2 * count), plain.new_zeros(())
    if clip < 0:
        raise ValueError(clip)
    other = (v.clamp(old - clip, old + clip) - target).square()
    worse = other > plain
    return torch.where(worse, other, plain).sum() / (2 * count), worse.sum().to(v.dtype) / count


def ppo_loss(
    logps, old_logps, advantages, entropy, values, old_values, returns, mask,
    *, clip=0.2, value_clip=0.2, value_coef=0.5, entropy_coef=0.01,
):  # fmt: skip
    if clip < 0:
        raise ValueError(clip)
    keep = mask > 0
    count = max(int(keep.sum()), 1)
    ratio = torch.exp(logps[keep] - old_logps[keep].detach())
    gain = advantages[keep].detach()
    surrogate, limited = gain * ratio, gain * ratio.clip(1 - clip, 1 + clip)
    policy = -torch.min(surrogate, limited).sum() / count
    value, value_share = clipped_value_loss(values, old_values, returns, mask, value_clip)
    bonus = entropy[keep].sum() / count
    stats = {
        "policy_loss": float(policy.detach()),
        "value_loss": float(value.detach()),
        "entropy": float(bonus.detach()),
        "clipfrac": float((limited < surrogate).sum()) / count,
        "value_clipfrac": float(value_share),
    }
    return policy + value_coef * value - entropy_coef * bonus, stats


def train_actor_critic(model, sample, reward_fn, config):
    mode = model.training
    optimizer = torch.optim.Adam(model.parameters(), lr=config.lr)
    names = "clip", "value_clip", "value_coef", "entropy_coef"
    settings = {name: getattr(config, name) for name in names}
    try:
        model.eval()
        return [update(model, optimizer, sample(model), reward_fn, config, settings) for _ in range(config.updates)]
    finally:
        model.train(mode)


def update(model, optimizer, rollout, reward_fn, config, settings):
    prompts, completions, mask, truncated = rollout
    rewards = torch.where(mask, reward_fn(prompts, completions), 0.0)
    with torch.no_grad():
        old_logps, _, old_values = evaluate_actions(model, prompts, completions)
        after = model(torch.hstack([prompts, completions]))[1][:, -1] * truncated
    advantages, returns = compute_gae(rewards, old_values, mask, config.gamma, config.lam, after)
    std, mean = torch.var_mean(advantages[mask], correction=0)
    advantages = (advantages - mean) / torch.sqrt(std + 1e-8)
    for _ in range(config.epochs):
        logps, entropy, values = evaluate_actions(model, prompts, completions)
        loss, stats = ppo_loss(logps, old_logps, advantages, entropy, values, old_values, returns, mask, **settings)
        model.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
        optimizer.step()
    return {"reward": float(rewards.sum() / len(rewards)), **stats}


def gae_episodes(rewards, values, terminated, truncated, final_values, gamma, lam):
    steps, envs = rewards.shape
    if any(x.shape != rewards.shape for x in (terminated, truncated, final_values)) or values.shape != (
        steps + 1,
        envs,
    ):
        raise ValueError("shapes")
    now, after = values[:-1].detach(), values[1:].detach().clone()
    after[truncated] = final_values.detach()[truncated]
    after[terminated] = 0
    deltas = rewards.detach() + gamma * after - now
    carries = gamma * lam * (~terminated & ~truncated).to(deltas.dtype)
    advantages = torch.einsum("nts,sn->tn", discounts(carries.T, steps), deltas)
    return advantages, advantages + now


def explained_variance(values, returns, mask):
    keep = mask > 0
    target, error = returns[keep].detach(), (returns[keep] - values[keep]).detach()
    if target.numel() == 0 or target.max() == target.min():
        return nan
    return 1 - float(torch.var(error, correction=0) / torch.var(target, correction=0))
