"""REINFORCE on a toy sequence task. PROMPT.md pins the details.

Sizes: B prompts, G completions of each, N = B·G rows; P tokens of prompt, T of completion, V of vocabulary.
TrainConfig, TrainState, make_state and sample_prompts are given done.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 — its usual name
from tiny_gpt import TinyGPT
from torch import nn

BOS, EOS, PAD, FIRST_LETTER = 0, 1, 2, 3


@dataclass(frozen=True)
class TrainConfig:
    """Everything that a run depends on besides its seed (given)."""

    letters: int = 3
    target_len: int = 2
    prompts: int = 8
    group_size: int = 8
    max_new_tokens: int = 3
    temperature: float = 1.0
    entropy_coef: float = 0.01
    lr: float = 0.006
    last_lr_factor: float = 0.1
    total_steps: int = 60
    max_grad_norm: float = 1.0
    dropout: float = 0.0


@dataclass
class TrainState:
    """What training changes (given)."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler
    generator: torch.Generator
    step: int = 0


def make_state(cfg: TrainConfig, seed: int) -> TrainState:
    """A fresh run: TinyGPT, Adam, a linearly falling rate, and a generator (given). Seeds torch's global generator."""
    torch.manual_seed(seed)
    model = TinyGPT(FIRST_LETTER + cfg.letters, 1 + cfg.target_len + cfg.max_new_tokens, dropout=cfg.dropout)
    optimizer = torch.optim.Adam(model.parameters(), lr=cfg.lr)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, cfg.last_lr_factor, cfg.total_steps)
    return TrainState(model, optimizer, scheduler, torch.Generator().manual_seed(seed))


def sample_prompts(cfg: TrainConfig, generator: torch.Generator) -> torch.Tensor:
    """Prompts of BOS and random letters (given). -> (cfg.prompts, 1 + cfg.target_len) int64"""
    shape, stop = (cfg.prompts, cfg.target_len), FIRST_LETTER + cfg.letters
    return F.pad(torch.randint(FIRST_LETTER, stop, shape, generator=generator), (1, 0), value=BOS)


def substring_reward(completion: list[int], target: list[int], eos_id: int | None) -> float:
    """Length of the longest common contiguous substring, as a fraction of the target's length. -> float in [0, 1]

    The completion ends before its first eos_id, if that is not None; the target is taken whole.
    Raises ValueError for an empty target.
    """
    raise NotImplementedError("reward: cut at EOS, then the longest run that ends at each pair of places")


def sample_rollouts(
    model: nn.Module,
    prompts: torch.Tensor,
    group_size: int,
    max_new_tokens: int,
    *,
    temperature: float,
    eos_id: int | None,
    pad_id: int,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sample `group_size` completions of each prompt, prompt-major. -> ids (B·G, P+T) int64, mask (B·G, T) bool

    prompts (B, P) int64; T = max_new_tokens. Tokens come from softmax(logits / temperature), at temperature 0 from the
    argmax. The mask is True up to and including a row's first generated eos_id (None: never ends); then come pads.
    The model runs in eval mode, without a graph, one call a token, and keeps its mode. Only `generator` is drawn from.
    """
    raise NotImplementedError("rollouts: repeat each prompt G times, then draw one token a row and a step")


def group_advantages(rewards: torch.Tensor, group_size: int, normalize: bool = False) -> torch.Tensor:
    """Rewards less the mean of their group, detached. -> (B·G,), the dtype of `rewards`

    rewards (B·G,) float, prompt-major. normalize: divide by the group's sample standard deviation + 1e-4; a group of
    one gives 0. Raises ValueError for a group_size below 1 or one that does not divide the number of rewards.
    """
    raise NotImplementedError("advantages: reshape to (B, G), and mind which axis is the group")


def reinforce_loss(
    logits: torch.Tensor,
    ids: torch.Tensor,
    mask: torch.Tensor,
    advantages: torch.Tensor,
    prompt_len: int,
    *,
    entropy_coef: float = 0.0,
    temperature: float = 1.0,
) -> tuple[torch.Tensor, dict[str, float]]:
    """The policy-gradient loss less an entropy bonus, both meaned over all M masked-in tokens. -> loss (), stats

    logits (N, P+T, V) float, not yet divided by the temperature; ids (N, P+T) int64; mask (N, T) bool; advantages (N,)
    of the dtype of `logits`, a constant. loss = −Σ A·log π(token)/M − entropy_coef·Σ H/M; it is 0 if M = 0.
    What stands where no token is counted (NaN, inf, −100) reaches neither value nor gradient; a logit of −inf is a
    banned token. stats: "policy_loss" and "entropy" (floats), "tokens" (M). Source: Williams 1992.
    """
    raise NotImplementedError("loss: pick the logits that predict completion tokens, and divide by the temperature")


def train(
    state: TrainState,
    cfg: TrainConfig,
    steps: int,
    reward_fn: Callable[[list[int], list[int], int], float] = substring_reward,
) -> list[dict[str, float]]:
    """Train `state.model` in place for so many more steps. -> one dict a step: "reward", "loss", "entropy" (floats)

    A step: prompts and rollouts from `state.generator`; reward_fn(completion, target, EOS) for each row in order;
    group advantages; one forward pass in train mode; the loss; clipped gradients; optimizer and scheduler; state.step.
    """
    raise NotImplementedError("train: prompts, rollouts and rewards of one step first")


def save_checkpoint(path: str, state: TrainState) -> None:
    """Write all that the next step depends on, torch's global generator included, to one file.

    torch.load(path, weights_only=True) reads it. The state stays as it is.
    """
    raise NotImplementedError("checkpoint: list all that the next training step reads")


def load_checkpoint(path: str, state: TrainState) -> None:
    """Put back what save_checkpoint wrote, into a state of the same config, and torch's global generator.

    Training then goes on bit by bit as it would have without the interruption.
    """
    raise NotImplementedError("checkpoint: put back everything that was saved, in place")
