"""KL divergence: exact, estimated from samples, and where post-training puts it. Everything is in nats."""

import torch
from torch import Tensor


def kl_categorical(logp: Tensor, logq: Tensor) -> Tensor:
    """KL(p‖q) = Σ p·(log p − log q) over the last axis.

    logp, logq: (..., V) normalised log-probabilities, −inf where a probability is 0. Returns (...), same dtype.
    An entry with exp(logp) == 0 adds 0, whatever logq is; one with p > 0 and q = 0 makes the result +inf.
    Differentiable in both: entries with p = 0 get gradient 0, never NaN.
    """
    p = logp.exp()  # (..., V)
    log_ratio = torch.where(p == 0, 0.0, logp - logq)  # before the product: 0·inf is NaN, in backward too
    return (p * log_ratio).sum(-1)  # (...)


def kl_from_probs(p: Tensor, q: Tensor) -> Tensor:
    """KL(p‖q) of probabilities that may hold exact zeros.

    p, q: (..., V) normalised probabilities. Returns (...), same dtype. 0·log 0 = 0; +inf if some p > 0 has q = 0.
    No epsilon, no renormalisation. Only its value is asked for, not its gradient.
    """
    return (torch.xlogy(p, p) - torch.xlogy(p, q)).sum(-1)  # (...)


def forward_kl(target: Tensor, model: Tensor) -> Tensor:
    """KL(target‖model), which makes the model cover the target's mass. Log-probabilities (..., V) → (...)."""
    return kl_categorical(target, model)


def reverse_kl(target: Tensor, model: Tensor) -> Tensor:
    """KL(model‖target), which makes the model seek the target's modes. Log-probabilities (..., V) → (...)."""
    return kl_categorical(model, target)


def symmetric_kl(target: Tensor, model: Tensor) -> Tensor:
    """Jeffreys divergence: the sum of forward and reverse KL, not their mean. Log-probabilities (..., V) → (...)."""
    return forward_kl(target, model) + reverse_kl(target, model)


def kl_gaussian(mu1: Tensor, std1: Tensor, mu2: Tensor, std2: Tensor) -> Tensor:
    """KL(N(mu1, std1²)‖N(mu2, std2²)), elementwise; std is a standard deviation, above 0.

    The four arguments broadcast against each other; nothing is summed. Returns the broadcast shape.
    Multiplying all four by one positive number changes nothing, at scales of 1e-25 and 1e25 in float32 too.
    """
    ratio = std1 / std2  # squared after the division: std² alone would under- or overflow
    return (ratio**2 + ((mu1 - mu2) / std2) ** 2 - 1) / 2 - ratio.log()


def kl_estimate(logp: Tensor, logq: Tensor, kind: str) -> Tensor:
    """One estimate of KL(p‖q) for each sample x ~ p, from log p(x) and log q(x) (Schulman 2020).

    logp, logq: any shape, one log-probability a sample. Returns the same shape and dtype.
    kind: "k1", "k2" or "k3", else ValueError. k3 keeps its digits for tiny log-ratios, and clamps the
    log-ratio log q − log p to [−20, 20] before both of its uses. k1 and k2 are not clamped. Differentiable in both.
    """
    d = logp - logq
    if kind == "k1":
        return d
    if kind == "k2":
        return d**2 / 2
    if kind == "k3":
        log_ratio = (-d).clamp(-20, 20)  # log q/p
        return torch.expm1(log_ratio) - log_ratio
    raise ValueError(f"kind is {kind!r}; it must be 'k1', 'k2' or 'k3'")


def masked_sequence_kl(logp: Tensor, ref_logp: Tensor, mask: Tensor, kind: str, reduce: str) -> Tensor:
    """KL(π‖ref) estimated from the log-probabilities of sampled completion tokens.

    logp, ref_logp: (B, T) of tokens sampled from π. mask: (B, T), bool or 0/1 int64; 1 counts the token.
    reduce="sequence": sum over each row's tokens, then mean over all B rows. reduce="token": sum over all counted
    tokens, divided by max(their number, 1). Any other: ValueError. Returns a 0-dim tensor.
    A masked position reaches neither value nor gradient (its gradient is 0), even if it holds NaN or ±inf.
    """
    keep = mask.bool()  # (B, T)
    k = kl_estimate(logp.where(keep, 0.0), ref_logp.where(keep, 0.0), kind)  # (B, T), 0 where masked
    if reduce == "sequence":
        return k.sum(-1).mean()
    if reduce == "token":
        return k.sum() / keep.sum().clamp(min=1)
    raise ValueError(f"reduce is {reduce!r}; it must be 'sequence' or 'token'")


def kl_grad_experiment(
    logits: Tensor, ref_logp: Tensor, reward: Tensor, beta: float, kind: str, place: str, lr: float, steps: int
) -> Tensor:
    """Train a softmax policy on E[reward] with a KL penalty, in exact expectation over its V outcomes.

    logits, ref_logp, reward: (V,). The policy is π = softmax(θ); θ starts at a copy of logits.
    A step is θ ← θ − lr·∇ Σ_x p(x)·loss(x), with p = π held constant, as samples are. With k = kl_estimate(log π,
    ref_logp, kind) the loss of one outcome is
      place="reward":  loss(x) = −(reward(x) − beta·k(x))·log π(x), the bracket held constant;
      place="loss":    loss(x) = −reward(x)·log π(x) + beta·k(x), k differentiated.
    Any other place: ValueError. Returns the probabilities (V,) after `steps` steps, without gradient.
    """
    if place not in ("reward", "loss"):
        raise ValueError(f"place is {place!r}; it must be 'reward' or 'loss'")
    theta = logits.clone().requires_grad_()
    for _ in range(steps):
        logp = theta.log_softmax(-1)  # (V,)
        k = kl_estimate(logp, ref_logp, kind)  # (V,)
        loss = -(reward - beta * k.detach()) * logp if place == "reward" else beta * k - reward * logp
        (grad,) = torch.autograd.grad((logp.detach().exp() * loss).sum(), theta)
        theta = (theta - lr * grad).detach().requires_grad_()
    return theta.detach().softmax(-1)


def ppo_approx_kl(new_logp: Tensor, old_logp: Tensor) -> Tensor:
    """PPO's early-stopping statistic: KL(old‖new) from samples of the old policy, k3 averaged over all elements.

    new_logp, old_logp: one shape, log-probabilities of actions drawn from the old policy. Returns a 0-dim tensor that
    carries no gradient. The clamp is kl_estimate's.
    """
    with torch.no_grad():
        return kl_estimate(old_logp, new_logp, "k3").mean()


def dpo_implicit_kl(ref_logp: Tensor, reward: Tensor, beta: float) -> Tensor:
    """KL(π*‖π_ref) of the policy DPO aims at, π* = π_ref·exp(reward/beta)/Z (Rafailov et al. 2023, eq. 4).

    ref_logp, reward: (..., V); ref_logp may be −inf (π* is 0 there). beta > 0. Returns (...).
    Finite for any finite reward/beta.
    """
    optimum = (ref_logp + reward / beta).log_softmax(-1)  # (..., V), log π*
    return kl_categorical(optimum, ref_logp)
