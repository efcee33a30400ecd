"""Few, wide tensors: a table of runs for the reward, one draw of all noise, masks by cumulative products and sums."""

from dataclasses import asdict, dataclass

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


def substring_reward(completion, target, eos_id):
    if not target:
        raise ValueError("the target has to hold something")
    found, wanted = torch.tensor(completion, dtype=torch.long), torch.tensor(target)
    if eos_id is not None:
        found = found[(found == eos_id).cumsum(0) == 0]
    equal = found.unsqueeze(1) == wanted  # (n, m)
    length = 0
    while equal.any():  # equal[i, j]: the runs of length + 1 that begin at i and j are the same
        length += 1
        equal = equal[:-1, :-1] & (found.unsqueeze(1) == wanted)[length:, length:]
    return length / len(target)


def sample_rollouts(model, prompts, group_size, max_new_tokens, *, temperature, eos_id, pad_id, generator):
    rows = prompts.unsqueeze(1).expand(-1, group_size, -1).flatten(0, 1)
    spots = torch.rand(len(rows), max_new_tokens, dtype=torch.float64, generator=generator)
    mode, ids = model.training, rows
    model.train(False)
    with torch.no_grad():
        for t in range(max_new_tokens):
            logits = model(_padded(ids, rows.shape[1], eos_id, pad_id)[0])[:, -1]
            ids = torch.cat([ids, _pick(logits, temperature, spots[:, t : t + 1])], dim=1)
    model.train(mode)
    return _padded(ids, rows.shape[1], eos_id, pad_id)


def _pick(logits, temperature, spots):
    """The token in whose share of the unit interval the spot lies: (N, V), (N, 1) -> (N, 1)"""
    if temperature == 0:
        return logits.max(dim=-1, keepdim=True).indices
    sums = (logits.double() / temperature).softmax(dim=-1).cumsum(dim=-1)
    sums = sums / sums[:, -1:]
    return (sums <= spots).sum(dim=-1, keepdim=True)


def _padded(ids, start, eos_id, pad_id):
    """Completions with pads after their first EOS, and the mask of what stands up to it."""
    ends = torch.zeros_like(ids[:, start:]) if eos_id is None else (ids[:, start:] == eos_id).long()
    mask = (ends.cumsum(dim=1) - ends) == 0
    return torch.cat([ids[:, :start], ids[:, start:].masked_fill(~mask, pad_id)], dim=1), mask


def group_advantages(rewards, group_size, normalize=False):
    if group_size < 1 or rewards.shape[0] % group_size:
        raise ValueError(f"{rewards.shape[0]} rewards in groups of {group_size}")
    centre = torch.eye(group_size, dtype=rewards.dtype) - 1 / group_size
    groups = rewards.detach().reshape(-1, group_size) @ centre
    if normalize:
        groups = groups / (groups.norm(dim=1, keepdim=True) / max(group_size - 1, 1) ** 0.5 + 1e-4)
    return groups.reshape(-1)


def reinforce_loss(logits, ids, mask, advantages, prompt_len, *, entropy_coef=0.0, temperature=1.0):
    here, there = mask.nonzero(as_tuple=True)
    logits = logits[here, there + prompt_len - 1].div(temperature)
    logps = logits - logits.logsumexp(dim=-1, keepdim=True)
    picked = F.one_hot(ids[here, there + prompt_len], logits.shape[-1]).bool()
    gains = logps.masked_fill(~picked, 0).sum(dim=-1) * advantages.detach()[here]
    surprise = -logps.masked_fill(logps.isneginf(), 0)
    count = max(mask.sum().item(), 1)
    policy_loss = -gains.sum() / count
    entropy = (logps.exp() * surprise).sum() / count
    loss = policy_loss - entropy_coef * entropy
    return loss, {"policy_loss": policy_loss.item(), "entropy": entropy.item(), "tokens": int(mask.sum())}


@dataclass(frozen=True)
class Report:
    reward: float
    loss: float
    entropy: float


def _step(state, cfg, reward_fn):
    prompts = sample_prompts(cfg, state.generator)
    sampling = {"temperature": cfg.temperature, "eos_id": EOS, "pad_id": PAD, "generator": state.generator}
    ids, mask = sample_rollouts(state.model, prompts, cfg.group_size, cfg.max_new_tokens, **sampling)
    _, targets, completions = ids.split([1, cfg.target_len, cfg.max_new_tokens], dim=1)
    pairs = zip(completions.tolist(), targets.tolist(), strict=True)
    rewards = torch.tensor([reward_fn(*pair, EOS) for pair in pairs])
    advantages = group_advantages(rewards, cfg.group_size)
    logits = state.model.train()(ids)
    loss, stats = reinforce_loss(
        logits, ids, mask, advantages, 1 + cfg.target_len, entropy_coef=cfg.entropy_coef, temperature=cfg.temperature
    )
    state.optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(state.model.parameters(), cfg.max_grad_norm)
    state.optimizer.step()
    state.scheduler.step()
    state.step += 1
    return Report(float(rewards.mean()), float(loss), stats["entropy"])


def train(state, cfg, steps, reward_fn=substring_reward):
    return [asdict(_step(state, cfg, reward_fn)) for _ in range(steps)]


def _slots(state):
    """How to read and how to write each thing that the next step depends on."""
    for name in ("model", "optimizer", "scheduler"):
        part = getattr(state, name)
        yield name, part.state_dict, part.load_state_dict
    yield "own_random", state.generator.get_state, state.generator.set_state
    yield "torch_random", torch.get_rng_state, torch.set_rng_state
    yield "step", lambda: state.step, lambda step: setattr(state, "step", step)


def save_checkpoint(path, state):
    torch.save({name: read() for name, read, _ in _slots(state)}, path)


def load_checkpoint(path, state):
    saved = torch.load(path, weights_only=True)
    for name, _, write in _slots(state):
        write(saved[name])
