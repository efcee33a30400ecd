"""Library pieces: difflib for the reward, Gumbel noise for the tokens, cross-entropy for log π."""

from dataclasses import dataclass
from difflib import SequenceMatcher

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
    if len(target) == 0:
        raise ValueError("the target is empty")
    end = completion.index(eos_id) if eos_id is not None and eos_id in completion else len(completion)
    match = SequenceMatcher(None, completion[:end], target, autojunk=False).find_longest_match()
    return match.size / len(target)


@torch.inference_mode()
def _sample(model, prompts, group_size, count, temperature, eos_id, pad_id, generator):
    length = prompts.shape[1]
    ids = torch.full((len(prompts) * group_size, length + count), pad_id, dtype=prompts.dtype)
    ids[:, :length] = prompts.repeat_interleave(group_size, dim=0)
    ended = torch.zeros(len(ids), dtype=torch.bool)
    lengths = torch.zeros(len(ids), dtype=torch.long)
    for end in range(length, length + count):
        logits = model(ids[:, :end])[:, -1].double()
        if temperature > 0:
            uniform = torch.rand(logits.shape, generator=generator, dtype=torch.float64).clamp(min=1e-300)
            logits = logits / temperature - (-uniform.log()).log()
        token = logits.argmax(dim=-1)
        ids[~ended, end] = token[~ended]
        lengths += ~ended
        if eos_id is not None:
            ended = ended | (token == eos_id)
        if ended.all():
            break
    return ids, torch.arange(count) < lengths.unsqueeze(1)


def sample_rollouts(model, prompts, group_size, max_new_tokens, *, temperature, eos_id, pad_id, generator):
    was_training = model.training
    try:
        results = _sample(model.eval(), prompts, group_size, max_new_tokens, temperature, eos_id, pad_id, generator)
    finally:
        model.train(was_training)
    return tuple(result.clone() for result in results)  # ordinary tensors, which may take part in a backward pass


def group_advantages(rewards, group_size, normalize=False):
    if group_size <= 0 or rewards.numel() % group_size != 0:
        raise ValueError("the rewards are no whole groups")
    with torch.no_grad():
        groups = rewards.unflatten(0, (-1, group_size))
        variance, mean = torch.var_mean(groups, dim=1, keepdim=True, correction=min(1, group_size - 1))
        centred = groups - mean
        return (centred / (variance.sqrt() + 1e-4) if normalize else centred).flatten()


def reinforce_loss(logits, ids, mask, advantages, prompt_len, *, entropy_coef=0.0, temperature=1.0):
    count = mask.shape[1]
    scores = logits.narrow(1, prompt_len - 1, count)
    scores = torch.where(mask.unsqueeze(-1), scores, torch.zeros_like(scores)) / temperature
    labels = torch.where(mask, ids[:, prompt_len:], -100)
    nll = F.cross_entropy(scores.transpose(1, 2), labels, ignore_index=-100, reduction="none")  # 0 where masked
    size = mask.sum().clamp(min=1)
    policy_loss = (advantages.detach().unsqueeze(1) * nll).sum() / size
    shifted = scores - scores.detach().amax(dim=-1, keepdim=True)
    finite = torch.where(shifted == -torch.inf, torch.zeros_like(shifted), shifted)
    entropy = shifted.logsumexp(dim=-1) - (shifted.softmax(dim=-1) * finite).sum(dim=-1)
    entropy = torch.where(mask, entropy, torch.zeros_like(entropy)).sum() / size
    stats = {"policy_loss": float(policy_loss), "entropy": float(entropy), "tokens": int(mask.sum())}
    return policy_loss - entropy_coef * entropy, stats


def train(state, cfg, steps, reward_fn=substring_reward):
    history = []
    model, end = state.model, state.step + steps
    while state.step < end:
        prompts = sample_prompts(cfg, state.generator)
        ids, mask = sample_rollouts(
            model,
            prompts,
            cfg.group_size,
            cfg.max_new_tokens,
            temperature=cfg.temperature,
            eos_id=EOS,
            pad_id=PAD,
            generator=state.generator,
        )
        completions, targets = ids[:, prompts.shape[1] :].tolist(), ids[:, 1 : prompts.shape[1]].tolist()
        scored = list(map(reward_fn, completions, targets, [EOS] * len(ids)))
        rewards = torch.tensor(scored, dtype=torch.float64)
        model.train()
        logits = model(ids)
        advantages = group_advantages(rewards, cfg.group_size).to(logits.dtype)
        loss, stats = reinforce_loss(
            logits,
            ids,
            mask,
            advantages,
            prompts.shape[1],
            entropy_coef=cfg.entropy_coef,
            temperature=cfg.temperature,
        )
        model.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), cfg.max_grad_norm)
        state.optimizer.step()
        state.scheduler.step()
        state.step += 1
        history.append({"reward": sum(scored) / len(scored), "loss": float(loss), "entropy": stats["entropy"]})
    return history


def save_checkpoint(path, state):
    content = {
        "weights": dict(state.model.state_dict()),
        "adam": state.optimizer.state_dict(),
        "schedule": state.scheduler.state_dict(),
        "random": [state.generator.get_state(), torch.random.get_rng_state()],
        "step": state.step,
    }
    torch.save(content, path)


def load_checkpoint(path, state):
    content = torch.load(path, weights_only=True, map_location="cpu")
    state.model.load_state_dict(content["weights"], strict=True)
    state.optimizer.load_state_dict(content["adam"])
    state.scheduler.load_state_dict(content["schedule"])
    state.generator.set_state(content["random"][0])
    torch.random.set_rng_state(content["random"][1])
    state.step = content["step"]
