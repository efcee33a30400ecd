"""KL divergence: exact, estimated from samples, and where post-training puts it. Everything is in nats."""

import torch  # noqa: F401 — for the bodies to come
from torch import Tensor


def kl_categorical(logp: Tensor, logq: Tensor) -> Tensor:
    """KL(p‖q) = Σ p·(log p − log q) over the last axis.

    logp, logq: (..., V) normalised log-probabilities, −inf where a probability is 0. Returns (...), same dtype.
    An entry with exp(logp) == 0 adds 0, whatever logq is; one with p > 0 and q = 0 makes the result +inf.
    Differentiable in both: entries with p = 0 get gradient 0, never NaN.
    """
    raise NotImplementedError("categorical: weight log p − log q by p, and settle p = 0 before you multiply")


def kl_from_probs(p: Tensor, q: Tensor) -> Tensor:
    """KL(p‖q) of probabilities that may hold exact zeros.

    p, q: (..., V) normalised probabilities. Returns (...), same dtype. 0·log 0 = 0; +inf if some p > 0 has q = 0.
    No epsilon, no renormalisation. Only its value is asked for, not its gradient.
    """
    raise NotImplementedError("categorical: the same sum from probabilities; what is 0·log 0?")


def forward_kl(target: Tensor, model: Tensor) -> Tensor:
    """KL(target‖model), which makes the model cover the target's mass. Log-probabilities (..., V) → (...)."""
    raise NotImplementedError("directions: which of the two is the weight in forward KL?")


def reverse_kl(target: Tensor, model: Tensor) -> Tensor:
    """KL(model‖target), which makes the model seek the target's modes. Log-probabilities (..., V) → (...)."""
    raise NotImplementedError("directions: exchange the roles")


def symmetric_kl(target: Tensor, model: Tensor) -> Tensor:
    """Jeffreys divergence: the sum of forward and reverse KL, not their mean. Log-probabilities (..., V) → (...)."""
    raise NotImplementedError("directions: combine the two you have")


def kl_gaussian(mu1: Tensor, std1: Tensor, mu2: Tensor, std2: Tensor) -> Tensor:
    """KL(N(mu1, std1²)‖N(mu2, std2²)), elementwise; std is a standard deviation, above 0.

    The four arguments broadcast against each other; nothing is summed. Returns the broadcast shape.
    Multiplying all four by one positive number changes nothing, at scales of 1e-25 and 1e25 in float32 too.
    """
    raise NotImplementedError("gaussian: start from log(std2/std1), then add the two squared ratios")


def kl_estimate(logp: Tensor, logq: Tensor, kind: str) -> Tensor:
    """One estimate of KL(p‖q) for each sample x ~ p, from log p(x) and log q(x) (Schulman 2020).

    logp, logq: any shape, one log-probability a sample. Returns the same shape and dtype.
    kind: "k1", "k2" or "k3", else ValueError. k3 keeps its digits for tiny log-ratios, and clamps the
    log-ratio log q − log p to [−20, 20] before both of its uses. k1 and k2 are not clamped. Differentiable in both.
    """
    raise NotImplementedError("estimators: d = logp − logq, then one formula a kind")


def masked_sequence_kl(logp: Tensor, ref_logp: Tensor, mask: Tensor, kind: str, reduce: str) -> Tensor:
    """KL(π‖ref) estimated from the log-probabilities of sampled completion tokens.

    logp, ref_logp: (B, T) of tokens sampled from π. mask: (B, T), bool or 0/1 int64; 1 counts the token.
    reduce="sequence": sum over each row's tokens, then mean over all B rows. reduce="token": sum over all counted
    tokens, divided by max(their number, 1). Any other: ValueError. Returns a 0-dim tensor.
    A masked position reaches neither value nor gradient (its gradient is 0), even if it holds NaN or ±inf.
    """
    raise NotImplementedError("sequence: make masked positions harmless first, then estimate, then reduce")


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
    raise NotImplementedError("gradients: write the loss of one outcome, then its expectation under fixed p")


def ppo_approx_kl(new_logp: Tensor, old_logp: Tensor) -> Tensor:
    """PPO's early-stopping statistic: KL(old‖new) from samples of the old policy, k3 averaged over all elements.

    new_logp, old_logp: one shape, log-probabilities of actions drawn from the old policy. Returns a 0-dim tensor that
    carries no gradient. The clamp is kl_estimate's.
    """
    raise NotImplementedError("uses: who drew the samples? That policy is p")


def dpo_implicit_kl(ref_logp: Tensor, reward: Tensor, beta: float) -> Tensor:
    """KL(π*‖π_ref) of the policy DPO aims at, π* = π_ref·exp(reward/beta)/Z (Rafailov et al. 2023, eq. 4).

    ref_logp, reward: (..., V); ref_logp may be −inf (π* is 0 there). beta > 0. Returns (...).
    Finite for any finite reward/beta.
    """
    raise NotImplementedError("uses: log π* first, normalised, then the exact KL")
