"""Objects: an objective, a policy that knows its log-probabilities, a trainer; masks by torch.where."""

import copy
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import comb

import torch
from torch import Tensor


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
    with torch.no_grad():
        r = rewards if rewards.is_floating_point() else rewards.to(torch.float32)
        base = r[:, :1]
        shifted = r - base  # equal rewards are exactly 0 from here on
        centred = torch.where((r == base).all(1, keepdim=True), 0.0, shifted - shifted.mean(1, keepdim=True))
        match scale:
            case "none":
                return centred
            case "batch":
                deviation = r.std() if r.numel() > 1 else r.new_zeros(())
            case "group":
                deviation = centred.std(1, keepdim=True) if r.shape[1] > 1 else torch.zeros_like(r)
            case _:
                raise ValueError(scale)
        return centred if eps == 0 and not deviation.any() else centred / (deviation + eps)


def k3_kl(logp, ref_logp):
    log_ratio = logp - ref_logp.detach()
    return torch.expm1(-log_ratio) + log_ratio


@dataclass(frozen=True)
class Objective:
    clip_low: float = 0.2
    clip_high: float = 0.2
    beta: float = 0.0
    aggregation: str = "grpo"
    max_len: int | None = None
    delta: float | None = None

    def __post_init__(self):
        if self.aggregation not in ("grpo", "dapo", "dr_grpo"):
            raise ValueError(f"aggregation {self.aggregation!r}")

    def __call__(self, logp, old_logp, ref_logp, advantages, mask):
        if ref_logp is None and self.beta != 0.0:
            raise ValueError("beta needs a reference")
        mask = mask.to(torch.bool)
        zero = torch.zeros((), dtype=logp.dtype)
        logp, old_logp = torch.where(mask, logp, zero), torch.where(mask, old_logp.detach(), zero)
        a = advantages.detach().reshape(-1, 1)
        rho = torch.exp(logp - old_logp)
        penalty = torch.zeros_like(logp)
        if ref_logp is not None:
            penalty = k3_kl(logp, torch.where(mask, ref_logp, zero))
        loss = self.reduce(torch.where(mask, self.pessimistic(rho, a) + self.beta * penalty, zero), mask)
        return loss, self.report(rho.detach(), a, penalty.detach(), mask)

    def pessimistic(self, rho, a):
        unclipped = rho if self.delta is None else torch.clamp(rho, max=self.delta)
        return torch.max(-a * unclipped, -a * torch.clamp(rho, 1 - self.clip_low, 1 + self.clip_high))

    def reduce(self, losses, mask):
        rows, length = mask.shape
        if self.aggregation == "grpo":
            return torch.stack(
                [row.sum() / max(1, int(kept.sum())) for row, kept in zip(losses, mask, strict=True)]
            ).mean()
        divisor = max(1, int(mask.sum()))
        if self.aggregation == "dr_grpo":
            divisor = rows * (length if self.max_len is None else self.max_len)
        return losses.sum() / divisor

    def report(self, rho, a, penalty, mask):
        below, above = rho.lt(1 - self.clip_low) & a.lt(0), rho.gt(1 + self.clip_high) & a.gt(0)
        tokens = max(1, int(mask.sum()))
        counts = {"clip_low": (below & mask).sum().item() / tokens, "clip_high": (above & mask).sum().item() / tokens}
        return {"kl": (penalty * mask).sum().item() / tokens} | counts


def grpo_loss(logp, old_logp, ref_logp, advantages, mask, clip_low=0.2, clip_high=0.2, beta=0.0, aggregation="grpo",
              max_len=None, delta=None):  # fmt: skip
    objective = Objective(clip_low, clip_high, beta, aggregation, max_len, delta)
    return objective(logp, old_logp, ref_logp, advantages, mask)


def completion_mask(completions, eos_id):
    ended = completions.eq(eos_id)
    before = torch.cummax(ended.to(torch.int8), dim=1).values.roll(1, dims=1).bool()
    before[:, 0] = False
    return ~before


class Policy:
    """A model in one of its modes, and back in the other afterwards."""

    def __init__(self, model: torch.nn.Module, training: bool):
        self.model, self.training = model, training

    def __enter__(self):
        self.before = self.model.training
        self.model.train(self.training)
        return self

    def __exit__(self, *_):
        self.model.train(self.before)

    def logps(self, ids: Tensor, length: int, temperature: float = 1.0) -> Tensor:
        logits = self.model(ids) / temperature
        predicting, tokens = logits[:, :-1][:, -length:], ids[:, 1:][:, -length:]
        picked = predicting.take_along_dim(tokens.unsqueeze(2), dim=2).squeeze(2)
        return picked - predicting.logsumexp(dim=2)


def in_turn(count: int, size: int) -> Iterator[Tensor]:
    start = 0
    while True:
        yield torch.tensor([(start + i) % count for i in range(size)])
        start = (start + size) % count


def sft_warmup(model, prompts, completions, eos_id, steps, batch_size, lr):
    optimizer, losses = torch.optim.Adam(model.parameters(), lr=lr), []
    mask = completion_mask(completions, eos_id)
    with Policy(model, training=True) as policy:
        for _, rows in zip(range(steps), in_turn(len(prompts), batch_size), strict=False):
            counted = mask[rows].to(torch.get_default_dtype())
            logps = policy.logps(torch.hstack([prompts[rows], completions[rows]]), completions.shape[1])
            loss = -(logps * counted).sum() / counted.sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


class Trainer:
    def __init__(self, model, config):
        self.model, self.config = model, config
        self.frozen = Policy(copy.deepcopy(model), training=False)
        self.frozen.model.eval()
        for parameter in self.frozen.model.parameters():
            parameter.requires_grad = False
        self.optimizer = torch.optim.Adam(model.parameters(), lr=config.lr)
        names = Objective.__dataclass_fields__
        self.objective = Objective(**{name: value for name, value in asdict(config).items() if name in names})

    def step(self, prompts, sample, reward_fn):
        group, heat = self.config.group_size, self.config.temperature
        ids, mask = sample(self.model, torch.repeat_interleave(prompts, group, 0), heat)
        rewards, length = reward_fn(ids, mask), mask.size(1)
        advantages = group_relative_advantages(rewards.reshape(-1, group), scale=self.config.scale).reshape(-1)
        policy = Policy(self.model, training=False)
        with torch.no_grad():
            fixed = policy.logps(ids, length, heat), self.frozen.logps(ids, length, heat)
        report = {}
        for _ in range(self.config.epochs):
            loss, report = self.objective(policy.logps(ids, length, heat), *fixed, advantages, mask)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            report["loss"] = loss.item()
        return {"reward": rewards.mean().item()} | report


def train_grpo(model, prompts, sample, reward_fn, config):
    trainer, turns = Trainer(model, config), in_turn(len(prompts), config.prompts_per_step)
    with Policy(model, training=False):
        return [trainer.step(prompts[next(turns)], sample, reward_fn) for _ in range(config.steps)]


def pass_at_k(n, c, k):
    if min(c, k - 1, n - c, n - k) < 0:
        raise ValueError(f"n={n}, c={c}, k={k}")
    whole = comb(n, k)
    return (whole - comb(n - c, k)) / whole


def evaluate(model, prompts, sample, reward_fn, n, k, temperature=1.0):
    if k < 1 or k > n:
        raise ValueError(k)
    with Policy(model, training=False):
        ids, mask = sample(model, torch.repeat_interleave(prompts, n, 0), temperature)
    rewards = reward_fn(ids, mask)
    rates = [pass_at_k(n, int((group >= 1).sum()), k) for group in rewards.split(n)]
    return {"reward": rewards.mean().item(), "pass_at_k": sum(rates) / len(rates)}
