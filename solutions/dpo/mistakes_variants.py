"""Known wrong solutions of KTO and SafeDPO, each with the advice that belongs to it."""

import torch

from grader.checking import mistake


def kto_baseline(kl_policy_logps, kl_ref_logps):
    return (kl_policy_logps - kl_ref_logps).mean().clamp(min=0).detach()


def kto_losses(policy_logps, ref_logps, is_desirable, z0, beta, w_d, w_u):
    """Losses of all N examples for a given baseline."""
    gain = beta * (policy_logps - ref_logps.detach() - z0)
    return torch.where(is_desirable, w_d * torch.sigmoid(-gain), w_u * torch.sigmoid(gain))


@mistake(
    "kto_weight_for_the_desirable_only",
    replaces="kto_loss",
    caught_by="test_kto_weighs_both_classes_against_one_baseline",
    advice="w_u has no effect here: w_d belongs to the desirable completions, w_u to the undesirable ones.",
)
def kto_loss(policy_logps, ref_logps, is_desirable, kl_policy_logps, kl_ref_logps, beta, w_d=1.0, w_u=1.0):
    z0 = kto_baseline(kl_policy_logps, kl_ref_logps)
    return kto_losses(policy_logps, ref_logps, is_desirable, z0, beta, w_d, 1.0).mean()


@mistake(
    "kto_halves_per_class",
    replaces="kto_loss",
    caught_by="test_kto_weighs_both_classes_against_one_baseline",
    advice="The loss is one mean over all examples. The classes are balanced by w_d and w_u, not by a mean for each, "
    "which is NaN for a class that is empty.",
)
def kto_loss(policy_logps, ref_logps, is_desirable, kl_policy_logps, kl_ref_logps, beta, w_d=1.0, w_u=1.0):
    z0 = kto_baseline(kl_policy_logps, kl_ref_logps)
    losses = kto_losses(policy_logps, ref_logps, is_desirable, z0, beta, w_d, w_u)
    return (losses[is_desirable].mean() + losses[~is_desirable].mean()) / 2


@mistake(
    "kto_baseline_for_the_desirable_only",
    replaces="kto_loss",
    caught_by="test_kto_weighs_both_classes_against_one_baseline",
    advice="Undesirable completions are judged against the same z0: their argument is β(z0 − g), not −βg.",
)
def kto_loss(policy_logps, ref_logps, is_desirable, kl_policy_logps, kl_ref_logps, beta, w_d=1.0, w_u=1.0):
    z0 = torch.where(is_desirable, kto_baseline(kl_policy_logps, kl_ref_logps), 0.0)
    return kto_losses(policy_logps, ref_logps, is_desirable, z0, beta, w_d, w_u).mean()


@mistake(
    "kto_baseline_not_clamped",
    replaces="kto_loss",
    caught_by="test_kto_baseline_is_clamped_and_constant",
    advice="z0 estimates a KL divergence, which is never negative: clamp the mean at 0.",
)
def kto_loss(policy_logps, ref_logps, is_desirable, kl_policy_logps, kl_ref_logps, beta, w_d=1.0, w_u=1.0):
    z0 = (kl_policy_logps - kl_ref_logps).mean().detach()
    return kto_losses(policy_logps, ref_logps, is_desirable, z0, beta, w_d, w_u).mean()


@mistake(
    "kto_gradient_through_the_baseline",
    replaces="kto_loss",
    caught_by="test_kto_baseline_is_clamped_and_constant",
    advice="z0 is a constant: detach it, or the model learns to move its baseline instead of its answers.",
)
def kto_loss(policy_logps, ref_logps, is_desirable, kl_policy_logps, kl_ref_logps, beta, w_d=1.0, w_u=1.0):
    z0 = (kl_policy_logps - kl_ref_logps).mean().clamp(min=0)
    return kto_losses(policy_logps, ref_logps, is_desirable, z0, beta, w_d, w_u).mean()


@mistake(
    "kto_sigmoid_by_hand",
    replaces="kto_loss",
    caught_by="test_kto_survives_one_class_and_large_gains",
    advice="exp(x) / (1 + exp(x)) is inf / inf = NaN from x = 89 on in float32: use `torch.sigmoid`.",
)
def kto_loss(policy_logps, ref_logps, is_desirable, kl_policy_logps, kl_ref_logps, beta, w_d=1.0, w_u=1.0):
    gain = beta * (policy_logps - ref_logps.detach() - kto_baseline(kl_policy_logps, kl_ref_logps))
    odds = torch.where(is_desirable, gain, -gain).exp()
    return (torch.where(is_desirable, w_d, w_u).to(gain.dtype) * (1 - odds / (1 + odds))).mean()


@mistake(
    "safedpo_without_swap",
    replaces="safedpo_transform",
    caught_by="test_safedpo_transform_swaps_and_drops",
    advice="An unsafe winner against a safe loser is not left alone: the safe one becomes the winner.",
)
def safedpo_transform(pairs, unsafe_w, unsafe_l):
    kept = ~(unsafe_w & unsafe_l)
    return pairs[kept], unsafe_w[kept], unsafe_l[kept]


@mistake(
    "safedpo_flags_left_behind",
    replaces="safedpo_transform",
    caught_by="test_safedpo_transform_swaps_and_drops",
    advice="The completions were swapped and their flags were not: after the transform every winner is safe.",
)
def safedpo_transform(pairs, unsafe_w, unsafe_l):
    kept = ~(unsafe_w & unsafe_l)
    swapped = (unsafe_w & ~unsafe_l)[:, None, None]
    return torch.where(swapped, pairs.flip(1), pairs)[kept], unsafe_w[kept], unsafe_l[kept]


transformed = safedpo_transform


@mistake(
    "safedpo_hands_the_inputs_back",
    replaces="safedpo_transform",
    caught_by="test_safedpo_transform_returns_new_tensors",
    advice="Where there is nothing to swap or drop, the caller's own tensors come back: who edits the result edits the "
    "data set. Return copies.",
)
def safedpo_transform(pairs, unsafe_w, unsafe_l):
    inputs = pairs, unsafe_w, unsafe_l
    return transformed(*inputs) if unsafe_w.any() else inputs


def safedpo_logits(pc, pr, rc, rr, unsafe_w, unsafe_l, beta, delta):
    return beta * _log_ratio_gap(pc, pr, rc, rr) - delta * (unsafe_l.to(pc.dtype) - unsafe_w.to(pc.dtype))


@mistake(
    "safedpo_offset_of_the_loser_only",
    replaces="safedpo_loss",
    caught_by="test_safedpo_loss_offsets_unsafe_losers",
    advice="The offset's factor is u_l − u_w, which is 0 for two unsafe completions and −1 for an unsafe winner.",
)
def safedpo_loss(pc, pr, rc, rr, unsafe_w, unsafe_l, beta, delta):
    logits = beta * _log_ratio_gap(pc, pr, rc, rr) - delta * unsafe_l.to(pc.dtype)
    return -F.logsigmoid(logits).sum() / max(len(pc), 1)


@mistake(
    "safedpo_offset_times_beta",
    replaces="safedpo_loss",
    caught_by="test_safedpo_loss_offsets_unsafe_losers",
    advice="Δ is in units of reward: subtract it from βh, outside the product with β.",
)
def safedpo_loss(pc, pr, rc, rr, unsafe_w, unsafe_l, beta, delta):
    logits = safedpo_logits(pc, pr, rc, rr, unsafe_w, unsafe_l, beta, beta * delta)
    return -F.logsigmoid(logits).sum() / max(len(pc), 1)


@mistake(
    "safedpo_mean_of_nothing",
    replaces="safedpo_loss",
    caught_by="test_safedpo_survives_no_pairs_and_large_margins",
    advice="The transform may drop every pair of a batch, and the mean of nothing is NaN: return 0 then.",
)
def safedpo_loss(pc, pr, rc, rr, unsafe_w, unsafe_l, beta, delta):
    return -F.logsigmoid(safedpo_logits(pc, pr, rc, rr, unsafe_w, unsafe_l, beta, delta)).mean()


@mistake(
    "safedpo_log_of_sigmoid",
    replaces="safedpo_loss",
    caught_by="test_safedpo_survives_no_pairs_and_large_margins",
    advice="log(sigmoid(x)) in two steps underflows to log 0 = −inf: use `F.logsigmoid`, or `softplus(−x)`.",
)
def safedpo_loss(pc, pr, rc, rr, unsafe_w, unsafe_l, beta, delta):
    logits = safedpo_logits(pc, pr, rc, rr, unsafe_w, unsafe_l, beta, delta)
    return -logits.sigmoid().log().sum() / max(len(pc), 1)
