"""REINFORCE on a toy sequence task: reward, group rollouts, advantages, the loss, training, and resuming it exactly."""

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
    if not target:
        raise ValueError("an empty target has nothing to be found")
    if eos_id in completion:
        completion = completion[: completion.index(eos_id)]
    longest, runs = 0, [0] * len(target)  # runs[j]: the match that ends with this token and target[j]
    for token in completion:
        runs = [before + 1 if token == wanted else 0 for before, wanted in zip([0, *runs], target, strict=False)]
        longest = max(longest, *runs)
    return longest / len(target)


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
    ids = prompts.repeat_interleave(group_size, dim=0)  # (B·G, P)
    going = torch.ones(len(ids), dtype=torch.bool, device=ids.device)  # (B·G,)
    generated = []
    was_training = model.training
    model.eval()
    with torch.no_grad():
        for _ in range(max_new_tokens):
            tokens = _draw(model(ids)[:, -1], temperature, generator)  # (B·G,)
            ids = torch.cat([ids, tokens.where(going, pad_id).unsqueeze(1)], dim=1)  # (B·G, P + t + 1)
            generated.append(going)
            if eos_id is not None:
                going = going & (tokens != eos_id)
    model.train(was_training)
    return ids, torch.stack(generated, dim=1)


def _draw(logits, temperature, generator):
    """One token a row: (N, V) -> (N,)"""
    if temperature == 0:
        return logits.argmax(dim=-1)
    probabilities = torch.softmax(logits / temperature, dim=-1)  # (N, V)
    return torch.multinomial(probabilities, 1, generator=generator).squeeze(1)


def group_advantages(rewards: torch.Tensor, group_size: int, normalize: bool = False) -> torch.Tensor:
    """Rewards less the mean of their group, detached. -> (B·G,), the dtype of `rewards`

    rewards (B·G,) float, prompt-major. normalize: divide by the group's sample standard deviation + 1e-4; a group of
    one gives 0. Raises ValueError for a group_size below 1 or one that does not divide the number of rewards.
    """
    if group_size < 1 or len(rewards) % group_size:
        raise ValueError(f"{len(rewards)} rewards are no groups of {group_size}")
    groups = rewards.detach().reshape(-1, group_size)  # (B, G)
    advantages = groups - groups.mean(dim=1, keepdim=True)
    if normalize and group_size > 1:
        advantages = advantages / (groups.std(dim=1, keepdim=True) + 1e-4)
    return advantages.flatten()


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
    scores = logits[:, prompt_len - 1 : -1][mask]  # (M, V): only what is counted, so that no NaN comes in
    logps = F.log_softmax(scores / temperature, dim=-1)  # (M, V)
    token_logps = logps.gather(-1, ids[:, prompt_len:][mask].unsqueeze(-1)).squeeze(-1)  # (M,)
    weights = advantages.detach().unsqueeze(1).expand(mask.shape)[mask]  # (M,)
    entropies = -(logps.exp() * logps.masked_fill(logps == -torch.inf, 0.0)).sum(dim=-1)  # (M,)
    tokens = len(token_logps)
    policy_loss = -(weights * token_logps).sum() / max(tokens, 1)
    entropy = entropies.sum() / max(tokens, 1)
    stats = {"policy_loss": policy_loss.item(), "entropy": entropy.item(), "tokens": tokens}
    return policy_loss - entropy_coef * entropy, stats


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
    state.model.train()
    history = []
    for _ in range(steps):
        ids, mask, rewards = _experience(state, cfg, reward_fn)
        advantages = group_advantages(rewards, cfg.group_size)  # (N,)
        settings = {"entropy_coef": cfg.entropy_coef, "temperature": cfg.temperature}
        loss, stats = reinforce_loss(state.model(ids), ids, mask, advantages, 1 + cfg.target_len, **settings)
        _update(state, cfg, loss)
        history.append({"reward": rewards.mean().item(), "loss": loss.item(), "entropy": stats["entropy"]})
    return history


def _experience(state, cfg, reward_fn):
    """Rollouts and their rewards: ids (N, P+T), mask (N, T), rewards (N,)"""
    prompts = sample_prompts(cfg, state.generator)  # (B, P)
    settings = {"temperature": cfg.temperature, "eos_id": EOS, "pad_id": PAD, "generator": state.generator}
    ids, mask = sample_rollouts(state.model, prompts, cfg.group_size, cfg.max_new_tokens, **settings)
    start = prompts.shape[1]
    rewards = [reward_fn(row[start:], row[1:start], EOS) for row in ids.tolist()]
    return ids, mask, torch.tensor(rewards)


def _update(state, cfg, loss):
    """One step of optimizer and scheduler."""
    state.optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(state.model.parameters(), cfg.max_grad_norm)
    state.optimizer.step()
    state.scheduler.step()
    state.step += 1


def save_checkpoint(path: str, state: TrainState) -> None:
    """Write all that the next step depends on, torch's global generator included, to one file.

    torch.load(path, weights_only=True) reads it. The state stays as it is.
    """
    saved = {name: getattr(state, name).state_dict() for name in ("model", "optimizer", "scheduler")}
    generators = {"generator": state.generator.get_state(), "global_generator": torch.get_rng_state()}
    torch.save(saved | generators | {"step": state.step}, path)


def load_checkpoint(path: str, state: TrainState) -> None:
    """Put back what save_checkpoint wrote, into a state of the same config, and torch's global generator.

    Training then goes on bit by bit as it would have without the interruption.
    """
    saved = torch.load(path, weights_only=True)
    for name in ("model", "optimizer", "scheduler"):
        getattr(state, name).load_state_dict(saved[name])
    state.generator.set_state(saved["generator"])
    torch.set_rng_state(saved["global_generator"])
    state.step = saved["step"]
