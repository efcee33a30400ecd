"""One row and one number at a time: every sum is written out, tokens come from the inverse of the running sum."""

import math
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


def substring_reward(completion, target, eos_id):
    if not target:
        raise ValueError("no target")
    kept = []
    for token in completion:
        if token == eos_id:
            break
        kept.append(token)
    best = 0
    for shift in range(-len(target) + 1, len(kept)):  # each diagonal of the table
        run = 0
        for i in range(max(shift, 0), min(len(kept), shift + len(target))):
            run = run + 1 if kept[i] == target[i - shift] else 0
            best = max(best, run)
    return best / len(target)


def _token(logits, temperature, generator):
    if temperature == 0:
        return int(logits.argmax())
    sums = (logits / temperature).softmax(dim=-1).double().cumsum(dim=-1)
    point = torch.rand(1, generator=generator, dtype=torch.float64) * sums[-1]
    return min(int(torch.searchsorted(sums, point, right=True)), int((sums < sums[-1]).sum()))


def sample_rollouts(model, prompts, group_size, max_new_tokens, *, temperature, eos_id, pad_id, generator):
    rows = [list(prompt) for prompt in prompts.tolist() for _ in range(group_size)]
    masks = [[] for _ in rows]
    ended = [False] * len(rows)
    was_training = model.training
    model.eval()
    for _ in range(max_new_tokens):
        with torch.no_grad():
            last = model(torch.tensor(rows))[:, -1]
        for i, logits in enumerate(last):
            masks[i].append(not ended[i])
            if ended[i]:
                rows[i].append(pad_id)
                continue
            rows[i].append(_token(logits, temperature, generator))
            ended[i] = eos_id is not None and rows[i][-1] == eos_id
    model.train(was_training)
    return torch.tensor(rows), torch.tensor(masks)


def group_advantages(rewards, group_size, normalize=False):
    if group_size < 1 or len(rewards) % group_size != 0:
        raise ValueError("rewards and groups do not fit")
    numbers, advantages = rewards.tolist(), []
    for start in range(0, len(numbers), group_size):
        group = numbers[start : start + group_size]
        mean = math.fsum(group) / group_size
        scale = 1.0
        if normalize:
            scale = math.sqrt(math.fsum((r - mean) ** 2 for r in group) / max(group_size - 1, 1)) + 1e-4
        advantages += [(r - mean) / scale for r in group]
    return torch.tensor(advantages, dtype=rewards.dtype)


def reinforce_loss(logits, ids, mask, advantages, prompt_len, *, entropy_coef=0.0, temperature=1.0):
    advantages = advantages.detach()
    gain = entropy = logits[:0].sum()  # 0, with a graph
    tokens = 0
    for i, t in mask.nonzero().tolist():
        place = prompt_len + t
        logps = (logits[i, place - 1] / temperature).log_softmax(dim=-1)
        gain = gain + advantages[i] * logps[ids[i, place]]
        possible = logps[logps > -torch.inf]
        entropy = entropy - (possible.exp() * possible).sum()
        tokens += 1
    gain, entropy = gain / max(tokens, 1), entropy / max(tokens, 1)
    stats = {"policy_loss": 0.0 - gain.item(), "entropy": entropy.item(), "tokens": tokens}
    return -gain - entropy_coef * entropy, stats


def train(state, cfg, steps, reward_fn=substring_reward):
    history = []
    for _ in range(steps):
        prompts = sample_prompts(cfg, state.generator)
        rollout = {"temperature": cfg.temperature, "eos_id": EOS, "pad_id": PAD, "generator": state.generator}
        ids, mask = sample_rollouts(state.model, prompts, cfg.group_size, cfg.max_new_tokens, **rollout)
        rewards = []
        for row in ids.tolist():
            letters = row[1 : 1 + cfg.target_len]
            rewards.append(float(reward_fn(row[1 + cfg.target_len :], letters, EOS)))
        advantages = group_advantages(torch.tensor(rewards), cfg.group_size)
        state.model.train()
        settings = {"entropy_coef": cfg.entropy_coef, "temperature": cfg.temperature}
        loss, stats = reinforce_loss(state.model(ids), ids, mask, advantages, 1 + cfg.target_len, **settings)
        weights = list(state.model.parameters())
        grads = torch.autograd.grad(loss, weights)
        norm = math.sqrt(sum(float(grad.square().sum()) for grad in grads))
        for weight, grad in zip(weights, grads, strict=True):
            weight.grad = grad * min(1.0, cfg.max_grad_norm / (norm + 1e-6))
        state.optimizer.step()
        state.scheduler.step()
        state.step += 1
        history.append({"reward": sum(rewards) / len(rewards), "loss": loss.item(), "entropy": stats["entropy"]})
    return history


def save_checkpoint(path, state):
    optimizer = state.optimizer.state_dict()
    scheduler = {key: value for key, value in vars(state.scheduler).items() if isinstance(value, int | float | list)}
    torch.save(
        [
            [weight.detach() for weight in state.model.parameters()],
            optimizer["state"],
            [group["lr"] for group in optimizer["param_groups"]],
            scheduler,
            state.generator.get_state(),
            torch.get_rng_state(),
            state.step,
        ],
        path,
    )


def load_checkpoint(path, state):
    weights, moments, rates, scheduler, own, everyones, state.step = torch.load(path, weights_only=True)
    with torch.no_grad():
        for weight, saved in zip(state.model.parameters(), weights, strict=True):
            weight.copy_(saved)
    groups = state.optimizer.state_dict()["param_groups"]
    for group, rate in zip(groups, rates, strict=True):
        group["lr"] = rate
    state.optimizer.load_state_dict({"state": moments, "param_groups": groups})
    vars(state.scheduler).update(scheduler)
    state.generator.set_state(own)
    torch.set_rng_state(everyones)
