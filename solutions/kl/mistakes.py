"""Known wrong solutions, each with the advice that belongs to it."""
# ruff: noqa: F811, F821 — each takes the name it replaces, and runs in the reference's namespace

import torch
import torch.nn.functional as F  # noqa: N812 — its usual name

from grader.checking import mistake


@mistake(
    "kl_div_arguments_swapped",
    replaces="kl_categorical",
    caught_by="test_categorical_weighs_the_log_ratio_by_p",
    advice="F.kl_div(input, target) is KL(target‖input): log q comes first, log p second.",
)
def kl_categorical(logp, logq):
    return F.kl_div(logp, logq, reduction="none", log_target=True).sum(-1)


@mistake(
    "mean_over_the_vocabulary",
    replaces="kl_categorical",
    caught_by="test_categorical_weighs_the_log_ratio_by_p",
    advice="Sum over the outcomes: a mean (F.kl_div's default) makes the KL V times too small.",
)
def kl_categorical(logp, logq):
    p = logp.exp()
    return torch.where(p == 0, 0.0, p * (logp - logq)).mean(-1)


@mistake(
    "sums_axis_one",
    replaces="kl_categorical",
    caught_by="test_categorical_weighs_the_log_ratio_by_p",
    advice="The outcomes are the last axis, whatever axes stand before it: sum over dim=-1, not dim=1.",
)
def kl_categorical(logp, logq):
    p = logp.exp()
    return (p * torch.where(p == 0, 0.0, logp - logq)).sum(1)


@mistake(
    "zero_times_infinity",
    replaces="kl_categorical",
    caught_by="test_zero_probabilities_count_nothing_or_infinity",
    advice="Where p = 0 the product is 0·inf = NaN. By convention 0·log 0 = 0: put a 0 there first.",
)
def kl_categorical(logp, logq):
    return (logp.exp() * (logp - logq)).sum(-1)


@mistake(
    "nan_to_num",
    replaces="kl_categorical",
    caught_by="test_zero_probabilities_count_nothing_or_infinity",
    advice="nan_to_num also turns the true +inf (p > 0 where q = 0) into a large number: mask p = 0 instead.",
)
def kl_categorical(logp, logq):
    return torch.nan_to_num(logp.exp() * (logp - logq)).sum(-1)


@mistake(
    "forgets_underflow",
    replaces="kl_categorical",
    caught_by="test_zero_probabilities_count_nothing_or_infinity",
    advice="exp(logp) is also 0 where logp is merely very low: test the probability, not logp == −inf.",
)
def kl_categorical(logp, logq):
    log_ratio = torch.where(logp == -torch.inf, 0.0, logp - logq)
    return (logp.exp() * log_ratio).sum(-1)


@mistake(
    "masks_after_the_product",
    replaces="kl_categorical",
    caught_by="test_gradient_survives_a_truncated_vocabulary",
    advice="where(…, 0, p·(log p − log q)) hides the NaN from the value, not from the gradient (0·inf in backward): "
    "mask the log-ratio before multiplying.",
)
def kl_categorical(logp, logq):
    p = logp.exp()
    return torch.where(p == 0, 0.0, p * (logp - logq)).sum(-1)


@mistake(
    "epsilon_in_the_log",
    replaces="kl_from_probs",
    caught_by="test_from_probs_takes_exact_zeros",
    advice="log(q + eps) turns the infinite KL into a finite number that depends on eps; use xlogy, or mask p = 0.",
)
def kl_from_probs(p, q):
    return (p * ((p + 1e-12).log() - (q + 1e-12).log())).sum(-1)


@mistake(
    "forward_and_reverse_exchanged",
    replaces=("forward_kl", "reverse_kl"),
    caught_by="test_forward_weighs_by_the_target_and_reverse_by_the_model",
    advice="Forward is KL(target‖model), weighted by the target; reverse is weighted by the model.",
)
class Exchanged:
    @staticmethod
    def forward_kl(target, model):
        return kl_categorical(model, target)

    @staticmethod
    def reverse_kl(target, model):
        return kl_categorical(target, model)


@mistake(
    "symmetric_as_mean",
    replaces="symmetric_kl",
    caught_by="test_symmetric_is_the_sum_of_both",
    advice="The prompt pins Jeffreys' divergence, the sum of both directions; this is half of it.",
)
def symmetric_kl(target, model):
    return (forward_kl(target, model) + reverse_kl(target, model)) / 2


@mistake(
    "variance_for_deviation",
    replaces="kl_gaussian",
    caught_by="test_gaussian_closed_form",
    advice="std1 and std2 are standard deviations: square them, except inside the logarithm.",
)
def kl_gaussian(mu1, std1, mu2, std2):
    return ((std1 + (mu1 - mu2) ** 2) / std2 - 1 + (std2 / std1).log()) / 2


@mistake(
    "gaussians_summed",
    replaces="kl_gaussian",
    caught_by="test_gaussian_closed_form",
    advice="The result is elementwise: do not sum over the last axis.",
)
def kl_gaussian(mu1, std1, mu2, std2):
    ratio = std1 / std2
    return ((ratio**2 + ((mu1 - mu2) / std2) ** 2 - 1) / 2 - ratio.log()).sum(-1)


@mistake(
    "squares_before_dividing",
    replaces="kl_gaussian",
    caught_by="test_gaussian_depends_on_ratios_alone",
    advice="std² leaves float32's range long before std does: divide first, then square.",
)
def kl_gaussian(mu1, std1, mu2, std2):
    return (std2 / std1).log() + (std1**2 + (mu1 - mu2) ** 2) / (2 * std2**2) - 0.5


@mistake(
    "k3_ratio_inverted",
    replaces="kl_estimate",
    caught_by="test_estimators_are_per_sample",
    advice="Samples come from p, so k3's ratio is q/p = e^−d; with p/q its mean is χ²(p‖q) − KL(p‖q).",
)
def kl_estimate(logp, logq, kind):
    d = logp - logq
    near = d.clamp(-20, 20)
    return _pick(kind, d, d**2 / 2, torch.expm1(near) - near)


@mistake(
    "k1_sign",
    replaces="kl_estimate",
    caught_by="test_estimators_are_per_sample",
    advice="k1 = log p − log q where x was drawn from p; with the sign turned, a KL penalty rewards drift.",
)
def kl_estimate(logp, logq, kind):
    log_ratio = logq - logp
    near = log_ratio.clamp(-20, 20)
    return _pick(kind, log_ratio, log_ratio**2 / 2, torch.expm1(near) - near)


@mistake(
    "unknown_kind_is_k3",
    replaces="kl_estimate",
    caught_by="test_estimators_are_per_sample",
    advice="Any kind but k1, k2 and k3 must raise ValueError: a typo would silently change the estimator.",
)
def kl_estimate(logp, logq, kind):
    d = logp - logq
    near = (-d).clamp(-20, 20)
    return {"k1": d, "k2": d**2 / 2}.get(kind, torch.expm1(near) - near)


@mistake(
    "writes_into_its_input",
    replaces="kl_estimate",
    caught_by="test_estimators_are_per_sample",
    advice="sub_ overwrites the caller's log-probabilities; use `-`.",
)
def kl_estimate(logp, logq, kind):
    d = logp.sub_(logq)
    near = (-d).clamp(-20, 20)
    return _pick(kind, d, d**2 / 2, torch.expm1(near) - near)


@mistake(
    "exp_minus_one",
    replaces="kl_estimate",
    caught_by="test_k3_keeps_its_digits_near_zero",
    advice="exp(−d) − 1 cancels for small d and leaves rounding noise; expm1 keeps the digits.",
)
def kl_estimate(logp, logq, kind):
    d = logp - logq
    near = (-d).clamp(-20, 20)
    return _pick(kind, d, d**2 / 2, near.exp() - 1 - near)


@mistake(
    "k3_without_clamp",
    replaces="kl_estimate",
    caught_by="test_k3_clamps_the_log_ratio",
    advice="exp overflows for one far-off token and takes the batch with it: clamp the log-ratio to [−20, 20] first.",
)
def kl_estimate(logp, logq, kind):
    d = logp - logq
    return _pick(kind, d, d**2 / 2, torch.expm1(-d) + d)


@mistake(
    "clamps_every_kind",
    replaces="kl_estimate",
    caught_by="test_k3_clamps_the_log_ratio",
    advice="Only k3 has an exponential to protect: clamped, k1 and k2 understate the drift of far-off tokens.",
)
def kl_estimate(logp, logq, kind):
    d = (logp - logq).clamp(-20, 20)
    return _pick(kind, d, d**2 / 2, torch.expm1(-d) + d)


def _pick(kind, k1, k2, k3):
    if kind not in ("k1", "k2", "k3"):
        raise ValueError(kind)
    return {"k1": k1, "k2": k2, "k3": k3}[kind]


@mistake(
    "token_mean_for_sequence",
    replaces="masked_sequence_kl",
    caught_by="test_sequence_and_token_means_differ",
    advice='A sequence\'s KL is the sum over its tokens (chain rule): "sequence" averages over rows only.',
)
def masked_sequence_kl(logp, ref_logp, mask, kind, reduce):
    keep = mask.bool()
    k = kl_estimate(logp.where(keep, 0.0), ref_logp.where(keep, 0.0), kind)
    per_row = k.sum(-1) / keep.sum(-1).clamp(min=1)
    return _choose(reduce, per_row.mean(), k.sum() / keep.sum().clamp(min=1))


@mistake(
    "mean_of_row_means",
    replaces="masked_sequence_kl",
    caught_by="test_sequence_and_token_means_differ",
    advice='"token" weighs all counted tokens of the batch alike; a mean of row means weighs short rows more.',
)
def masked_sequence_kl(logp, ref_logp, mask, kind, reduce):
    keep = mask.bool()
    k = kl_estimate(logp.where(keep, 0.0), ref_logp.where(keep, 0.0), kind)
    per_row = k.sum(-1) / keep.sum(-1).clamp(min=1)
    return _choose(reduce, k.sum(-1).mean(), per_row.mean())


@mistake(
    "counts_masked_tokens",
    replaces="masked_sequence_kl",
    caught_by="test_sequence_and_token_means_differ",
    advice="Prompt and padding positions must not enter the sum: apply the mask.",
)
def masked_sequence_kl(logp, ref_logp, mask, kind, reduce):  # noqa: ARG001 — that is the mistake
    k = kl_estimate(logp, ref_logp, kind)
    return _choose(reduce, k.sum(-1).mean(), k.mean())


@mistake(
    "multiplies_by_the_mask",
    replaces="masked_sequence_kl",
    caught_by="test_masked_positions_never_leak",
    advice="NaN·0 and inf·0 are NaN: choose with where before estimating, do not multiply.",
)
def masked_sequence_kl(logp, ref_logp, mask, kind, reduce):
    k = kl_estimate(logp, ref_logp, kind) * mask
    return _choose(reduce, k.sum(-1).mean(), k.sum() / mask.sum().clamp(min=1))


@mistake(
    "masks_after_estimating",
    replaces="masked_sequence_kl",
    caught_by="test_masked_positions_never_leak",
    advice="where on the estimate cleans the value, but its backward still runs through inf and NaN: mask the inputs.",
)
def masked_sequence_kl(logp, ref_logp, mask, kind, reduce):
    k = torch.where(mask.bool(), kl_estimate(logp, ref_logp, kind), 0.0)
    return _choose(reduce, k.sum(-1).mean(), k.sum() / mask.sum().clamp(min=1))


@mistake(
    "empty_batch_divides_by_zero",
    replaces="masked_sequence_kl",
    caught_by="test_empty_rows_count_as_zero",
    advice="A batch without counted tokens gives 0/0 = NaN: divide by max(count, 1).",
)
def masked_sequence_kl(logp, ref_logp, mask, kind, reduce):
    keep = mask.bool()
    k = kl_estimate(logp.where(keep, 0.0), ref_logp.where(keep, 0.0), kind)
    return _choose(reduce, k.sum(-1).mean(), k.sum() / keep.sum())


@mistake(
    "drops_empty_rows",
    replaces="masked_sequence_kl",
    caught_by="test_empty_rows_count_as_zero",
    advice="A row without counted tokens is a 0 in the mean over all B rows: do not leave it out of the divisor.",
)
def masked_sequence_kl(logp, ref_logp, mask, kind, reduce):
    keep = mask.bool()
    k = kl_estimate(logp.where(keep, 0.0), ref_logp.where(keep, 0.0), kind)
    divisor = _choose(reduce, keep.any(-1).sum(), keep.sum())
    return k.sum() / divisor.clamp(min=1)


def _choose(reduce, sequence, token):
    if reduce not in ("sequence", "token"):
        raise ValueError(reduce)
    return sequence if reduce == "sequence" else token


@mistake(
    "differentiates_the_expectation",
    replaces="kl_grad_experiment",
    caught_by="test_one_step_follows_the_exact_gradient",
    advice="Samples carry no gradient: detach the weights p, or you train on the exact KL whatever the estimator.",
)
def kl_grad_experiment(logits, ref_logp, reward, beta, kind, place, lr, steps):
    return _train(logits, ref_logp, reward, beta, kind, place, lr, steps, weight=torch.Tensor.clone)


@mistake(
    "penalty_in_reward_keeps_its_gradient",
    replaces="kl_grad_experiment",
    caught_by="test_one_step_follows_the_exact_gradient",
    advice="A reward is a number the rollout returned: detach k before it is subtracted from the reward.",
)
def kl_grad_experiment(logits, ref_logp, reward, beta, kind, place, lr, steps):
    return _train(logits, ref_logp, reward, beta, kind, place, lr, steps, in_reward=torch.Tensor.clone)


@mistake(
    "penalty_sign",
    replaces="kl_grad_experiment",
    caught_by="test_one_step_follows_the_exact_gradient",
    advice="The KL is subtracted from the reward and added to the loss; turned round it rewards drift.",
)
def kl_grad_experiment(logits, ref_logp, reward, beta, kind, place, lr, steps):
    return _train(logits, ref_logp, reward, -beta, kind, place, lr, steps)


@mistake(
    "always_k1_in_the_reward",
    replaces="kl_grad_experiment",
    caught_by="test_one_step_follows_the_exact_gradient",
    advice="place says where the penalty goes, kind says which estimator: the reward takes k2 and k3 too.",
)
def kl_grad_experiment(logits, ref_logp, reward, beta, kind, place, lr, steps):
    kind = "k1" if place == "reward" else kind
    return _train(logits, ref_logp, reward, beta, kind, place, lr, steps)


@mistake(
    "stale_samples",
    replaces="kl_grad_experiment",
    caught_by="test_fixed_points_tell_the_estimators_apart",
    advice="The expectation is under the current policy: recompute p every step. Old samples need the ratio π/π_old.",
)
def kl_grad_experiment(logits, ref_logp, reward, beta, kind, place, lr, steps):
    old = logits.softmax(-1)
    return _train(logits, ref_logp, reward, beta, kind, place, lr, steps, weight=lambda _p: old)


def _train(logits, ref_logp, reward, beta, kind, place, lr, steps, weight=torch.detach, in_reward=torch.detach):
    """The experiment; a mistake may choose what weighs the outcomes, and what the reward sees of k."""
    if place not in ("reward", "loss"):
        raise ValueError(place)
    theta = logits.clone().requires_grad_()
    for _ in range(steps):
        logp = theta.log_softmax(-1)
        k = kl_estimate(logp, ref_logp, kind)
        loss = -(reward - beta * in_reward(k)) * logp if place == "reward" else beta * k - reward * logp
        (grad,) = torch.autograd.grad((weight(logp.exp()) * loss).sum(), theta)
        theta = (theta - lr * grad).detach().requires_grad_()
    return theta.detach().softmax(-1)


@mistake(
    "ppo_roles_mixed",
    replaces="ppo_approx_kl",
    caught_by="test_ppo_kl_is_under_the_old_policy",
    advice="The actions were drawn by the old policy, so p is old and the ratio in k3 is new/old.",
)
def ppo_approx_kl(new_logp, old_logp):
    with torch.no_grad():
        return kl_estimate(new_logp, old_logp, "k3").mean()


@mistake(
    "ppo_statistic_with_gradient",
    replaces="ppo_approx_kl",
    caught_by="test_ppo_kl_is_under_the_old_policy",
    advice="It is a statistic for early stopping: compute it under no_grad, or it keeps the graph alive.",
)
def ppo_approx_kl(new_logp, old_logp):
    return kl_estimate(old_logp, new_logp, "k3").mean()


@mistake(
    "dpo_without_partition",
    replaces="dpo_implicit_kl",
    caught_by="test_dpo_kl_is_that_of_its_optimum",
    advice="log(π*/π_ref) is reward/β − log Z: without log Z, adding a constant to the reward changes the result.",
)
def dpo_implicit_kl(ref_logp, reward, beta):
    optimum = (ref_logp + reward / beta).softmax(-1)
    return (optimum * reward / beta).sum(-1)


@mistake(
    "dpo_multiplies_by_beta",
    replaces="dpo_implicit_kl",
    caught_by="test_dpo_kl_is_that_of_its_optimum",
    advice="The optimum tilts by exp(reward/β): a larger β stays nearer to the reference.",
)
def dpo_implicit_kl(ref_logp, reward, beta):
    return kl_categorical((ref_logp + reward * beta).log_softmax(-1), ref_logp)


@mistake(
    "dpo_forward_direction",
    replaces="dpo_implicit_kl",
    caught_by="test_dpo_kl_is_that_of_its_optimum",
    advice="RLHF and DPO pay KL(policy‖reference): the optimum is the weight, not the reference.",
)
def dpo_implicit_kl(ref_logp, reward, beta):
    return kl_categorical(ref_logp, (ref_logp + reward / beta).log_softmax(-1))


@mistake(
    "dpo_overflows",
    replaces="dpo_implicit_kl",
    caught_by="test_dpo_kl_is_that_of_its_optimum",
    advice="exp(reward/β) overflows for a small β: stay in log space and normalise with log_softmax.",
)
def dpo_implicit_kl(ref_logp, reward, beta):
    weights = ref_logp.exp() * (reward / beta).exp()
    return kl_from_probs(weights / weights.sum(-1, keepdim=True), ref_logp.exp())
