"""Only the tokens that count, in one flat vector with a weight for each; a functional style with few passes."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 — its usual name
from torch.func import functional_call


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
    values = rewards.detach().to(torch.promote_types(rewards.dtype, torch.float32))
    if scale == "none":
        width = torch.ones((), dtype=values.dtype)
    elif scale == "group":
        width = torch.var(values, dim=1, keepdim=True).sqrt() + eps
    elif scale == "batch":
        width = values.flatten().std(unbiased=True) + eps
    else:
        raise ValueError(f"unknown scale {scale!r}")
    differs = values.amax(dim=1, keepdim=True) > values.amin(dim=1, keepdim=True)
    return torch.where(differs, (values - values.mean(dim=1, keepdim=True)) / width, 0.0)


class K3(torch.autograd.Function):
    """k3 with its gradient by hand: d/dlogp = 1 − e^u."""

    @staticmethod
    def forward(ctx, logp, ref_logp):
        u = ref_logp - logp
        grown = u.expm1()
        ctx.save_for_backward(grown)
        return grown - u

    @staticmethod
    def backward(ctx, upstream):
        (grown,) = ctx.saved_tensors
        return -grown * upstream, None


def k3_kl(logp, ref_logp):
    return K3.apply(logp, ref_logp)


def token_weights(mask, aggregation, max_len, dtype):
    """What each token on the mask counts in the loss. -> (tokens,)"""
    rows, length = mask.shape
    counts = mask.sum(dim=1, keepdim=True)
    weights = {
        "grpo": lambda: 1 / (rows * counts.clamp(min=1).to(dtype)).expand(rows, length),
        "dapo": lambda: torch.full(mask.shape, 1 / max(int(counts.sum()), 1), dtype=dtype),
        "dr_grpo": lambda: torch.full(mask.shape, 1 / (rows * (max_len or length)), dtype=dtype),
    }
    if aggregation not in weights:
        raise ValueError(aggregation)
    return weights[aggregation]()[mask]


def grpo_loss(logp, old_logp, ref_logp, advantages, mask, clip_low=0.2, clip_high=0.2, beta=0.0, aggregation="grpo",
              max_len=None, delta=None):  # fmt: skip
    if beta and ref_logp is None:
        raise ValueError("beta without a reference")
    mask = mask != 0
    weights = token_weights(mask, aggregation, max_len, logp.dtype)
    new, a = logp[mask], advantages.detach()[:, None].expand(mask.shape)[mask]
    rho = (new - old_logp.detach()[mask]).exp()
    kl = k3_kl(new, ref_logp.detach()[mask]) if ref_logp is not None else torch.zeros_like(new)
    # Where A > 0 only the upper bound can bind, where A < 0 only the lower one and delta.
    down = rho.clamp(min=1 - clip_low) if delta is None else rho.clamp(1 - clip_low, delta)
    gain = a * torch.where(a > 0, rho.clamp(max=1 + clip_high), down)
    share = 1 / max(len(new), 1)
    stats = {
        "kl": kl.detach().sum().item() * share,
        "clip_low": int(((rho < 1 - clip_low) & (a < 0)).sum()) * share,
        "clip_high": int(((rho > 1 + clip_high) & (a > 0)).sum()) * share,
    }
    return weights @ (beta * kl - gain), stats


def completion_mask(completions, eos_id):
    length = completions.shape[1]
    at = torch.arange(length)
    first = torch.where(completions == eos_id, at, length).amin(dim=1, keepdim=True)
    return at <= first


def completion_logps(logits, ids, length):
    flat = F.cross_entropy(logits[:, -length - 1 : -1].flatten(0, 1), ids[:, -length:].flatten(), reduction="none")
    return -flat.view(len(ids), length)


def batches(rows, size, steps):
    order = torch.arange(len(rows)).repeat(steps * size // len(rows) + 1)
    return [rows[order[k * size : (k + 1) * size]] for k in range(steps)]


def sft_warmup(model, prompts, completions, eos_id, steps, batch_size, lr):
    was = model.training
    model.train(True)
    labels = completions.masked_fill(~completion_mask(completions, eos_id), -100)
    optimizer, losses = torch.optim.Adam(list(model.parameters()), lr=lr), []
    optimizer.zero_grad(set_to_none=True)
    inputs = torch.cat((prompts, completions), dim=1)
    for ids, target in zip(batches(inputs, batch_size, steps), batches(labels, batch_size, steps), strict=True):
        logits = model(ids)[:, prompts.shape[1] - 1 : -1]
        loss = F.cross_entropy(logits.transpose(1, 2), target, ignore_index=-100)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
    model.train(was)
    return losses


def train_grpo(model, prompts, sample, reward_fn, config):
    was = model.training
    model.eval()
    frozen = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    optimizer = torch.optim.Adam(model.parameters(), lr=config.lr)
    history = []
    for batch in batches(prompts, config.prompts_per_step, config.steps):
        rows = batch[:, None].expand(-1, config.group_size, -1).flatten(0, 1)
        ids, mask = sample(model, rows, config.temperature)
        rewards = reward_fn(ids, mask)
        grouped = rewards.unflatten(0, (len(batch), config.group_size))
        advantages = group_relative_advantages(grouped, scale=config.scale).flatten()
        with torch.no_grad():
            ref = completion_logps(functional_call(model, frozen, (ids,)) / config.temperature, ids, mask.shape[1])
        old = None
        for _ in range(config.epochs):
            new = completion_logps(model(ids) / config.temperature, ids, mask.shape[1])
            old = new.detach() if old is None else old  # the first epoch is the policy that sampled
            loss, stats = grpo_loss(
                new, old, ref, advantages, mask, config.clip_low, config.clip_high, config.beta, config.aggregation,
                config.max_len, config.delta,
            )  # fmt: skip
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        history.append({"reward": rewards.mean().item(), "loss": loss.item()} | stats)
    model.train(was)
    return history


def pass_at_k(n, c, k):
    if not 1 <= k <= n or not 0 <= c <= n:
        raise ValueError
    if n - c < k:
        return 1.0
    return 1.0 - math.exp(sum(math.log1p(-k / i) for i in range(n - c + 1, n + 1)))


def evaluate(model, prompts, sample, reward_fn, n, k, temperature=1.0):
    chance = [pass_at_k(n, c, k) for c in range(n + 1)] if n > 0 else pass_at_k(n, 0, k)
    was = model.training
    model.eval()
    rewards = reward_fn(*sample(model, prompts.unsqueeze(1).repeat(1, n, 1).flatten(0, 1), temperature))
    model.train(was)
    correct = rewards.ge(1).view(len(prompts), n).sum(dim=1)
    rate = torch.tensor(chance, dtype=torch.float64)[correct].mean()
    return {"reward": float(rewards.mean()), "pass_at_k": float(rate)}
