"""Known wrong solutions, each with the advice that belongs to it."""

from types import SimpleNamespace

import torch

from grader.checking import mistake


def pick(kind, k1, k2, k3):
    """What `kl_estimate` returns, of the three."""
    if kind not in ("k1", "k2", "k3"):
        raise ValueError(kind)
    return {"k1": k1, "k2": k2, "k3": k3}[kind]


def near(log_ratio):
    return log_ratio.clamp(-20, 20)


def k3_of(log_ratio):
    return torch.expm1(near(log_ratio)) - near(log_ratio)


def kept(logp, ref_logp, mask, kind):
    """The estimates (B, T), 0 where masked, and the mask as bool."""
    keep = mask.bool()
    return kl_estimate(logp.where(keep, 0.0), ref_logp.where(keep, 0.0), kind), keep


def choose(reduce, sequence, token):
    """What `masked_sequence_kl` returns, of the two."""
    if reduce not in ("sequence", "token"):
        raise ValueError(reduce)
    return sequence if reduce == "sequence" else token


def reduced(k, keep, reduce):
    """The right reduction of estimates (B, T) that are 0 where masked."""
    return choose(reduce, k.sum(-1).mean(), k.sum() / keep.sum().clamp(min=1))


def train(problem, weight=torch.detach, estimate=kl_estimate, step=torch.clone):
    """The experiment, of which a mistake may choose what weighs the outcomes, the estimate or the step."""
    it = SimpleNamespace(**problem)
    if it.place not in ("reward", "loss"):
        raise ValueError(it.place)
    theta = it.logits.clone().requires_grad_()
    for _ in range(it.steps):
        logp = theta.log_softmax(-1)
        k = estimate(logp, it.ref_logp, it.kind)
        in_reward, in_loss = -(it.reward - it.beta * k.detach()) * logp, it.beta * k - it.reward * logp
        loss = in_reward if it.place == "reward" else in_loss
        (grad,) = torch.autograd.grad((weight(logp.exp()) * loss).sum(), theta)
        theta = (theta - it.lr * step(grad)).detach().requires_grad_()
    return theta.detach().softmax(-1)


@mistake(
    "weighted_by_q",
    replaces="kl_categorical",
    caught_by="test_categorical_weighs_the_log_ratio_by_p",
    advice="p, the first argument, is the weight and comes first in the log-ratio; this is KL(q‖p). "
    "F.kl_div(input, target), with the model first, is KL(target‖input).",
)
def kl_categorical(logp, logq):
    q = logq.exp()
    return (q * (logq - logp).masked_fill(q == 0, 0.0)).sum(-1)


@mistake(
    "zero_times_infinity",
    replaces="kl_categorical",
    caught_by="test_zero_probabilities_count_nothing_or_infinity",
    advice="Where p = 0 the product is 0·inf = NaN. By convention 0·log 0 = 0: put a 0 there first.",
)
def kl_categorical(logp, logq):
    return (logp.exp() * (logp - logq)).sum(-1)


@mistake(
    "small_taken_for_zero",
    replaces="kl_categorical",
    caught_by="test_zero_probabilities_count_nothing_or_infinity",
    advice="A small p is not 0: over q = 0 it makes the KL infinite. Compare with 0, not with a threshold.",
)
def kl_categorical(logp, logq):
    p = logp.exp()
    return (p * (logp - logq).masked_fill(p < 1e-12, 0.0)).sum(-1)


@mistake(
    "masks_after_the_product",
    replaces="kl_categorical",
    caught_by="test_gradient_survives_a_truncated_vocabulary",
    advice="where, masked_fill or nan_to_num on p·(log p − log q) mends the value, not the gradient (0·inf in "
    "backward): mask the log-ratio before multiplying.",
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
    "ratio_of_probabilities",
    replaces="kl_from_probs",
    caught_by="test_from_probs_takes_exact_zeros",
    advice="p/q overflows where q is tiny but not 0: subtract the logarithms.",
)
def kl_from_probs(p, q):
    return torch.xlogy(p, torch.where(p == 0, 1.0, p / q)).sum(-1)


@mistake(
    "forward_is_reverse",
    replaces="forward_kl",
    caught_by="test_each_direction_has_its_own_weight",
    advice="forward_kl(target, model) is KL(target‖model): the target is the weight.",
)
def forward_kl(target, model):
    return kl_categorical(model, target)


@mistake(
    "symmetric_as_mean",
    replaces="symmetric_kl",
    caught_by="test_each_direction_has_its_own_weight",
    advice="The prompt pins Jeffreys' divergence, the sum of both directions; this is half of it.",
)
def symmetric_kl(target, model):
    return (forward_kl(target, model) + reverse_kl(target, model)) / 2


@mistake(
    "product_form",
    replaces="symmetric_kl",
    caught_by="test_directions_keep_the_edges_and_gradients",
    advice="(p − q)·(log p − log q) is NaN where both are 0: add the two directions, which have settled that.",
)
def symmetric_kl(target, model):
    return ((target.exp() - model.exp()) * (target - model)).sum(-1)


@mistake(
    "variance_for_deviation",
    replaces="kl_gaussian",
    caught_by="test_gaussian_closed_form",
    advice="std1 and std2 are standard deviations: square them, except inside the logarithm.",
)
def kl_gaussian(mu1, std1, mu2, std2):
    return ((std1 + (mu1 - mu2) ** 2) / std2 - 1 + (std2 / std1).log()) / 2


@mistake(
    "shaped_like_mu1",
    replaces="kl_gaussian",
    caught_by="test_gaussian_closed_form",
    advice="All four arguments broadcast: the result has the shape of all of them together, not that of mu1.",
)
def kl_gaussian(mu1, std1, mu2, std2):
    ratio, result = std1 / std2, torch.empty_like(mu1)
    result[...] = (ratio**2 + ((mu1 - mu2) / std2) ** 2 - 1) / 2 - ratio.log()
    return result


@mistake(
    "squares_before_dividing",
    replaces="kl_gaussian",
    caught_by="test_gaussian_depends_on_ratios_alone",
    advice="std² leaves the dtype's range long before std does: divide first, then square.",
)
def kl_gaussian(mu1, std1, mu2, std2):
    return (std2 / std1).log() + (std1**2 + (mu1 - mu2) ** 2) / (2 * std2**2) - 0.5


@mistake(
    "k1_sign",
    replaces="kl_estimate",
    caught_by="test_estimators_are_per_sample",
    advice="k1 = log p − log q where x was drawn from p; with the sign turned, a KL penalty rewards drift.",
)
def kl_estimate(logp, logq, kind):
    d = logq - logp
    return pick(kind, d, d**2 / 2, k3_of(d))


@mistake(
    "k3_ratio_inverted",
    replaces="kl_estimate",
    caught_by="test_estimators_are_per_sample",
    advice="Samples come from p, so k3's ratio is q/p = e^−d; with p/q its mean is χ²(p‖q) − KL(p‖q).",
)
def kl_estimate(logp, logq, kind):
    d = logp - logq
    return pick(kind, d, d**2 / 2, k3_of(d))


@mistake(
    "clamps_every_kind",
    replaces="kl_estimate",
    caught_by="test_estimators_are_per_sample",
    advice="Only k3 has an exponential to protect: clamped, k1 and k2 understate the drift of far-off tokens.",
)
def kl_estimate(logp, logq, kind):
    d = near(logp - logq)
    return pick(kind, d, d**2 / 2, k3_of(-d))


@mistake(
    "exp_minus_one",
    replaces="kl_estimate",
    caught_by="test_k3_keeps_its_digits_near_zero",
    advice="exp(−d) − 1 cancels for small d and leaves rounding noise; expm1 keeps the digits. "
    "d²/2 below a threshold does not cure it: above it digits are still lost.",
)
def kl_estimate(logp, logq, kind):
    d = logp - logq
    k3 = torch.where(d.abs() < 1e-4, d**2 / 2, near(-d).exp() - 1 - near(-d))
    return pick(kind, d, d**2 / 2, k3)


@mistake(
    "k3_without_clamp",
    replaces="kl_estimate",
    caught_by="test_k3_clamps_the_log_ratio",
    advice="exp overflows for one far-off token and takes the batch with it: clamp the log-ratio to [−20, 20] first.",
)
def kl_estimate(logp, logq, kind):
    d = logp - logq
    return pick(kind, d, d**2 / 2, torch.expm1(-d) + d)


@mistake(
    "unknown_kind_is_k3",
    replaces="kl_estimate",
    caught_by="test_other_kinds_are_refused",
    advice="Any kind but k1, k2 and k3 must raise ValueError: a typo would silently change the estimator.",
)
def kl_estimate(logp, logq, kind):
    d = logp - logq
    return {"k1": d, "k2": d**2 / 2}.get(kind, k3_of(-d))


@mistake(
    "token_mean_for_sequence",
    replaces="masked_sequence_kl",
    caught_by="test_sequence_and_token_means_differ",
    advice='A sequence\'s KL is the sum over its tokens (chain rule): "sequence" averages over rows only.',
)
def masked_sequence_kl(logp, ref_logp, mask, kind, reduce):
    k, keep = kept(logp, ref_logp, mask, kind)
    row_means = k.sum(-1) / keep.sum(-1).clamp(min=1)
    return choose(reduce, row_means.mean(), k.sum() / keep.sum().clamp(min=1))


@mistake(
    "masks_after_estimating",
    replaces="masked_sequence_kl",
    caught_by="test_masked_positions_never_leak",
    advice="where on the estimate cleans the value, but its backward still runs through inf and NaN: mask the inputs.",
)
def masked_sequence_kl(logp, ref_logp, mask, kind, reduce):
    return reduced(torch.where(mask.bool(), kl_estimate(logp, ref_logp, kind), 0.0), mask, reduce)


@mistake(
    "drops_empty_rows",
    replaces="masked_sequence_kl",
    caught_by="test_empty_rows_count_as_zero",
    advice="A row without counted tokens is a 0 in the mean over all B rows: do not leave it out of the divisor.",
)
def masked_sequence_kl(logp, ref_logp, mask, kind, reduce):
    k, keep = kept(logp, ref_logp, mask, kind)
    return k.sum() / choose(reduce, keep.any(-1).sum(), keep.sum()).clamp(min=1)


@mistake(
    "unknown_reduce_is_token",
    replaces="masked_sequence_kl",
    caught_by="test_empty_rows_count_as_zero",
    advice='Any reduce but "sequence" and "token" must raise ValueError, whatever the mask counts.',
)
def masked_sequence_kl(logp, ref_logp, mask, kind, reduce):
    return reduced(*kept(logp, ref_logp, mask, kind), "sequence" if reduce == "sequence" else "token")


@mistake(
    "differentiates_the_expectation",
    replaces="kl_grad_experiment",
    caught_by="test_one_step_follows_the_exact_gradient",
    advice="Samples carry no gradient: detach the weights p, or you train on the exact KL whatever the estimator.",
)
def kl_grad_experiment(**problem):
    return train(problem, weight=torch.clone)


@mistake(
    "stale_samples",
    replaces="kl_grad_experiment",
    caught_by="test_later_steps_are_plain_gradient_descent",
    advice="The expectation is under the current policy: recompute p every step. Old samples need the ratio π/π_old.",
)
def kl_grad_experiment(**problem):
    old = problem["logits"].softmax(-1)
    return train(problem, weight=lambda _p: old)


@mistake(
    "slope_of_k3_unclamped",
    replaces="kl_grad_experiment",
    caught_by="test_later_steps_are_plain_gradient_descent",
    advice="Outside [−20, 20] the clamp makes k3 constant: its slope there is 0, in a gradient by hand too.",
)
def kl_grad_experiment(**problem):
    def unclamped(logp, ref_logp, kind):
        clamped, free = kl_estimate(logp, ref_logp, kind), logp - ref_logp
        return clamped if kind != "k3" else clamped.detach() - torch.expm1(-free.detach()) * (free - free.detach())

    return train(problem, estimate=unclamped)


@mistake(
    "stops_early",
    replaces="kl_grad_experiment",
    caught_by="test_fixed_points_tell_the_estimators_apart",
    advice="A small gradient is no reason to stop: take all the steps.",
)
def kl_grad_experiment(**problem):
    def until_small(grad):
        return grad * (grad.abs().max() > 1e-4)

    return train(problem, step=until_small)


@mistake(
    "result_with_graph",
    replaces="kl_grad_experiment",
    caught_by="test_the_experiment_leaves_no_trace",
    advice="The result is asked for without gradient: detach θ before the last softmax.",
)
def kl_grad_experiment(**problem):
    return train(problem).requires_grad_()


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
    "dpo_shifts_by_the_best_reward",
    replaces="dpo_implicit_kl",
    caught_by="test_dpo_kl_is_finite_for_any_reward",
    advice="The best reward may stand where π_ref is 0; shifted by it everything else underflows. Add ref_logp first.",
)
def dpo_implicit_kl(ref_logp, reward, beta):
    weights = ref_logp.exp() * ((reward - reward.amax(-1, keepdim=True)) / beta).exp()
    return kl_from_probs(weights / weights.sum(-1, keepdim=True), ref_logp.exp())
