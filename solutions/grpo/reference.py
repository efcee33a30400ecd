"""GRPO: advantages within a group of samples, a clipped ratio, a KL penalty to a frozen reference; its SFT warm-up.

Left out: the sampler, minibatches, several processes.
Sizes: M prompts of P tokens, G completions for each, N rows of P + T tokens, V tokens of vocabulary.
"""

import copy
import math
from contextlib import contextmanager
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
    """How much better each completion is than those of its own prompt. -> (M, G), without a graph

    rewards (M, G), a row for each prompt; M, G ≥ 1. float32 or float64, which the result is too; integers and bools
    become float32. Result: (r − mean) / (std + eps), with the mean of the row, and the sample standard deviation (over
    n − 1) of the row for scale "group", of all M·G rewards for "batch"; "none" is r − mean. Another scale: ValueError.
    A row of equal rewards, thus one of a single reward too, gives exactly 0, whatever the scale.
    Source: Shao et al. 2024, section 4.1.2; "none" is of Liu et al. 2025.
    """
    if scale not in ("group", "batch", "none"):
        raise ValueError(f"scale must be 'group', 'batch' or 'none', not {scale!r}")
    rewards = rewards.detach()
    rewards = rewards if rewards.is_floating_point() else rewards.float()
    advantages = rewards - rewards.mean(dim=1, keepdim=True)  # (M, G)
    if scale != "none":
        std = rewards.std(dim=1, keepdim=True) if scale == "group" else rewards.std()
        advantages = advantages / (std + eps)
    equal = (rewards == rewards[:, :1]).all(dim=1, keepdim=True)  # (M, 1): their mean may be off by a rounding
    return advantages.masked_fill(equal, 0.0)


def k3_kl(logp, ref_logp):
    """For each token, drawn from π, an estimate of KL(π‖π_ref): e^u − 1 − u, with u = ref_logp − logp. -> same shape

    logp, ref_logp: any shape, float32 or float64. Keeps its digits where u is tiny; nothing is clamped. Differentiable
    in logp; ref_logp is a constant. Source: Schulman 2020; Shao et al. 2024, eq. 4.
    """
    u = ref_logp.detach() - logp
    return torch.expm1(u) - u


def _surrogate(ratio, advantages, clip_low, clip_high, delta):
    """The gain of each token, min(ρA, clip(ρ)·A), where `delta` caps the ρ that is not clipped. -> (N, T)"""
    capped = ratio if delta is None else ratio.clamp(max=delta)
    return torch.minimum(capped * advantages, ratio.clamp(1 - clip_low, 1 + clip_high) * advantages)


def _aggregate(losses, mask, aggregation, max_len):
    """One number of the tokens' losses (N, T), which are 0 off the mask. -> ()"""
    if aggregation == "grpo":
        return (losses.sum(dim=1) / mask.sum(dim=1).clamp(min=1)).mean()
    if aggregation == "dapo":
        return losses.sum() / mask.sum().clamp(min=1)
    if aggregation == "dr_grpo":
        return losses.sum() / (len(mask) * (mask.shape[1] if max_len is None else max_len))
    raise ValueError(f"aggregation must be 'grpo', 'dapo' or 'dr_grpo', not {aggregation!r}")


def _on(mask, values):
    """The values (N, T) on the mask, and 0 off it: no product, for 0 · NaN is NaN, in the gradient too."""
    return values.masked_fill(~mask, 0.0)


def _stats(mask, kl, ratio, advantages, clip_low, clip_high):
    """Means over the tokens on the mask, as floats. kl, ratio (N, T); advantages (N, 1)."""
    too_low, too_high = (ratio < 1 - clip_low) & (advantages < 0), (ratio > 1 + clip_high) & (advantages > 0)
    tokens = mask.sum().clamp(min=1)
    named = {"kl": kl.detach(), "clip_low": too_low.double(), "clip_high": too_high.double()}
    return {name: (_on(mask, values).sum() / tokens).item() for name, values in named.items()}


def grpo_loss(
    logp,
    old_logp,
    ref_logp,
    advantages,
    mask,
    clip_low=0.2,
    clip_high=0.2,
    beta=0.0,
    aggregation="grpo",
    max_len=None,
    delta=None,
):
    """The clipped surrogate and the KL penalty of N sampled completions. -> (loss (), stats)

    logp, old_logp, ref_logp (N, T): log-probabilities of the tokens under the policy, the policy that sampled them, and
    the reference; ref_logp may be None where beta is 0, else that is a ValueError. advantages (N,). mask (N, T): bool
    or int64 0/1, True on the completion. N, T ≥ 1. Only logp gets a gradient.
    A token's loss: −min(ρA, clip(ρ, 1 − clip_low, 1 + clip_high)·A) + beta·k3, with ρ = exp(logp − old_logp); where
    delta is given, the first ρ is min(ρ, delta).
    aggregation: "grpo", the mean over each row's tokens, then over all N rows, one without tokens counting as 0;
    "dapo", the mean over all tokens; "dr_grpo", the sum over all tokens divided by N·max_len (None: T). Only tokens on
    the mask count, and what stands off it, NaN too, reaches nothing; no token at all: loss 0. Another: ValueError.
    stats: three floats over all tokens on the mask: "kl", the mean of k3, whatever beta is (0.0 where ref_logp is
    None); "clip_low", the share with ρ < 1 − clip_low and A < 0; "clip_high", that with ρ > 1 + clip_high and A > 0.
    Source: Shao et al. 2024, eq. 3; Yu et al. 2025 (DAPO); Liu et al. 2025 (Dr. GRPO).
    """
    if ref_logp is None and beta != 0:
        raise ValueError("beta is not 0, and there is no reference")
    mask = mask.bool()
    logp, old_logp = _on(mask, logp), _on(mask, old_logp).detach()
    ratio, advantages = torch.exp(logp - old_logp), advantages.detach().unsqueeze(1)  # (N, T), (N, 1)
    kl = torch.zeros_like(logp) if ref_logp is None else k3_kl(logp, _on(mask, ref_logp))  # (N, T)
    losses = beta * kl - _surrogate(ratio, advantages, clip_low, clip_high, delta)  # (N, T)
    stats = _stats(mask, kl, ratio.detach(), advantages, clip_low, clip_high)
    return _aggregate(_on(mask, losses), mask, aggregation, max_len), stats


def completion_mask(completions, eos_id):
    """True on the tokens of each row up to its first EOS, that included; on all of a row without. -> (N, T) bool

    completions (N, T) int64, T ≥ 1. What follows the first EOS is padding, whatever its id: EOS too.
    """
    eos = (completions == eos_id).long()
    return eos.cumsum(dim=1) == eos  # no EOS before this token


@contextmanager
def _mode(model, training):
    """The model in train or eval mode, and afterwards in the mode it was in."""
    before = model.training
    model.train(training)
    try:
        yield
    finally:
        model.train(before)


def _cycled(rows, step, size):
    """`size` of the rows (M, ...), following those of the step before; after the last comes the first."""
    return rows[torch.arange(step * size, (step + 1) * size) % len(rows)]


def _token_logps(model, ids, length, temperature=1.0):
    """Log-probabilities of the last `length` tokens of ids (N, L). -> (N, length)"""
    logits = model(ids)[:, -length - 1 : -1] / temperature  # (N, T, V): position t − 1 predicts t
    return logits.log_softmax(dim=-1).gather(-1, ids[:, -length:].unsqueeze(-1)).squeeze(-1)


def _descend(optimizer, loss):
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def sft_warmup(model, prompts, completions, eos_id, steps, batch_size, lr):
    """Supervised fine-tuning: train `model` in place to give the completions. -> the steps' losses, a list of floats

    model: a module, ids (N, L) -> logits (N, L, V). prompts (M, P), completions (M, T) int64, padded after their EOS.
    Step k takes rows k·batch_size, …, (k + 1)·batch_size − 1, modulo M. Its loss is the mean of −log π over all tokens
    of the batch that are on their completion_mask; never the prompt's. One update of torch.optim.Adam(lr=lr) a step,
    gradients from before discarded; losses are from before the update.
    All passes are in train mode; the model comes back in the mode it came in.
    """
    ids, mask = torch.cat([prompts, completions], dim=1), completion_mask(completions, eos_id)  # (M, P+T), (M, T)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    losses = []
    with _mode(model, training=True):
        for step in range(steps):
            logp = _token_logps(model, _cycled(ids, step, batch_size), mask.shape[1])  # (batch_size, T)
            loss = -logp[_cycled(mask, step, batch_size)].mean()
            _descend(optimizer, loss)
            losses.append(loss.item())
    return losses


def _frozen(model):
    return copy.deepcopy(model).eval().requires_grad_(False)


@torch.no_grad()
def _fixed_logps(models, *args):
    return [_token_logps(model, *args) for model in models]


def _loss_of_batch(config, *batch):
    names = ("clip_low", "clip_high", "beta", "aggregation", "max_len", "delta")
    return grpo_loss(*batch, **{name: getattr(config, name) for name in names})


def train_grpo(model, prompts, sample, reward_fn, config):
    """Train `model` in place by GRPO, against a copy of what it was at the call. -> a dict of floats for each step

    model: a module, ids (N, L) -> logits (N, L, V). prompts (M, P) int64. config: a GRPOConfig.
    sample(model, prompts (N, P), temperature) -> ids (N, P+T) int64 and mask (N, T) bool: draws one completion a row.
    reward_fn(ids, mask) -> (N,), of the logits' dtype. Each of the two is called once a step.
    Step k takes prompts k·B, …, (k + 1)·B − 1, modulo M, with B = prompts_per_step; each of them group_size times, one
    after another: N = B·group_size. Log-probabilities are of logits / temperature. Those of the sampling policy and of
    the reference are taken once a step, without a graph. Then `epochs` times, on all N rows: the grpo_loss and one
    update; a single torch.optim.Adam(lr=lr) for the whole call, gradients from before discarded.
    All passes are in eval mode; the model comes back in the mode it came in.
    A step reports "reward", the mean over its N rows, and of its last epoch, from before the update, "loss" and the
    stats of grpo_loss: "kl", "clip_low", "clip_high". Source: Shao et al. 2024, algorithm 1, with one iteration.
    """
    reference, optimizer = _frozen(model), torch.optim.Adam(model.parameters(), lr=config.lr)
    history = []
    with _mode(model, training=False):
        for step in range(config.steps):
            batch = _cycled(prompts, step, config.prompts_per_step).repeat_interleave(config.group_size, dim=0)
            ids, mask = sample(model, batch, config.temperature)  # (N, P+T), (N, T)
            rewards = reward_fn(ids, mask)  # (N,)
            advantages = group_relative_advantages(rewards.view(-1, config.group_size), scale=config.scale).flatten()
            tokens = ids, mask.shape[1], config.temperature
            old_logp, ref_logp = _fixed_logps((model, reference), *tokens)  # (N, T) each
            for _ in range(config.epochs):
                logp = _token_logps(model, *tokens)  # (N, T)
                loss, stats = _loss_of_batch(config, logp, old_logp, ref_logp, advantages, mask)
                _descend(optimizer, loss)
            history.append({"reward": rewards.mean().item(), "loss": loss.item(), **stats})
    return history


def pass_at_k(n, c, k):
    """The chance that k of n samples, c of them correct, hold a correct one: 1 − C(n − c, k) / C(n, k). -> float

    n, c, k: ints. ValueError unless 0 ≤ c ≤ n and 1 ≤ k ≤ n. Source: Chen et al. 2021, eq. 1.
    """
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(f"0 ≤ c ≤ n and 1 ≤ k ≤ n must hold, not n={n}, c={c}, k={k}")
    return 1 - math.comb(n - c, k) / math.comb(n, k)


def evaluate(model, prompts, sample, reward_fn, n, k, temperature=1.0):
    """Sample n completions for each prompt. -> {"reward": mean reward, "pass_at_k": mean pass@k}, floats

    prompts (M, P); sample and reward_fn as for `train_grpo`, each called once, on M·n rows, each prompt n times, one
    after another. A completion is correct where its reward is 1 or more. ValueError unless 1 ≤ k ≤ n.
    The model is in eval mode for it, and comes back in the mode it came in.
    """
    if not 1 <= k <= n:
        raise ValueError(f"1 ≤ k ≤ n must hold, not n={n}, k={k}")
    with _mode(model, training=False):
        rewards = reward_fn(*sample(model, prompts.repeat_interleave(n, dim=0), temperature))  # (M·n,)
    correct = (rewards.view(-1, n) >= 1).sum(dim=1).tolist()  # M ints
    return {"reward": rewards.mean().item(), "pass_at_k": sum(pass_at_k(n, c, k) for c in correct) / len(correct)}
