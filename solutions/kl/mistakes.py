"""Known wrong solutions, each with the advice that belongs to it."""

import torch

from grader.checking import mistake


def weighted(p, log_ratio):
    """Σ p·log_ratio over the outcomes with p > 0."""
    return (p * log_ratio.masked_fill(p == 0, 0.0)).sum(-1)


@mistake(
    "weighted_by_q",
    replaces="kl_categorical",
    caught_by="test_categorical_weighs_the_log_ratio_by_p",
    advice="p, the first argument, is the weight and comes first in the log-ratio; this is KL(q‖p). "
    "F.kl_div(input, target), with the model first, is KL(target‖input).",
)
def kl_categorical(logp, logq):
    return weighted(logq.exp(), logq - logp)


@mistake(
    "mean_over_the_vocabulary",
    replaces="kl_categorical",
    caught_by="test_categorical_weighs_the_log_ratio_by_p",
    advice="Sum over the outcomes: a mean (F.kl_div's default) makes the KL V times too small.",
)
def kl_categorical(logp, logq):
    return weighted(logp.exp(), logp - logq) / logp.shape[-1]


@mistake(
    "sums_axis_one",
    replaces="kl_categorical",
    caught_by="test_categorical_weighs_the_log_ratio_by_p",
    advice="The outcomes are the last axis, whatever axes stand before it: sum over dim=-1, not dim=1.",
)
def kl_categorical(logp, logq):
    p = logp.exp()
    return (p * torch.where(p == 0, 0.0, logp - logq)).sum(min(1, p.dim() - 1))


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
    return (logp.exp() * (logp - logq).masked_fill(logp == -torch.inf, 0.0)).sum(-1)


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
    "weight_detached",
    replaces="kl_categorical",
    caught_by="test_gradient_survives_a_truncated_vocabulary",
    advice="The weight p depends on logp as well: detached, p·(log p − log q + 1) shrinks to p.",
)
def kl_categorical(logp, logq):
    return weighted(logp.exp().detach(), logp - logq)


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
    "reverse_is_forward",
    replaces="reverse_kl",
    caught_by="test_each_direction_has_its_own_weight",
    advice="reverse_kl(target, model) is KL(model‖target): the model is the weight.",
)
def reverse_kl(target, model):
    return kl_categorical(target, model)


@mistake(
    "averaged_over_rows",
    replaces="forward_kl",
    caught_by="test_each_direction_has_its_own_weight",
    advice="One KL for each row, (..., V) → (...): average over the batch outside.",
)
def forward_kl(target, model):
    return kl_categorical(target, model).mean()


@mistake(
    "symmetric_as_mean",
    replaces="symmetric_kl",
    caught_by="test_each_direction_has_its_own_weight",
    advice="The prompt pins Jeffreys' divergence, the sum of both directions; this is half of it.",
)
def symmetric_kl(target, model):
    return (forward_kl(target, model) + reverse_kl(target, model)) / 2


@mistake(
    "jensen_shannon",
    replaces="symmetric_kl",
    caught_by="test_each_direction_has_its_own_weight",
    advice="This is the Jensen–Shannon divergence, to the mixture of both; Jeffreys' adds forward and reverse KL.",
)
def symmetric_kl(target, model):
    mixture = torch.stack([target, model]).logsumexp(0) - torch.tensor(2.0, dtype=target.dtype).log()
    return (kl_categorical(target, mixture) + kl_categorical(model, mixture)) / 2


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
    "gaussians_exchanged",
    replaces="kl_gaussian",
    caught_by="test_gaussian_closed_form",
    advice="The first Gaussian is the weight; lengths are measured in units of std2, the second one's deviation.",
)
def kl_gaussian(mu1, std1, mu2, std2):
    ratio = std2 / std1
    return (ratio**2 + ((mu1 - mu2) / std1) ** 2 - 1) / 2 - ratio.log()


@mistake(
    "sign_of_the_log",
    replaces="kl_gaussian",
    caught_by="test_gaussian_closed_form",
    advice="The logarithm is of std2/std1: a narrow first Gaussian is far from a wide second one.",
)
def kl_gaussian(mu1, std1, mu2, std2):
    ratio = std1 / std2
    return (ratio**2 + ((mu1 - mu2) / std2) ** 2 - 1) / 2 + ratio.log()


@mistake(
    "without_the_half",
    replaces="kl_gaussian",
    caught_by="test_gaussian_closed_form",
    advice="The −1/2 is missing: the KL of two equal Gaussians is 0.",
)
def kl_gaussian(mu1, std1, mu2, std2):
    ratio = std1 / std2
    return (ratio**2 + ((mu1 - mu2) / std2) ** 2) / 2 - ratio.log()


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
