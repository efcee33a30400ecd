"""RLHF: PPO against a learned reward model, with KL-shaped rewards, and without a critic.

PROMPT.md pins the details. Sizes: N rollouts, P prompt and T completion tokens, L = P + T, V tokens of vocabulary.
"""

from dataclasses import dataclass

import torch  # noqa: F401 — for the bodies to come


@dataclass(frozen=True)
class PPOConfig:
    """The numbers of `rlhf_train` (given)."""

    updates: int
    """Rollout batches."""
    epochs: int = 2
    """How often each rollout batch is gone through."""
    minibatch: int = 32
    """Rows of an optimizer step."""
    clip: float = 0.2
    temperature: float = 1.0
    """At which the rollouts are sampled: it divides the logits of policy and reference everywhere."""
    target_kl: float | None = None
    """Ends an update's epochs early (part `stop`)."""


class FixedKL:
    """A KL coefficient that stays what it is (given); the same interface as `AdaptiveKLController`."""

    def __init__(self, value):
        self.value = value

    def update(self, kl, n):
        pass


def token_logprobs(logits, ids, temperature=1.0):
    """Log-probability of every token but the first, given those before it. -> (B, L-1), the dtype of `logits`

    logits (B, L, V) float, those at t are for the token at t + 1; ids (B, L) int64; L >= 1. A temperature that is not
    above 0 is a ValueError. Column t of the result belongs to the token at t + 1.
    """
    raise NotImplementedError("logprobs: drop the last position, then the log-softmax of the tempered logits")


def shaped_rewards(scores, logp, ref_logp, mask, kl_coef):
    """-kl_coef·(logp - ref_logp) at every token, plus the row's score at its last one. -> (N, T), without a graph

    scores (N,), logp and ref_logp (N, T) float; mask (N, T) bool, True on the completion's tokens. Masked places are 0.
    A row without tokens is 0 throughout. Source: Ziegler et al. 2019, section 2.
    """
    raise NotImplementedError("rewards: the KL penalty of every unmasked token first")


def returns_to_go(rewards, mask):
    """The sum of the rewards from each token on, γ = 1. -> (N, T), 0 where masked, without a graph

    rewards (N, T) float, mask (N, T) bool; masked rewards count for nothing, whatever they are.
    """
    raise NotImplementedError("rewards: a cumulative sum from the right, over what is unmasked")


def masked_whiten(x, mask, shift_mean=True):
    """(x - mean)·rsqrt(var + 1e-8), over all unmasked entries at once. -> the shape of `x`, 0 where masked, no graph

    var divides by count - 1, and is 0 for a single entry. shift_mean=False adds the mean back. Nothing unmasked: zeros.
    """
    raise NotImplementedError("whiten: count and mean of the unmasked entries first")


def ppo_clip_loss(logp, old_logp, adv, mask, clip=0.2):
    """The clipped surrogate, to be minimised, as a mean over all tokens. -> (loss (), {"clipfrac", "approx_kl"})

    logp, old_logp, adv (N, T) float; mask (N, T) bool. With the log-ratio clamped to ±20 and ρ = exp of it, a token
    costs max(-A·ρ, -A·clip(ρ, 1 - clip, 1 + clip)). clipfrac is the share of tokens for which the second is strictly
    larger, approx_kl the mean of ρ - 1 - log ρ: Python floats. The gradient reaches logp alone. No tokens: zeros.
    Source: Schulman et al. 2017, eq. 7.
    """
    raise NotImplementedError("loss: the clamped log-ratio, with masked places at 0")


def rlhf_train(policy, ref, rm, sample, optimizer, controller, cfg, generator):
    """Train `policy` in place with PPO against `rm`, kept near `ref`. -> one dict of floats for each update

    policy, ref: modules, ids (N, L) -> logits (N, L, V). rm(ids (N, L), mask (N, L) bool) -> scores (N,).
    sample(policy) -> (ids (N, L) int64, mask (N, T) bool): fresh rollouts. optimizer: over the policy's parameters.
    controller: `.value` is the KL coefficient, `.update(kl, n)` follows each update. cfg: a PPOConfig.
    generator: a torch.Generator for the order of the rows.
    """
    raise NotImplementedError("train: one rollout batch with its log-probabilities, scores and advantages")


class AdaptiveKLController:
    """A KL coefficient that is steered towards a target KL.

    value: the coefficient now, a float. Source: Ziegler et al. 2019, section 2.2.
    """

    def __init__(self, init, target, horizon):
        self.value, self.target, self.horizon = init, target, horizon

    def update(self, kl, n):
        """After n rollouts with a mean KL of `kl`: multiply by 1 + clip(kl/target - 1, ±0.2)·n/horizon."""
        raise NotImplementedError("control: the clamped relative error first")
