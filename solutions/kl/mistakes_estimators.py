"""Known wrong estimates from samples, each with the advice that belongs to it."""

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
    "writes_into_its_input",
    replaces="kl_estimate",
    caught_by="test_estimators_are_per_sample",
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
    "indexes_with_integers",
    replaces="masked_sequence_kl",
    caught_by="test_sequence_and_token_means_differ",
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
    caught_by="test_empty_rows_count_as_zero",
    advice='Any reduce but "sequence" and "token" must raise ValueError, whatever the mask counts.',
)
def masked_sequence_kl(logp, ref_logp, mask, kind, reduce):
    return reduced(*kept(logp, ref_logp, mask, kind), "sequence" if reduce == "sequence" else "token")
