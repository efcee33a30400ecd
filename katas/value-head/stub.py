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
        raise NotImplementedError("model: compute the hidden states once; both heads read them")


def evaluate_actions(
    model: ActorCritic, prompts: torch.Tensor, completions: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What the model says of each completion token, in the state in which it was chosen: before it.

    Args: prompts: [N, P] int64, P ≥ 1. completions: [N, T] int64, T ≥ 1.
    Returns: (logps, entropy, values), [N, T] each and differentiable: the token's log-probability, the entropy of the
        distribution it was drawn from, over the whole vocabulary, and the value of that state.
    """
    raise NotImplementedError("model: run the model on prompt + completion, then pick the positions that act")


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
    raise NotImplementedError("gae: find the value that follows each unmasked token first")


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
    raise NotImplementedError("value: make masked entries harmless first, then the two squared errors")


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
    raise NotImplementedError("loss: start with the ratio of the unmasked tokens")


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
    raise NotImplementedError("train: write one update first, up to what its epochs hold fixed")


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
    raise NotImplementedError("episodes: find the value that follows each step first, for its three cases")


def explained_variance(values: torch.Tensor, returns: torch.Tensor, mask: torch.Tensor) -> float:
    """1 − Var(returns − values) / Var(returns) over the unmasked tokens: 1 for a perfect critic, 0 for a constant one.

    Args: values, returns: [N, T] float. mask: [N, T] bool or integer, any pattern.
    Returns: a Python float; NaN where the unmasked returns are all equal, or none is unmasked.
    """
    raise NotImplementedError("variance: select the unmasked tokens, then the two variances")
