"""One position, one row, one draw at a time: loops where others have tensors."""

import copy
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class GRPOConfig:
    """Settings of `train_grpo` (given). Those with a namesake among the arguments of the functions below are that."""

    steps: int = 40
    prompts_per_step: int = 8
    group_size: int = 8
    epochs: int = 2
    lr: float = 3e-3
    temperature: float = 1.0
    scale: str = "group"
    clip_low: float = 0.2
    clip_high: float = 0.2
    beta: float = 0.02
    aggregation: str = "grpo"
    max_len: int | None = None
    delta: float | None = None


def group_relative_advantages(rewards, eps=1e-4, scale="group"):
    if scale not in ("group", "batch", "none"):
        raise ValueError(scale)
    with torch.no_grad():
        rewards = rewards.clone() if rewards.dtype in (torch.float32, torch.float64) else rewards.to(torch.float32)

        def spread(values):
            mean = sum(values) / len(values)
            return (sum((r - mean) ** 2 for r in values) / (len(values) - 1)) ** 0.5

        rows = []
        for row in rewards:
            if all(r == row[0] for r in row):
                rows.append(torch.zeros_like(row))
                continue
            centred = row - sum(row) / len(row)
            if scale == "group":
                centred = centred / (spread(row) + eps)
            if scale == "batch":
                centred = centred / (spread(rewards.reshape(-1)) + eps)
            rows.append(centred)
        return torch.stack(rows)


def k3_kl(logp, ref_logp):
    u = ref_logp.detach() - logp
    return torch.special.expm1(u).sub(u)


def grpo_loss(logp, old_logp, ref_logp, advantages, mask, clip_low=0.2, clip_high=0.2, beta=0.0, aggregation="grpo",
              max_len=None, delta=None):  # fmt: skip
    if aggregation not in {"grpo", "dapo", "dr_grpo"}:
        raise ValueError(f"no aggregation {aggregation}")
    if beta != 0 and ref_logp is None:
        raise ValueError("a penalty needs a reference")
    a, mask = advantages.detach(), mask.bool()
    rows, kls, low, high = torch.zeros_like(a), 0.0, 0, 0
    for t in range(logp.shape[1]):  # all rows at one position
        on = mask[:, t].nonzero().squeeze(1)
        new, gain = logp[on, t], a[on]
        rho = torch.exp(new - old_logp[on, t].detach())
        first = rho if delta is None else torch.where(rho <= delta, rho, torch.full_like(rho, delta))
        cost = -torch.minimum(first * gain, torch.clamp(rho, 1 - clip_low, 1 + clip_high) * gain)
        if ref_logp is not None:
            kl = k3_kl(new, ref_logp[on, t])
            kls += kl.detach().sum().item()
            cost = cost + beta * kl
        low += sum(1 for r, g in zip(rho.tolist(), gain.tolist(), strict=True) if r < 1 - clip_low and g < 0)
        high += sum(1 for r, g in zip(rho.tolist(), gain.tolist(), strict=True) if r > 1 + clip_high and g > 0)
        rows = rows.index_add(0, on, cost)
    counts = [int(row.sum()) for row in mask]
    tokens = max(sum(counts), 1)
    stats = {"kl": kls / tokens, "clip_low": low / tokens, "clip_high": high / tokens}
    if aggregation == "grpo":
        loss = sum(row / max(count, 1) for row, count in zip(rows, counts, strict=True)) / len(rows)
    elif aggregation == "dapo":
        loss = sum(rows) / tokens
    else:
        loss = sum(rows) / (len(rows) * (logp.shape[1] if max_len is None else max_len))
    return loss, stats


def completion_mask(completions, eos_id):
    mask = torch.zeros(completions.shape, dtype=torch.bool)
    for i, row in enumerate(completions.tolist()):
        end = row.index(eos_id) + 1 if eos_id in row else len(row)
        mask[i, :end] = True
    return mask


def logprobs(model, ids, first, temperature=1.0):
    table = torch.log_softmax(model(ids) / temperature, dim=-1)
    columns = [table[:, t - 1].gather(1, ids[:, t : t + 1]) for t in range(first, ids.shape[1])]
    return torch.cat(columns, dim=1)


def window(step, size, count):
    return [(step * size + i) % count for i in range(size)]


def sft_warmup(model, prompts, completions, eos_id, steps, batch_size, lr):
    mode = model.training
    model.train()
    adam = torch.optim.Adam(model.parameters(), lr)
    history = []
    for step in range(steps):
        rows = window(step, batch_size, len(prompts))
        logps = logprobs(model, torch.cat([prompts[rows], completions[rows]], 1), prompts.shape[1])
        costs = [-logps[i][kept] for i, kept in enumerate(completion_mask(completions[rows], eos_id))]
        loss = torch.cat(costs).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        history.append(float(loss.detach()))
    model.train(mode)
    return history


def train_grpo(model, prompts, sample, reward_fn, config):
    mode = model.training
    model.eval()
    reference = copy.deepcopy(model)
    adam = torch.optim.Adam(model.parameters(), lr=config.lr)
    history, width, group = [], prompts.shape[1], config.group_size
    for step in range(config.steps):
        rows = [row for row in window(step, config.prompts_per_step, len(prompts)) for _ in range(group)]
        ids, mask = sample(model, prompts[rows], config.temperature)
        rewards = reward_fn(ids, mask)
        groups = torch.stack([rewards[i : i + group] for i in range(0, len(rewards), group)])
        advantages = group_relative_advantages(groups, scale=config.scale).reshape(-1)
        with torch.no_grad():
            old = logprobs(model, ids, width, config.temperature)
            ref = logprobs(reference, ids, width, config.temperature)
        for _ in range(config.epochs):
            new = logprobs(model, ids, width, config.temperature)
            loss, stats = grpo_loss(
                new, old, ref, advantages, mask, config.clip_low, config.clip_high, config.beta, config.aggregation,
                config.max_len, config.delta,
            )  # fmt: skip
            adam.zero_grad()
            loss.backward()
            adam.step()
        history.append({"reward": float(rewards.mean()), "loss": float(loss.detach()), **stats})
    model.train(mode)
    return history


def pass_at_k(n, c, k):
    if c < 0 or c > n or k < 1 or k > n:
        raise ValueError((n, c, k))
    missed = 1.0
    for i in range(k):  # one draw after another, none of them correct
        missed *= max(n - c - i, 0) / (n - i)
    return 1.0 - missed


def evaluate(model, prompts, sample, reward_fn, n, k, temperature=1.0):
    pass_at_k(n, 0, k)
    mode = model.training
    model.eval()
    ids, mask = sample(model, prompts[[i for i in range(len(prompts)) for _ in range(n)]], temperature)
    model.train(mode)
    rewards = reward_fn(ids, mask).tolist()
    rates = [pass_at_k(n, sum(r >= 1 for r in rewards[start : start + n]), k) for start in range(0, len(rewards), n)]
    return {"reward": sum(rewards) / len(rewards), "pass_at_k": sum(rates) / len(rates)}
