"""Known wrong solutions, each with the advice that belongs to it."""

import torch

from grader.checking import mistake


def weighted(p, log_ratio):
    """Σ p·log_ratio over the outcomes with p > 0."""
    return (p * log_ratio.masked_fill(p == 0, 0.0)).sum(-1)


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


def in_reward(logp, k, reward, beta):
    """The right loss (V,) of place="reward"."""
    return -(reward - beta * k.detach()) * logp


def in_loss(logp, k, reward, beta):
    """The right loss (V,) of place="loss"."""
    return beta * k - reward * logp


def train(logits, ref_logp, reward, beta, lr, steps, *, place, kind, **pieces):
    """The experiment, of which a mistake may choose what weighs the outcomes, the estimate, a loss or the step."""
    piece = {"weight": torch.detach, "estimate": kl_estimate, "step": torch.clone}
    piece |= {"in_reward": in_reward, "in_loss": in_loss} | pieces
    if place not in ("reward", "loss"):
        raise ValueError(place)
    theta = logits.clone().requires_grad_()
    for _ in range(steps):
        logp = theta.log_softmax(-1)
        loss = piece[f"in_{place}"](logp, piece["estimate"](logp, ref_logp, kind), reward, beta)
        (grad,) = torch.autograd.grad((piece["weight"](logp.exp()) * loss).sum(), theta)
        theta = (theta - lr * piece["step"](grad)).detach().requires_grad_()
    return theta.detach().softmax(-1)


# ---- categorical


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
    "no_graph",
    replaces="kl_categorical",
    caught_by="test_gradient_survives_a_truncated_vocabulary",
    advice="The result carries no gradient: keep the computation in torch, outside no_grad and detach.",
)
def kl_categorical(logp, logq):
    return weighted(logp.exp(), logp - logq).detach()


@mistake(
    "upstream_on_the_wrong_axis",
    replaces="kl_categorical",
    caught_by="test_gradient_survives_a_truncated_vocabulary",
    advice="In a backward of your own the upstream gradient (...) needs a last axis before it meets (..., V).",
)
def kl_categorical(logp, logq):
    class WeightedLogRatio(torch.autograd.Function):
        @staticmethod
        def forward(ctx, logp, logq):
            p = logp.exp()
            ctx.p, ctx.log_ratio = p, (logp - logq).masked_fill(p == 0, 0.0)
            return (p * ctx.log_ratio).sum(-1)

        @staticmethod
        def backward(ctx, upstream):
            return upstream * ctx.p * (ctx.log_ratio + 1), -upstream * ctx.p

    return WeightedLogRatio.apply(logp, logq)


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


# ---- directions


@mistake(
    "directions_exchanged",
    replaces=("forward_kl", "reverse_kl"),
    caught_by="test_each_direction_has_its_own_weight",
    advice="Forward is KL(target‖model), weighted by the target; reverse is weighted by the model: exchange them.",
)
class Exchanged:
    @staticmethod
    def forward_kl(target, model):
        return kl_categorical(model, target)

    @staticmethod
    def reverse_kl(target, model):
        return kl_categorical(target, model)


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


# ---- gaussian


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


# ---- estimators


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
    "k1_made_positive",
    replaces="kl_estimate",
    caught_by="test_estimators_are_per_sample",
    advice="One sample's log-ratio has any sign; only its mean is ≥ 0. |d| is no estimate of the KL.",
)
def kl_estimate(logp, logq, kind):
    d = logp - logq
    return pick(kind, d.abs(), d**2 / 2, k3_of(-d))


@mistake(
    "k2_without_half",
    replaces="kl_estimate",
    caught_by="test_estimators_are_per_sample",
    advice="k2 is d²/2: without the half it is twice the KL of near policies.",
)
def kl_estimate(logp, logq, kind):
    d = logp - logq
    return pick(kind, d, d**2, k3_of(-d))


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
    "clamps_k2",
    replaces="kl_estimate",
    caught_by="test_estimators_are_per_sample",
    advice="Only k3 has an exponential to protect: clamped, k2 understates the drift of far-off tokens.",
)
def kl_estimate(logp, logq, kind):
    d = logp - logq
    return pick(kind, d, near(d) ** 2 / 2, k3_of(-d))


@mistake(
    "views_its_input",
    replaces="kl_estimate",
    caught_by="test_estimators_take_any_shape_and_strides",
    advice="view fails on non-contiguous tensors (RuntimeError); nothing needs to be reshaped here.",
)
def kl_estimate(logp, logq, kind):
    d = logp.view(-1) - logq.view(-1)
    return pick(kind, d, d**2 / 2, k3_of(-d)).view(logp.shape)


@mistake(
    "writes_into_its_input",
    replaces="kl_estimate",
    caught_by="test_estimators_take_any_shape_and_strides",
    advice="sub_ and -= overwrite the caller's log-probabilities; use `-`.",
)
def kl_estimate(logp, logq, kind):
    d = logp.sub_(logq)
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
    "clamps_one_of_two_uses",
    replaces="kl_estimate",
    caught_by="test_k3_clamps_the_log_ratio",
    advice="The clamped log-ratio belongs into both places: the linear term uses it too.",
)
def kl_estimate(logp, logq, kind):
    d = logp - logq
    return pick(kind, d, d**2 / 2, torch.expm1(near(-d)) + d)


@mistake(
    "clamps_the_exponential",
    replaces="kl_estimate",
    caught_by="test_k3_clamps_the_log_ratio",
    advice="Clamp before exp, not after: exp overflows first, and its backward multiplies the 0 of the clamp by inf.",
)
def kl_estimate(logp, logq, kind):
    d = logp - logq
    exponential = torch.expm1(-d).clamp(*torch.expm1(torch.tensor([-20.0, 20.0], dtype=d.dtype)).tolist())
    return pick(kind, d, d**2 / 2, exponential - near(-d))


@mistake(
    "unknown_kind_is_k3",
    replaces="kl_estimate",
    caught_by="test_other_kinds_are_refused",
    advice="Any kind but k1, k2 and k3 must raise ValueError: a typo would silently change the estimator.",
)
def kl_estimate(logp, logq, kind):
    d = logp - logq
    return {"k1": d, "k2": d**2 / 2}.get(kind, k3_of(-d))


# ---- sequence


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
    "mean_of_row_means",
    replaces="masked_sequence_kl",
    caught_by="test_sequence_and_token_means_differ",
    advice='"token" weighs all counted tokens of the batch alike; a mean of row means weighs short rows more.',
)
def masked_sequence_kl(logp, ref_logp, mask, kind, reduce):
    k, keep = kept(logp, ref_logp, mask, kind)
    return choose(reduce, k.sum(-1).mean(), (k.sum(-1) / keep.sum(-1).clamp(min=1)).mean())


@mistake(
    "divides_by_all_positions",
    replaces="masked_sequence_kl",
    caught_by="test_sequence_and_token_means_differ",
    advice='"token" divides by the number of counted tokens, not by B·T.',
)
def masked_sequence_kl(logp, ref_logp, mask, kind, reduce):
    k, _ = kept(logp, ref_logp, mask, kind)
    return choose(reduce, k.sum(-1).mean(), k.mean())


@mistake(
    "reductions_exchanged",
    replaces="masked_sequence_kl",
    caught_by="test_sequence_and_token_means_differ",
    advice='The two reductions are exchanged: "sequence" divides by the rows, "token" by the counted tokens.',
)
def masked_sequence_kl(logp, ref_logp, mask, kind, reduce):
    k, keep = kept(logp, ref_logp, mask, kind)
    return choose(reduce, k.sum() / keep.sum().clamp(min=1), k.sum(-1).mean())


@mistake(
    "mask_inverted",
    replaces="masked_sequence_kl",
    caught_by="test_sequence_and_token_means_differ",
    advice="1 counts the token: this counts the masked ones instead.",
)
def masked_sequence_kl(logp, ref_logp, mask, kind, reduce):
    return reduced(*kept(logp, ref_logp, ~mask.bool(), kind), reduce)


@mistake(
    "counts_masked_tokens",
    replaces="masked_sequence_kl",
    caught_by="test_sequence_and_token_means_differ",
    advice="Prompt and padding positions must not enter the sum: apply the mask.",
)
def masked_sequence_kl(logp, ref_logp, mask, kind, reduce):
    k = kl_estimate(logp, ref_logp, kind)
    return choose(reduce, k.sum(-1).mean(), k.mean())


@mistake(
    "inverts_integers",
    replaces="masked_sequence_kl",
    caught_by="test_masks_may_be_integers",
    advice="~ of an int64 1 is −2, which is true as well: make the mask bool before inverting it.",
)
def masked_sequence_kl(logp, ref_logp, mask, kind, reduce):
    return reduced(*kept(logp, ref_logp, ~(~mask).bool(), kind), reduce)


@mistake(
    "indexes_with_integers",
    replaces="masked_sequence_kl",
    caught_by="test_masks_may_be_integers",
    advice="logp[mask] picks rows 0 and 1 where the mask is int64; only a bool mask selects positions.",
)
def masked_sequence_kl(logp, ref_logp, mask, kind, reduce):
    k = kl_estimate(logp[mask], ref_logp[mask], kind)
    return choose(reduce, k.sum() / len(logp), k.sum() / max(k.numel(), 1))


@mistake(
    "multiplies_by_the_mask",
    replaces="masked_sequence_kl",
    caught_by="test_masked_positions_never_leak",
    advice="NaN·0 and inf·0 are NaN: choose with where before estimating, do not multiply.",
)
def masked_sequence_kl(logp, ref_logp, mask, kind, reduce):
    return reduced(kl_estimate(logp, ref_logp, kind) * mask, mask, reduce)


@mistake(
    "masks_after_estimating",
    replaces="masked_sequence_kl",
    caught_by="test_masked_positions_never_leak",
    advice="where on the estimate cleans the value, but its backward still runs through inf and NaN: mask the inputs.",
)
def masked_sequence_kl(logp, ref_logp, mask, kind, reduce):
    return reduced(torch.where(mask.bool(), kl_estimate(logp, ref_logp, kind), 0.0), mask, reduce)


@mistake(
    "drops_what_is_not_finite",
    replaces="masked_sequence_kl",
    caught_by="test_masked_positions_never_leak",
    advice="nan_to_num also drops a counted −inf, where the KL is infinite: mask by the mask, not by the values.",
)
def masked_sequence_kl(logp, ref_logp, mask, kind, reduce):
    clean = [torch.nan_to_num(x, 0.0, 0.0, 0.0) for x in (logp, ref_logp)]
    return reduced(*kept(*clean, mask, kind), reduce)


@mistake(
    "empty_batch_divides_by_zero",
    replaces="masked_sequence_kl",
    caught_by="test_empty_rows_count_as_zero",
    advice="A batch without counted tokens gives 0/0 = NaN: divide by max(count, 1).",
)
def masked_sequence_kl(logp, ref_logp, mask, kind, reduce):
    k, keep = kept(logp, ref_logp, mask, kind)
    return choose(reduce, k.sum(-1).mean(), k.sum() / keep.sum())


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
    "empty_batch_is_a_constant",
    replaces="masked_sequence_kl",
    caught_by="test_empty_rows_count_as_zero",
    advice="A constant 0 has no graph, so backward raises on a batch that counts nothing: let the masked sum be the 0.",
)
def masked_sequence_kl(logp, ref_logp, mask, kind, reduce):
    empty = choose(reduce, not mask.any(), not mask.any())
    return torch.zeros((), dtype=logp.dtype) if empty else reduced(*kept(logp, ref_logp, mask, kind), reduce)


@mistake(
    "unknown_reduce_is_token",
    replaces="masked_sequence_kl",
    caught_by="test_other_reductions_are_refused",
    advice='Any reduce but "sequence" and "token" must raise ValueError, whatever the mask counts.',
)
def masked_sequence_kl(logp, ref_logp, mask, kind, reduce):
    return reduced(*kept(logp, ref_logp, mask, kind), "sequence" if reduce == "sequence" else "token")


# ---- gradients


@mistake(
    "differentiates_the_expectation",
    replaces="kl_grad_experiment",
    caught_by="test_one_step_follows_the_exact_gradient",
    advice="Samples carry no gradient: detach the weights p, or you train on the exact KL whatever the estimator.",
)
def kl_grad_experiment(**problem):
    return train(**problem, weight=torch.clone)


@mistake(
    "penalty_in_reward_keeps_its_gradient",
    replaces="kl_grad_experiment",
    caught_by="test_one_step_follows_the_exact_gradient",
    advice="A reward is a number the rollout returned: detach k before it is subtracted from the reward.",
)
def kl_grad_experiment(**problem):
    def attached(logp, k, reward, beta):
        return -(reward - beta * k) * logp

    return train(**problem, in_reward=attached)


@mistake(
    "penalty_in_loss_loses_its_gradient",
    replaces="kl_grad_experiment",
    caught_by="test_one_step_follows_the_exact_gradient",
    advice="In the loss k is differentiated: detached, it is a constant and penalises nothing.",
)
def kl_grad_experiment(**problem):
    def detached(logp, k, reward, beta):
        return beta * k.detach() - reward * logp

    return train(**problem, in_loss=detached)


@mistake(
    "loss_without_beta",
    replaces="kl_grad_experiment",
    caught_by="test_one_step_follows_the_exact_gradient",
    advice="beta scales the penalty in the loss as well.",
)
def kl_grad_experiment(**problem):
    return train(**problem | {"beta": problem["beta"] if problem["place"] == "reward" else 1.0})


@mistake(
    "penalty_sign",
    replaces="kl_grad_experiment",
    caught_by="test_one_step_follows_the_exact_gradient",
    advice="The KL is subtracted from the reward and added to the loss; turned round it rewards drift.",
)
def kl_grad_experiment(**problem):
    return train(**problem | {"beta": -problem["beta"]})


@mistake(
    "estimator_roles_exchanged",
    replaces="kl_grad_experiment",
    caught_by="test_one_step_follows_the_exact_gradient",
    advice="Samples come from π, so log π is kl_estimate's first argument and ref_logp the second.",
)
def kl_grad_experiment(**problem):
    def exchanged(logp, ref_logp, kind):
        return kl_estimate(ref_logp, logp, kind)

    return train(**problem, estimate=exchanged)


@mistake(
    "always_k1_in_the_reward",
    replaces="kl_grad_experiment",
    caught_by="test_one_step_follows_the_exact_gradient",
    advice="place says where the penalty goes, kind says which estimator: the reward takes k2 and k3 too.",
)
def kl_grad_experiment(**problem):
    return train(**problem | {"kind": "k1" if problem["place"] == "reward" else problem["kind"]})


@mistake(
    "gradient_ascent",
    replaces="kl_grad_experiment",
    caught_by="test_one_step_follows_the_exact_gradient",
    advice="The reward already has its minus in the loss: descend, θ − lr·gradient.",
)
def kl_grad_experiment(**problem):
    return train(**problem | {"lr": -problem["lr"]})


@mistake(
    "clips_the_gradient",
    replaces="kl_grad_experiment",
    caught_by="test_one_step_follows_the_exact_gradient",
    advice="A step is lr times the whole gradient, however large the rewards: no clipping.",
)
def kl_grad_experiment(**problem):
    def clipped(grad):
        return grad.clamp(-1, 1)

    return train(**problem, step=clipped)


@mistake(
    "stale_samples",
    replaces="kl_grad_experiment",
    caught_by="test_later_steps_are_plain_gradient_descent",
    advice="The expectation is under the current policy: recompute p every step. Old samples need the ratio π/π_old.",
)
def kl_grad_experiment(**problem):
    old = problem["logits"].softmax(-1)
    return train(**problem, weight=lambda _p: old)


@mistake(
    "returns_the_fixed_point",
    replaces="kl_grad_experiment",
    caught_by="test_later_steps_are_plain_gradient_descent",
    advice="The fixed points are what training arrives at; take the steps that were asked for.",
)
def kl_grad_experiment(**problem):
    if problem["steps"] > 1 and (problem["kind"], problem["place"]) in (("k1", "reward"), ("k2", "loss")):
        return (problem["ref_logp"] + problem["reward"] / problem["beta"]).softmax(-1)
    return train(**problem)


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

    return train(**problem, estimate=unclamped)


@mistake(
    "stops_early",
    replaces="kl_grad_experiment",
    caught_by="test_fixed_points_tell_the_estimators_apart",
    advice="A small gradient is no reason to stop: take all the steps.",
)
def kl_grad_experiment(**problem):
    def until_small(grad):
        return grad * (grad.abs().max() > 1e-4)

    return train(**problem, step=until_small)


@mistake(
    "result_with_graph",
    replaces="kl_grad_experiment",
    caught_by="test_the_experiment_leaves_no_trace",
    advice="The result is asked for without gradient: detach θ before the last softmax.",
)
def kl_grad_experiment(**problem):
    return train(**problem).requires_grad_()


@mistake(
    "unknown_place_is_loss",
    replaces="kl_grad_experiment",
    caught_by="test_the_experiment_leaves_no_trace",
    advice='Any place but "reward" and "loss" must raise ValueError: a typo would silently move the penalty.',
)
def kl_grad_experiment(**problem):
    return train(**problem | {"place": "reward" if problem["place"] == "reward" else "loss"})


# ---- uses


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
    "ppo_with_k1",
    replaces="ppo_approx_kl",
    caught_by="test_ppo_kl_is_under_the_old_policy",
    advice="This is the mean of old − new, k1: right on average, but noisy and often negative. The prompt asks for k3.",
)
def ppo_approx_kl(new_logp, old_logp):
    with torch.no_grad():
        return (old_logp - new_logp).mean()


@mistake(
    "ppo_with_k2",
    replaces="ppo_approx_kl",
    caught_by="test_ppo_kl_is_under_the_old_policy",
    advice="This is the mean of k2, which is biased; the prompt asks for k3.",
)
def ppo_approx_kl(new_logp, old_logp):
    with torch.no_grad():
        return kl_estimate(old_logp, new_logp, "k2").mean()


@mistake(
    "ppo_summed",
    replaces="ppo_approx_kl",
    caught_by="test_ppo_kl_is_under_the_old_policy",
    advice="The statistic is the mean over all elements: a sum grows with the batch, and the threshold does not.",
)
def ppo_approx_kl(new_logp, old_logp):
    with torch.no_grad():
        return kl_estimate(old_logp, new_logp, "k3").sum()


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
    "dpo_without_reference",
    replaces="dpo_implicit_kl",
    caught_by="test_dpo_kl_is_that_of_its_optimum",
    advice="π* is π_ref·exp(reward/β)/Z: add ref_logp before you normalise.",
)
def dpo_implicit_kl(ref_logp, reward, beta):
    return kl_categorical((reward / beta).log_softmax(-1), ref_logp)


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
    "dpo_without_edges",
    replaces="dpo_implicit_kl",
    caught_by="test_dpo_kl_is_finite_for_any_reward",
    advice="Where ref_logp is −inf, log π* − ref_logp is NaN: kl_categorical settles that, the bare sum does not.",
)
def dpo_implicit_kl(ref_logp, reward, beta):
    optimum = (ref_logp + reward / beta).log_softmax(-1)
    return (optimum.exp() * (optimum - ref_logp)).sum(-1)


@mistake(
    "dpo_overflows",
    replaces="dpo_implicit_kl",
    caught_by="test_dpo_kl_is_finite_for_any_reward",
    advice="exp(reward/β) overflows for a small β: stay in log space and normalise with log_softmax.",
)
def dpo_implicit_kl(ref_logp, reward, beta):
    weights = ref_logp.exp() * (reward / beta).exp()
    return kl_from_probs(weights / weights.sum(-1, keepdim=True), ref_logp.exp())


@mistake(
    "dpo_shifts_by_the_best_reward",
    replaces="dpo_implicit_kl",
    caught_by="test_dpo_kl_is_finite_for_any_reward",
    advice="The best reward may stand where π_ref is 0; shifted by it everything else underflows. Add ref_logp first.",
)
def dpo_implicit_kl(ref_logp, reward, beta):
    weights = ref_logp.exp() * ((reward - reward.amax(-1, keepdim=True)) / beta).exp()
    return kl_from_probs(weights / weights.sum(-1, keepdim=True), ref_logp.exp())
