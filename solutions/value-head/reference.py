"""PPO with a value head: an actor-critic, GAE, the clipped value loss, the whole loss and its training loop.

PROMPT.md pins the details. Sizes: N rows (rollouts), P prompt tokens, T completion tokens, V tokens of vocabulary.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from tiny_gpt import TinyGPT
from torch import nn

Rollout = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]
"""prompts [N, P] int64, completions [N, T] int64, mask [N, T] bool, truncated [N] bool."""


@dataclass(frozen=True)
class Config:
    """The settings of train_actor_critic (given)."""

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
    """A policy and a critic on one trunk (constructor given). The value head begins at zero, and so does the critic."""

    def __init__(
        self, vocab: int, length: int, *, dim: int = 32, layers: int = 1, heads: int = 2, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.policy = TinyGPT(vocab, length, dim=dim, layers=layers, heads=heads, dropout=dropout)
        self.value_head = nn.Linear(dim, 1)
        nn.init.zeros_(self.value_head.weight)
        nn.init.zeros_(self.value_head.bias)

    def forward(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits and values of every position, from one pass of the trunk.

        Args: ids: [N, L] int64, L up to the model's length.
        Returns: (logits [N, L, V], values [N, L]), both differentiable.
        """
        hidden = self.policy.hidden(ids)  # (N, L, dim)
        return self.policy.head(hidden), self.value_head(hidden).squeeze(-1)


def evaluate_actions(
    model: ActorCritic, prompts: torch.Tensor, completions: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What the model says of each completion token, in the state in which it was chosen: before it.

    Args: prompts: [N, P] int64, P ≥ 1. completions: [N, T] int64, T ≥ 1.
    Returns: (logps, entropy, values), [N, T] each and differentiable: the token's log-probability, the entropy of the
        distribution it was drawn from, over the whole vocabulary, and the value of that state.
    """
    logits, values = model(torch.cat([prompts, completions], dim=1))  # (N, P+T, V), (N, P+T)
    acting = slice(prompts.shape[1] - 1, -1)  # the output at position i is for the token at i + 1
    logp = logits[:, acting].log_softmax(-1)  # (N, T, V)
    entropy = -(logp.exp() * logp).sum(-1)  # (N, T)
    return logp.gather(-1, completions.unsqueeze(-1)).squeeze(-1), entropy, values[:, acting]


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _sum_back(deltas: torch.Tensor, decay: torch.Tensor) -> torch.Tensor:
    """A[t] = deltas[t] + decay[t]·A[t + 1], from the end. deltas, decay: [T, N]. -> [T, N]"""
    sums, running = torch.empty_like(deltas), torch.zeros_like(deltas[0])
    for t in reversed(range(len(deltas))):
        running = torch.addcmul(deltas[t], decay[t], running)
        sums[t] = running
    return sums


def _following(values: torch.Tensor, keep: torch.Tensor, bootstrap: torch.Tensor | None) -> torch.Tensor:
    """The value of the state after each unmasked token. values, keep: [N, T]; bootstrap: [N]. -> [N, T]"""
    after = values.new_zeros(len(values), 1) if bootstrap is None else bootstrap.detach()[:, None]  # (N, 1)
    last = keep & ~torch.cat([keep[:, 1:], torch.zeros_like(keep[:, :1])], dim=1)  # (N, T)
    return torch.where(last, after, values.roll(-1, dims=1))


def compute_gae(
    rewards: torch.Tensor,
    values: torch.Tensor,
    mask: torch.Tensor,
    gamma: float,
    lam: float,
    bootstrap: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Generalised advantage estimation over completions of different length.

    Args: rewards, values: [N, T] float, of one dtype. mask: [N, T] bool or integer, in each row ones, then zeros.
        gamma, lam: between 0 and 1. bootstrap: [N], the value of the state after each row's last token; None: zeros.
    Returns: (advantages, returns), [N, T] each, of the dtype of rewards, without a graph, 0 where the mask is 0.
        ValueError for shapes that do not fit and for a mask with a one after a zero.
    """
    rewards, values, keep = rewards.detach(), values.detach(), mask.bool()
    _require(rewards.shape == values.shape == mask.shape, "rewards, values and mask differ in shape")
    _require(bootstrap is None or bootstrap.shape == rewards.shape[:1], "bootstrap is not of shape (N,)")
    _require(not (keep[:, 1:] & ~keep[:, :-1]).any(), "the mask has a hole")
    deltas = rewards + gamma * _following(values, keep, bootstrap) - values  # (N, T)
    deltas = torch.where(keep, deltas, 0.0)
    by_time = deltas.T.contiguous()  # (T, N): a step of time is one row of memory
    advantages = _sum_back(by_time, torch.full_like(by_time, gamma * lam)).T  # zero deltas keep the padding at 0
    return advantages, torch.where(keep, advantages + values, 0.0)


def _masked_mean(x: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    return x.masked_fill(~keep, 0.0).sum() / keep.sum().clamp(min=1)


def _only(keep: torch.Tensor, *tensors: torch.Tensor) -> list[torch.Tensor]:
    """The tensors with 0 where they do not count, before anything is computed: no NaN reaches a gradient."""
    return [x.masked_fill(~keep, 0.0) for x in tensors]


def clipped_value_loss(
    values: torch.Tensor,
    old_values: torch.Tensor,
    returns: torch.Tensor,
    mask: torch.Tensor,
    clip: float | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Half the squared error of the critic, or of the critic kept within `clip` of old_values where that is larger.

    Args: values, old_values, returns: [N, T] float. mask: [N, T] bool or integer, any pattern. clip: 0 or more, else
        ValueError; None: no clipping.
    Returns: (loss, clipfrac), () each: the mean over unmasked tokens, which sends a gradient to values alone, and the
        share of them at which the clipped error is strictly larger, without a graph. Both 0 where nothing is unmasked.
    """
    _require(clip is None or clip >= 0, "clip is negative")
    keep = mask.bool()
    values, old_values, returns = _only(keep, values, old_values.detach(), returns.detach())
    error = (values - returns) ** 2  # (N, T)
    if clip is None:
        return 0.5 * _masked_mean(error, keep), values.new_zeros(())
    clipped = (torch.clamp(values, old_values - clip, old_values + clip) - returns) ** 2  # (N, T)
    loss = 0.5 * _masked_mean(torch.maximum(error, clipped), keep)
    return loss, _masked_mean((clipped > error).to(error.dtype), keep)


def ppo_loss(
    logps: torch.Tensor,
    old_logps: torch.Tensor,
    advantages: torch.Tensor,
    entropy: torch.Tensor,
    values: torch.Tensor,
    old_values: torch.Tensor,
    returns: torch.Tensor,
    mask: torch.Tensor,
    *,
    clip: float = 0.2,
    value_clip: float | None = 0.2,
    value_coef: float = 0.5,
    entropy_coef: float = 0.01,
) -> tuple[torch.Tensor, dict[str, float]]:
    """The whole loss: clipped policy objective + value_coef · value loss − entropy_coef · entropy.

    Args: the eight tensors: [N, T]; mask bool or integer, any pattern. Advantages are used as they come. clip and
        value_clip: 0 or more, else ValueError; value_clip None: no clipping of the value loss.
    Returns: (loss (), stats): a gradient reaches logps, entropy and values alone; stats holds the Python floats
        "policy_loss", "value_loss", "entropy", "clipfrac" and "value_clipfrac".
    """
    _require(clip >= 0, "clip is negative")
    keep = mask.bool()
    log_ratio, advantages, entropy = _only(keep, logps - old_logps.detach(), advantages.detach(), entropy)
    ratio = log_ratio.exp()  # (N, T)
    plain, clipped = -advantages * ratio, -advantages * ratio.clamp(1 - clip, 1 + clip)  # (N, T) each
    policy_loss = _masked_mean(torch.maximum(plain, clipped), keep)
    value_loss, value_clipfrac = clipped_value_loss(values, old_values, returns, mask, value_clip)
    mean_entropy = _masked_mean(entropy, keep)
    stats = {
        "policy_loss": policy_loss,
        "value_loss": value_loss,
        "entropy": mean_entropy,
        "clipfrac": _masked_mean((clipped > plain).to(plain.dtype), keep),
        "value_clipfrac": value_clipfrac,
    }
    loss = policy_loss + value_coef * value_loss - entropy_coef * mean_entropy
    return loss, {name: stat.item() for name, stat in stats.items()}


def _whiten(advantages: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean 0 and variance 1 over the unmasked tokens, 0 elsewhere. -> [N, T]"""
    counted = advantages[mask]
    whitened = (advantages - counted.mean()) * (counted.var(correction=0) + 1e-8).rsqrt()
    return whitened.masked_fill(~mask, 0.0)


@torch.no_grad()
def _targets(model: ActorCritic, rollout: Rollout, rewards: torch.Tensor, config: Config) -> dict[str, torch.Tensor]:
    """What the epochs of one update hold fixed: by the names of ppo_loss's arguments."""
    prompts, completions, mask, truncated = rollout
    old_logps, _, old_values = evaluate_actions(model, prompts, completions)
    _, values = model(torch.cat([prompts, completions], dim=1))  # (N, P+T)
    bootstrap = values[:, -1].masked_fill(~truncated, 0.0)  # (N,): the state after the last token
    advantages, returns = compute_gae(rewards, old_values, mask, config.gamma, config.lam, bootstrap)
    fixed = {"old_logps": old_logps, "old_values": old_values, "returns": returns, "mask": mask}
    return fixed | {"advantages": _whiten(advantages, mask)}  # the returns come from those before


def _update(
    model: ActorCritic,
    optimizer: torch.optim.Optimizer,
    rollout: Rollout,
    fixed: dict[str, torch.Tensor],
    config: Config,
) -> dict[str, float]:
    """The epochs of one update. -> the stats of the last one"""
    for _ in range(config.epochs):
        logps, entropy, values = evaluate_actions(model, *rollout[:2])
        loss, stats = ppo_loss(
            logps=logps, entropy=entropy, values=values, **fixed,
            clip=config.clip, value_clip=config.value_clip,
            value_coef=config.value_coef, entropy_coef=config.entropy_coef,
        )  # fmt: skip
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
        optimizer.step()
    return stats


def train_actor_critic(
    model: ActorCritic,
    sample: Callable[[ActorCritic], Rollout],
    reward_fn: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    config: Config,
) -> list[dict[str, float]]:
    """Train policy and critic in place with PPO, a fresh batch of rollouts an update.

    Args: sample: model → (prompts [N, P], completions [N, T], mask [N, T] bool, truncated [N] bool). reward_fn:
        (prompts, completions) → rewards [N, T], of the model's dtype.
    Returns: a dict an update: "reward", the mean over rows of the summed rewards of their unmasked tokens, and the
        stats of ppo_loss in the last epoch, before its step.
    """
    was_training, history = model.training, []
    model.eval()  # dropout would make the first ratio differ from 1
    optimizer = torch.optim.Adam(model.parameters(), lr=config.lr)
    for _ in range(config.updates):
        rollout = prompts, completions, mask, _ = sample(model)
        rewards = reward_fn(prompts, completions).masked_fill(~mask, 0.0)  # (N, T)
        fixed = _targets(model, rollout, rewards, config)
        stats = _update(model, optimizer, rollout, fixed, config)
        history.append({"reward": rewards.sum(dim=1).mean().item()} | stats)
    model.train(was_training)
    return history


def gae_episodes(
    rewards: torch.Tensor,
    values: torch.Tensor,
    terminated: torch.Tensor,
    truncated: torch.Tensor,
    final_values: torch.Tensor,
    gamma: float,
    lam: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """GAE over T steps of N environments that begin a new episode by themselves whenever one ends.

    Args: rewards: [T, N]. values: [T + 1, N], of the state at each step and after the last. terminated, truncated:
        [T, N] bool, how step t ended an episode, if it did. final_values: [T, N], the value of an episode's last state,
        used where it was truncated and not terminated.
    Returns: (advantages, returns), [T, N] each, without a graph. ValueError for shapes that do not fit.
    """
    rewards, values, final_values = rewards.detach(), values.detach(), final_values.detach()
    shapes = {x.shape for x in (rewards, values[1:], terminated, truncated, final_values)}
    _require(len(shapes) == 1, "shapes do not fit [T, N], values [T + 1, N]")
    following = torch.where(truncated, final_values, values[1:]).masked_fill(terminated, 0.0)  # (T, N)
    deltas = rewards + gamma * following - values[:-1]  # (T, N)
    advantages = _sum_back(deltas, gamma * lam * (~(terminated | truncated)).to(deltas.dtype))
    return advantages, advantages + values[:-1]


def explained_variance(values: torch.Tensor, returns: torch.Tensor, mask: torch.Tensor) -> float:
    """1 − Var(returns − values) / Var(returns) over the unmasked tokens: 1 for a perfect critic, 0 for a constant one.

    Args: values, returns: [N, T] float. mask: [N, T] bool or integer, any pattern.
    Returns: a Python float; NaN where the unmasked returns are all equal, or none is unmasked.
    """
    keep = mask.bool()
    values, returns = values[keep].detach(), returns[keep].detach()  # (n,) each
    if len(returns) == 0 or (returns == returns[0]).all():
        return float("nan")
    return (1 - (returns - values).var(correction=0) / returns.var(correction=0)).item()
