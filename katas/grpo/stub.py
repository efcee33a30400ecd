"""GRPO: advantages within a group of samples, a clipped ratio, a KL penalty to a frozen reference; its SFT warm-up.

PROMPT.md pins the details. tiny_gpt.py holds a small policy to try the loops on.
Sizes: M prompts of P tokens, G completions for each, N rows of P + T tokens, V tokens of vocabulary.
"""

from dataclasses import dataclass

import torch  # noqa: F401 — for the bodies to come


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
    raise NotImplementedError("advantages: centre each row on its own mean, then divide by its spread")


def k3_kl(logp, ref_logp):
    """For each token, drawn from π, an estimate of KL(π‖π_ref): e^u − 1 − u, with u = ref_logp − logp. -> same shape

    logp, ref_logp: any shape, float32 or float64. Keeps its digits where u is tiny; nothing is clamped. Differentiable
    in logp; ref_logp is a constant. Source: Schulman 2020; Shao et al. 2024, eq. 4.
    """
    raise NotImplementedError("k3: the log-ratio first, and which way round it is")


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
    raise NotImplementedError("loss: make what is off the mask harmless, then the ratio, then the loss of each token")


def completion_mask(completions, eos_id):
    """True on the tokens of each row up to its first EOS, that included; on all of a row without. -> (N, T) bool

    completions (N, T) int64, T ≥ 1. What follows the first EOS is padding, whatever its id: EOS too.
    """
    raise NotImplementedError("sft: count how many EOS stand before each token")


def sft_warmup(model, prompts, completions, eos_id, steps, batch_size, lr):
    """Supervised fine-tuning: train `model` in place to give the completions. -> the steps' losses, a list of floats

    model: a module, ids (N, L) -> logits (N, L, V). prompts (M, P), completions (M, T) int64, padded after their EOS.
    Step k takes rows k·batch_size, …, (k + 1)·batch_size − 1, modulo M. Its loss is the mean of −log π over all tokens
    of the batch that are on their completion_mask; never the prompt's. One update of torch.optim.Adam(lr=lr) a step,
    gradients from before discarded; losses are from before the update.
    All passes are in train mode; the model comes back in the mode it came in.
    """
    raise NotImplementedError("sft: join prompts and completions, and find which logits predict a token that counts")


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
    raise NotImplementedError("train: freeze the reference, then sample, reward and several epochs for each step")


def pass_at_k(n, c, k):
    """The chance that k of n samples, c of them correct, hold a correct one: 1 − C(n − c, k) / C(n, k). -> float

    n, c, k: ints. ValueError unless 0 ≤ c ≤ n and 1 ≤ k ≤ n. Source: Chen et al. 2021, eq. 1.
    """
    raise NotImplementedError("evaluate: count the choices of k samples that hold no correct one")


def evaluate(model, prompts, sample, reward_fn, n, k, temperature=1.0):
    """Sample n completions for each prompt. -> {"reward": mean reward, "pass_at_k": mean pass@k}, floats

    prompts (M, P); sample and reward_fn as for `train_grpo`, each called once, on M·n rows, each prompt n times, one
    after another. A completion is correct where its reward is 1 or more. ValueError unless 1 ≤ k ≤ n.
    The model is in eval mode for it, and comes back in the mode it came in.
    """
    raise NotImplementedError("evaluate: sample n completions of each prompt, then average rewards and pass@k")
