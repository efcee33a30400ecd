"""Step by step: loops over time with the next value carried along, masks by torch.where, cross-entropy."""

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F  # noqa: N812 — its usual name
from tiny_gpt import TinyGPT
from torch import nn


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
        x = self.policy.hidden(ids)
        return self.policy.head(x), self.value_head(x)[..., 0]


def evaluate_actions(model, prompts, completions):
    prompt, steps = prompts.shape[1], completions.shape[1]
    logits, values = model(torch.cat((prompts, completions), 1))
    logps, entropies, states = [], [], []
    for t in range(steps):
        now = logits[:, prompt + t - 1]
        logps.append(-F.cross_entropy(now, completions[:, t], reduction="none"))
        p = F.softmax(now, dim=-1)
        entropies.append(torch.logsumexp(now, -1) - (p * now).sum(-1))
        states.append(values[:, prompt + t - 1])
    return torch.stack(logps, 1), torch.stack(entropies, 1), torch.stack(states, 1)


def check(fine, what):
    if not fine:
        raise ValueError(what)


def compute_gae(rewards, values, mask, gamma, lam, bootstrap=None):
    check(rewards.shape == values.shape and values.shape == mask.shape, "shapes")
    check(bootstrap is None or bootstrap.shape == (rewards.shape[0],), "bootstrap")
    mask = mask == 1
    check(bool((mask.cumprod(1) == mask).all()), "a hole in the mask")
    with torch.no_grad():
        following = torch.zeros_like(rewards[:, 0]) if bootstrap is None else bootstrap
        advantage = torch.zeros_like(following)
        advantages, returns = torch.zeros_like(rewards), torch.zeros_like(rewards)
        for t in range(rewards.shape[1] - 1, -1, -1):
            real = mask[:, t]
            delta = rewards[:, t] + gamma * following - values[:, t]
            advantage = torch.where(real, delta + gamma * lam * advantage, 0.0)
            following = torch.where(real, values[:, t], following)
            advantages[:, t] = advantage
            returns[:, t] = torch.where(real, advantage + values[:, t], 0.0)
    return advantages, returns


def mean_over(x, real):
    return torch.where(real, x, 0.0).sum() / max(1, int(real.sum()))


def clipped_value_loss(values, old_values, returns, mask, clip):
    check(clip is None or not clip < 0, "clip")
    real = mask == 1
    values = torch.where(real, values, 0.0)
    old_values = torch.where(real, old_values, 0.0).detach()
    returns = torch.where(real, returns, 0.0).detach()
    squared = F.mse_loss(values, returns, reduction="none")
    if clip is None:
        return mean_over(squared, real) / 2, torch.zeros((), dtype=values.dtype)
    limited = old_values + (values - old_values).clamp(-clip, clip)
    squared_limited = F.mse_loss(limited, returns, reduction="none")
    share = mean_over((squared_limited > squared).to(values.dtype), real)
    return mean_over(torch.maximum(squared, squared_limited), real) / 2, share


def ppo_loss(
    logps, old_logps, advantages, entropy, values, old_values, returns, mask,
    *, clip=0.2, value_clip=0.2, value_coef=0.5, entropy_coef=0.01,
):  # fmt: skip
    check(clip >= 0, "clip")
    real = mask == 1
    old_logps, advantages = old_logps.detach(), torch.where(real, advantages, 0.0).detach()
    ratio = torch.where(real, logps - old_logps, 0.0).exp()
    limited = torch.where(ratio < 1 - clip, 1 - clip, torch.where(ratio > 1 + clip, 1 + clip, ratio))
    costs, limited_costs = -ratio * advantages, -limited * advantages
    pieces = {"policy_loss": mean_over(torch.maximum(costs, limited_costs), real)}
    pieces["value_loss"], pieces["value_clipfrac"] = clipped_value_loss(values, old_values, returns, mask, value_clip)
    pieces["entropy"] = mean_over(torch.where(real, entropy, 0.0), real)
    pieces["clipfrac"] = mean_over((limited_costs > costs).float(), real)
    loss = pieces["policy_loss"] + value_coef * pieces["value_loss"] - entropy_coef * pieces["entropy"]
    return loss, {key: piece.detach().item() for key, piece in pieces.items()}


def train_actor_critic(model, sample, reward_fn, config):
    given = asdict(config)
    before, history = model.training, []
    optimizer = torch.optim.Adam(model.parameters(), lr=config.lr)
    for _ in range(config.updates):
        model.eval()
        prompts, completions, mask, truncated = sample(model)
        rewards = torch.where(mask, reward_fn(prompts, completions), 0.0)
        with torch.no_grad():
            logps, _, values = evaluate_actions(model, prompts, completions)
            _, everywhere = model(torch.cat((prompts, completions), 1))
            after = torch.where(truncated, everywhere[:, -1], 0.0)
            advantages, returns = compute_gae(rewards, values, mask, config.gamma, config.lam, after)
            n = mask.sum()
            mean = (advantages * mask).sum() / n
            variance = ((advantages - mean) ** 2 * mask).sum() / n
            advantages = (advantages - mean) * mask / (variance + 1e-8) ** 0.5
        for _ in range(config.epochs):
            new_logps, entropy, new_values = evaluate_actions(model, prompts, completions)
            loss, stats = ppo_loss(
                new_logps, logps, advantages, entropy, new_values, values, returns, mask,
                **{key: given[key] for key in ("clip", "value_clip", "value_coef", "entropy_coef")},
            )  # fmt: skip
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
            optimizer.step()
        history.append({"reward": rewards.sum(1).mean().item(), **stats})
    model.train(before)
    return history


def gae_episodes(rewards, values, terminated, truncated, final_values, gamma, lam):
    steps = rewards.shape[0]
    check(values.shape == (steps + 1, *rewards.shape[1:]), "values")
    check(all(x.shape == rewards.shape for x in (terminated, truncated, final_values)), "shapes")
    rewards, values, final_values = rewards.detach(), values.detach(), final_values.detach()
    advantages, carried = [], torch.zeros_like(rewards[0])
    for t in range(steps - 1, -1, -1):
        after = torch.where(truncated[t], final_values[t], values[t + 1])
        after = torch.where(terminated[t], 0.0, after)
        delta = rewards[t] + gamma * after - values[t]
        carried = delta + torch.where(terminated[t] | truncated[t], 0.0, gamma * lam * carried)
        advantages.insert(0, carried)
    advantages = torch.stack(advantages)
    return advantages, advantages + values[:steps]


def explained_variance(values, returns, mask):
    pairs = [(r, v) for r, v, m in zip(*(x.flatten().tolist() for x in (returns, values, mask)), strict=True) if m]
    if len({r for r, _ in pairs}) < 2:
        return float("nan")
    level = sum(r for r, _ in pairs) / len(pairs)
    error = sum(r - v for r, v in pairs) / len(pairs)
    return 1 - sum((r - v - error) ** 2 for r, v in pairs) / sum((r - level) ** 2 for r, _ in pairs)
