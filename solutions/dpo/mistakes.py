"""Known wrong solutions, each with the advice that belongs to it."""
# ruff: noqa: F811, ARG001 — each takes the name it replaces, and what is unused is the mistake

import copy

import torch
import torch.nn.functional as F  # noqa: N812 — its usual name

from grader.checking import mistake


def every_token_logprob(logits, ids):
    """Shifted log-probabilities of all tokens but the first. -> (B, L-1)"""
    targets = ids[:, 1:].clamp(min=0).unsqueeze(-1)
    return logits[:, :-1].log_softmax(-1).gather(-1, targets).squeeze(-1)


def counted_logprob(logits, ids, counted):
    """The sum over the counted tokens, safe against what the others hold. -> (B,)"""
    clean = logits[:, :-1].masked_fill(~counted.unsqueeze(-1), 0.0)
    token_logps = clean.log_softmax(-1).gather(-1, ids[:, 1:].clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return token_logps.masked_fill(~counted, 0.0).sum(-1)


def total_or_mean(logits, ids, counted, average):
    total = counted_logprob(logits, ids, counted)
    return total / counted.sum(-1).clamp(min=1) if average else total


def both_sides(model, batch, average=False):
    """Log-probabilities of the chosen and of the rejected completions. -> two (N,)"""
    return [
        sequence_logprobs(model(batch[f"{side}_ids"]), batch[f"{side}_ids"], batch[f"{side}_mask"], average)
        for side in ("chosen", "rejected")
    ]


def frozen_logps(reference, batch, average=False):
    with torch.no_grad():
        return both_sides(reference.eval(), batch, average)


def metrics_of(loss, chosen, rejected):
    won = (chosen > rejected).double().mean().item()
    return {"loss": loss.item(), "accuracy": won, "margin": (chosen - rejected).mean().item()}


# ---- sequence log-probabilities


@mistake(
    "unshifted",
    replaces="sequence_logprobs",
    caught_by="test_logprobs_sum_the_completion_tokens",
    advice="The logits at position t predict the token at t + 1: pair `logits[:, :-1]` with `ids[:, 1:]`.",
)
def sequence_logprobs(logits, ids, completion_mask, average=False):
    counted = completion_mask.bool()
    token_logps = logits.log_softmax(-1).gather(-1, ids.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    total = torch.where(counted, token_logps, 0.0).sum(-1)
    return total / counted.sum(-1).clamp(min=1) if average else total


@mistake(
    "mask_unshifted",
    replaces="sequence_logprobs",
    caught_by="test_logprobs_sum_the_completion_tokens",
    advice="The mask marks tokens, so it shifts with the ids: `[:, 1:]`. "
    "With `[:, :-1]` the last prompt token counts and the EOS does not.",
)
def sequence_logprobs(logits, ids, completion_mask, average=False):
    return total_or_mean(logits, ids, completion_mask[:, :-1].bool(), average)


@mistake(
    "prompt_counted",
    replaces="sequence_logprobs",
    caught_by="test_logprobs_sum_the_completion_tokens",
    advice="The prompt's tokens are in the sum. log π(y|x) conditions on the prompt: count the completion alone.",
)
def sequence_logprobs(logits, ids, completion_mask, average=False):
    until_the_end = completion_mask.long().flip(1).cumsum(1).flip(1) > 0
    return total_or_mean(logits, ids, until_the_end[:, 1:], average)


@mistake(
    "padding_counted",
    replaces="sequence_logprobs",
    caught_by="test_logprobs_sum_the_completion_tokens",
    advice="Tokens after the completion are in the sum: padding counts where the mask is 0.",
)
def sequence_logprobs(logits, ids, completion_mask, average=False):
    from_the_start = completion_mask.long().cumsum(1) > 0
    return total_or_mean(logits, ids, from_the_start[:, 1:], average)


@mistake(
    "eos_excluded",
    replaces="sequence_logprobs",
    caught_by="test_logprobs_sum_the_completion_tokens",
    advice="The completion's last token is missing. The EOS belongs to it: without it a model never learns to stop.",
)
def sequence_logprobs(logits, ids, completion_mask, average=False):
    but_the_last = completion_mask.bool() & (completion_mask.long().flip(1).cumsum(1).flip(1) > 1)
    return total_or_mean(logits, ids, but_the_last[:, 1:], average)


@mistake(
    "hole_filled",
    replaces="sequence_logprobs",
    caught_by="test_logprobs_sum_the_completion_tokens",
    advice="A completion may have holes (another speaker's turn): take the mask token by token, not as one span.",
)
def sequence_logprobs(logits, ids, completion_mask, average=False):
    marks = completion_mask.long()
    span = (marks.cumsum(1) > 0) & (marks.flip(1).cumsum(1).flip(1) > 0)
    return total_or_mean(logits, ids, span[:, 1:], average)


@mistake(
    "always_averaged",
    replaces="sequence_logprobs",
    caught_by="test_logprobs_sum_the_completion_tokens",
    advice="This is the mean over the tokens. log π(y|x) is their sum; DPO's derivation needs it, only IPO averages.",
)
def sequence_logprobs(logits, ids, completion_mask, average=False):
    return total_or_mean(logits, ids, completion_mask[:, 1:].bool(), average=True)


@mistake(
    "averaged_over_all_positions",
    replaces="sequence_logprobs",
    caught_by="test_logprobs_average_over_completion_tokens",
    advice="The mean runs over all positions, prompt and padding included. Divide by the number of completion tokens.",
)
def sequence_logprobs(logits, ids, completion_mask, average=False):
    total = counted_logprob(logits, ids, completion_mask[:, 1:].bool())
    return total / (logits.shape[1] - 1) if average else total


@mistake(
    "first_token_in_the_count",
    replaces="sequence_logprobs",
    caught_by="test_logprobs_average_over_completion_tokens",
    advice="The sum skips the first token, which nothing predicts, the count does not: use `completion_mask[:, 1:]`.",
)
def sequence_logprobs(logits, ids, completion_mask, average=False):
    total = counted_logprob(logits, ids, completion_mask[:, 1:].bool())
    return total / completion_mask.sum(-1).clamp(min=1) if average else total


@mistake(
    "empty_row_divides_by_zero",
    replaces="sequence_logprobs",
    caught_by="test_logprobs_of_nothing_are_zero",
    advice="A row without completion tokens is 0/0 = NaN. Clamp the count at 1.",
)
def sequence_logprobs(logits, ids, completion_mask, average=False):
    counted = completion_mask[:, 1:].bool()
    total = counted_logprob(logits, ids, counted)
    return total / counted.sum(-1) if average else total


@mistake(
    "masked_by_product",
    replaces="sequence_logprobs",
    caught_by="test_logprobs_ignore_what_is_masked",
    advice="0 · NaN is NaN: multiplying by the mask lets garbage through. Select with `torch.where` or by index.",
)
def sequence_logprobs(logits, ids, completion_mask, average=False):
    counted = completion_mask[:, 1:]
    total = (every_token_logprob(logits, ids) * counted).sum(-1)
    return total / counted.sum(-1).clamp(min=1) if average else total


@mistake(
    "nan_in_the_gradient",
    replaces="sequence_logprobs",
    caught_by="test_logprobs_ignore_what_is_masked",
    advice="The value is right and the gradient is NaN: `torch.where` after the softmax sends 0 back into it, and "
    "0 · NaN is NaN. Keep masked logits out of the softmax.",
)
def sequence_logprobs(logits, ids, completion_mask, average=False):
    counted = completion_mask[:, 1:].bool()
    total = torch.where(counted, every_token_logprob(logits, ids), 0.0).sum(-1)
    return total / counted.sum(-1).clamp(min=1) if average else total


@mistake(
    "log_of_softmax",
    replaces="sequence_logprobs",
    caught_by="test_logprobs_stay_finite_at_extreme_logits",
    advice="softmax underflows to 0, and log 0 is −inf. Use `log_softmax`, which never leaves log space.",
)
def sequence_logprobs(logits, ids, completion_mask, average=False):
    counted = completion_mask[:, 1:].bool()
    probabilities = torch.where(counted.unsqueeze(-1), logits[:, :-1], 0.0).softmax(-1)
    targets = ids[:, 1:].clamp(min=0).unsqueeze(-1)
    total = torch.where(counted, probabilities.gather(-1, targets).squeeze(-1), 1.0).log().sum(-1)
    return total / counted.sum(-1).clamp(min=1) if average else total


@mistake(
    "ids_clamped_in_place",
    replaces="sequence_logprobs",
    caught_by="test_logprobs_gradient_and_untouched_inputs",
    advice="The caller's ids changed: `clamp_` on a slice writes into the whole. Make a new tensor.",
)
def sequence_logprobs(logits, ids, completion_mask, average=False):
    ids[:, 1:].clamp_(min=0)
    return total_or_mean(logits, ids, completion_mask[:, 1:].bool(), average)


@mistake(
    "mask_edited_in_place",
    replaces="sequence_logprobs",
    caught_by="test_logprobs_gradient_and_untouched_inputs",
    advice="The caller's mask changed: slice the first column off with `[:, 1:]` instead of writing zeros into it.",
)
def sequence_logprobs(logits, ids, completion_mask, average=False):
    completion_mask[:, 0] = 0
    return total_or_mean(logits, ids, completion_mask[:, 1:].bool(), average)


# ---- DPO


def dpo_result(logits, pc, pr, rc, rr, beta, label_smoothing, reduction):
    losses = -(1 - label_smoothing) * F.logsigmoid(logits) - label_smoothing * F.logsigmoid(-logits)
    return reduced(losses, reduction), beta * (pc - rc).detach(), beta * (pr - rr).detach()


def reduced(losses, reduction):
    by_name = {"none": lambda x: x, "mean": torch.mean, "sum": torch.sum}
    if reduction not in by_name:
        raise ValueError(reduction)
    return by_name[reduction](losses)


@mistake(
    "no_reference",
    replaces="dpo_loss",
    caught_by="test_dpo_loss_is_logistic_in_the_margin",
    advice="The margin compares log-ratios: subtract the reference model's log-probabilities from the policy's.",
)
def dpo_loss(pc, pr, rc, rr, beta, label_smoothing=0.0, reduction="mean"):
    return dpo_result(beta * (pc - pr), pc, pr, rc, rr, beta, label_smoothing, reduction)


@mistake(
    "reference_sides_swapped",
    replaces="dpo_loss",
    caught_by="test_dpo_loss_is_logistic_in_the_margin",
    advice="Each completion is compared with itself under the reference: rc belongs to pc, rr to pr. "
    "Here the reference's preference is added instead of subtracted.",
)
def dpo_loss(pc, pr, rc, rr, beta, label_smoothing=0.0, reduction="mean"):
    logits = beta * ((pc - rr.detach()) - (pr - rc.detach()))
    return dpo_result(logits, pc, pr, rc, rr, beta, label_smoothing, reduction)


@mistake(
    "preference_reversed",
    replaces="dpo_loss",
    caught_by="test_dpo_loss_is_logistic_in_the_margin",
    advice="The sign is reversed: this trains towards the rejected completion. The margin is chosen minus rejected.",
)
def dpo_loss(pc, pr, rc, rr, beta, label_smoothing=0.0, reduction="mean"):
    logits = beta * ((pr - rr.detach()) - (pc - rc.detach()))
    return dpo_result(logits, pc, pr, rc, rr, beta, label_smoothing, reduction)


@mistake(
    "beta_on_the_policy_only",
    replaces="dpo_loss",
    caught_by="test_dpo_loss_is_logistic_in_the_margin",
    advice="β scales the whole log-ratio, the reference's part as well.",
)
def dpo_loss(pc, pr, rc, rr, beta, label_smoothing=0.0, reduction="mean"):
    logits = beta * (pc - pr) - (rc - rr).detach()
    return dpo_result(logits, pc, pr, rc, rr, beta, label_smoothing, reduction)


@mistake(
    "sum_is_a_mean",
    replaces="dpo_loss",
    caught_by="test_dpo_loss_is_logistic_in_the_margin",
    advice='reduction="sum" has to add the losses up, and "none" to leave them alone; only "mean" is the mean.',
)
def dpo_loss(pc, pr, rc, rr, beta, label_smoothing=0.0, reduction="mean"):
    logits = beta * ((pc - pr) - (rc - rr).detach())
    reduction = "mean" if reduction == "sum" else reduction
    return dpo_result(logits, pc, pr, rc, rr, beta, label_smoothing, reduction)


@mistake(
    "rewards_without_beta",
    replaces="dpo_loss",
    caught_by="test_dpo_rewards_are_scaled_and_detached",
    advice="The implicit reward is β·(log π − log π_ref). Without β, runs of different β cannot be compared.",
)
def dpo_loss(pc, pr, rc, rr, beta, label_smoothing=0.0, reduction="mean"):
    logits = beta * ((pc - pr) - (rc - rr).detach())
    loss, *_ = dpo_result(logits, pc, pr, rc, rr, beta, label_smoothing, reduction)
    return loss, (pc - rc).detach(), (pr - rr).detach()


@mistake(
    "rewards_keep_the_graph",
    replaces="dpo_loss",
    caught_by="test_dpo_rewards_are_scaled_and_detached",
    advice="The rewards are for logging: detach them, or every logged value keeps a whole forward pass alive.",
)
def dpo_loss(pc, pr, rc, rr, beta, label_smoothing=0.0, reduction="mean"):
    logits = beta * ((pc - pr) - (rc - rr).detach())
    loss, *_ = dpo_result(logits, pc, pr, rc, rr, beta, label_smoothing, reduction)
    return loss, beta * (pc - rc.detach()), beta * (pr - rr.detach())


@mistake(
    "smoothing_swapped",
    replaces="dpo_loss",
    caught_by="test_dpo_label_smoothing_is_conservative",
    advice="The weights are swapped: ε is the chance that the label is wrong, so 1 − ε goes to the given preference.",
)
def dpo_loss(pc, pr, rc, rr, beta, label_smoothing=0.0, reduction="mean"):
    logits = beta * ((pc - pr) - (rc - rr).detach())
    if label_smoothing:
        label_smoothing = 1 - label_smoothing
    return dpo_result(logits, pc, pr, rc, rr, beta, label_smoothing, reduction)


@mistake(
    "smoothing_ignored",
    replaces="dpo_loss",
    caught_by="test_dpo_label_smoothing_is_conservative",
    advice="label_smoothing has no effect here: mix −log σ(βh) and −log σ(−βh) with weights 1 − ε and ε.",
)
def dpo_loss(pc, pr, rc, rr, beta, label_smoothing=0.0, reduction="mean"):
    logits = beta * ((pc - pr) - (rc - rr).detach())
    return dpo_result(logits, pc, pr, rc, rr, beta, 0.0, reduction)


@mistake(
    "robust_instead_of_conservative",
    replaces="dpo_loss",
    caught_by="test_dpo_label_smoothing_is_conservative",
    advice="This is robust DPO, which subtracts the flipped loss and divides by 1 − 2ε. Conservative DPO adds it, as "
    "cross-entropy with a soft label does.",
)
def dpo_loss(pc, pr, rc, rr, beta, label_smoothing=0.0, reduction="mean"):
    logits = beta * ((pc - pr) - (rc - rr).detach())
    losses = -(1 - label_smoothing) * F.logsigmoid(logits) + label_smoothing * F.logsigmoid(-logits)
    loss = reduced(losses / (1 - 2 * label_smoothing), reduction)
    return loss, beta * (pc - rc).detach(), beta * (pr - rr).detach()


@mistake(
    "log_of_sigmoid",
    replaces="dpo_loss",
    caught_by="test_dpo_stays_finite_at_large_margins",
    advice="log(sigmoid(x)) in two steps underflows to log 0 = −inf: use `F.logsigmoid`, or `softplus(−x)`.",
)
def dpo_loss(pc, pr, rc, rr, beta, label_smoothing=0.0, reduction="mean"):
    logits = beta * ((pc - pr) - (rc - rr).detach())
    losses = -torch.sigmoid(logits).log()
    if label_smoothing:
        losses = (1 - label_smoothing) * losses - label_smoothing * torch.sigmoid(-logits).log()
    return reduced(losses, reduction), beta * (pc - rc).detach(), beta * (pr - rr).detach()


@mistake(
    "gradient_into_the_reference",
    replaces="dpo_loss",
    caught_by="test_dpo_gradient_reaches_the_policy_only",
    advice="A gradient flows into rc and rr. The reference is a constant of the loss: detach its log-probabilities.",
)
def dpo_loss(pc, pr, rc, rr, beta, label_smoothing=0.0, reduction="mean"):
    logits = beta * ((pc - pr) - (rc - rr))
    return dpo_result(logits, pc, pr, rc, rr, beta, label_smoothing, reduction)


# ---- IPO


@mistake(
    "ipo_target_one_over_beta",
    replaces="ipo_loss",
    caught_by="test_ipo_regresses_the_gap_to_its_target",
    advice="The target of the gap is 1/(2β), half of what stands here.",
)
def ipo_loss(avg_pc, avg_pr, avg_rc, avg_rr, beta):
    return ((avg_pc - avg_pr) - (avg_rc - avg_rr).detach() - 1 / beta).square().mean()


@mistake(
    "ipo_scaled_by_beta",
    replaces="ipo_loss",
    caught_by="test_ipo_regresses_the_gap_to_its_target",
    advice="(βh − ½)² has the same optimum, but β² times the loss: regress h itself to 1/(2β).",
)
def ipo_loss(avg_pc, avg_pr, avg_rc, avg_rr, beta):
    return (beta * ((avg_pc - avg_pr) - (avg_rc - avg_rr).detach()) - 0.5).square().mean()


@mistake(
    "ipo_adds_up_the_pairs",
    replaces="ipo_loss",
    caught_by="test_ipo_regresses_the_gap_to_its_target",
    advice="The loss is the mean over the pairs, so that the step does not grow with the batch.",
)
def ipo_loss(avg_pc, avg_pr, avg_rc, avg_rr, beta):
    return ((avg_pc - avg_pr) - (avg_rc - avg_rr).detach() - 1 / (2 * beta)).square().sum()


# ---- KTO


def kto_value(policy_logps, ref_logps, is_desirable, z0, beta, w_d, w_u):
    """Losses of all N examples for a given baseline."""
    gain = beta * (policy_logps - ref_logps.detach() - z0)
    return torch.where(is_desirable, w_d * torch.sigmoid(-gain), w_u * torch.sigmoid(gain))


@mistake(
    "kto_weights_swapped",
    replaces="kto_loss",
    caught_by="test_kto_weighs_both_classes_against_one_baseline",
    advice="w_d belongs to the desirable completions, w_u to the undesirable ones.",
)
def kto_loss(policy_logps, ref_logps, is_desirable, kl_policy_logps, kl_ref_logps, beta, w_d=1.0, w_u=1.0):
    z0 = (kl_policy_logps - kl_ref_logps).mean().clamp(min=0).detach()
    return kto_value(policy_logps, ref_logps, is_desirable, z0, beta, w_u, w_d).mean()


@mistake(
    "kto_one_sign_for_both",
    replaces="kto_loss",
    caught_by="test_kto_weighs_both_classes_against_one_baseline",
    advice="An undesirable completion is pushed down: its argument is β(z0 − r), not β(r − z0).",
)
def kto_loss(policy_logps, ref_logps, is_desirable, kl_policy_logps, kl_ref_logps, beta, w_d=1.0, w_u=1.0):
    z0 = (kl_policy_logps - kl_ref_logps).mean().clamp(min=0).detach()
    gain = beta * (policy_logps - ref_logps.detach() - z0)
    return (torch.where(is_desirable, w_d, w_u) * torch.sigmoid(-gain)).mean()


@mistake(
    "kto_halves_per_class",
    replaces="kto_loss",
    caught_by="test_kto_weighs_both_classes_against_one_baseline",
    advice="The loss is one mean over all examples. The classes are balanced by w_d and w_u, not by a mean for each.",
)
def kto_loss(policy_logps, ref_logps, is_desirable, kl_policy_logps, kl_ref_logps, beta, w_d=1.0, w_u=1.0):
    z0 = (kl_policy_logps - kl_ref_logps).mean().clamp(min=0).detach()
    losses = kto_value(policy_logps, ref_logps, is_desirable, z0, beta, w_d, w_u)
    return (losses[is_desirable].mean() + losses[~is_desirable].mean()) / 2


@mistake(
    "kto_baseline_from_matched_pairs",
    replaces="kto_loss",
    caught_by="test_kto_baseline_is_clamped_and_constant",
    advice="z0 comes from the mismatched pairs (kl_*). The batch's own completions are what is judged against it.",
)
def kto_loss(policy_logps, ref_logps, is_desirable, kl_policy_logps, kl_ref_logps, beta, w_d=1.0, w_u=1.0):
    z0 = (policy_logps - ref_logps).mean().clamp(min=0).detach()
    return kto_value(policy_logps, ref_logps, is_desirable, z0, beta, w_d, w_u).mean()


@mistake(
    "kto_baseline_not_clamped",
    replaces="kto_loss",
    caught_by="test_kto_baseline_is_clamped_and_constant",
    advice="z0 estimates a KL divergence, which is never negative: clamp the mean at 0.",
)
def kto_loss(policy_logps, ref_logps, is_desirable, kl_policy_logps, kl_ref_logps, beta, w_d=1.0, w_u=1.0):
    z0 = (kl_policy_logps - kl_ref_logps).mean().detach()
    return kto_value(policy_logps, ref_logps, is_desirable, z0, beta, w_d, w_u).mean()


@mistake(
    "kto_clamped_before_the_mean",
    replaces="kto_loss",
    caught_by="test_kto_baseline_is_clamped_and_constant",
    advice="Clamp the mean, not each term: single log-ratios may be negative, and clamping them biases z0 upwards.",
)
def kto_loss(policy_logps, ref_logps, is_desirable, kl_policy_logps, kl_ref_logps, beta, w_d=1.0, w_u=1.0):
    z0 = (kl_policy_logps - kl_ref_logps).clamp(min=0).mean().detach()
    return kto_value(policy_logps, ref_logps, is_desirable, z0, beta, w_d, w_u).mean()


@mistake(
    "kto_gradient_through_the_baseline",
    replaces="kto_loss",
    caught_by="test_kto_baseline_is_clamped_and_constant",
    advice="z0 is a constant: detach it, or the model learns to move its baseline instead of its answers.",
)
def kto_loss(policy_logps, ref_logps, is_desirable, kl_policy_logps, kl_ref_logps, beta, w_d=1.0, w_u=1.0):
    z0 = (kl_policy_logps - kl_ref_logps).mean().clamp(min=0)
    return kto_value(policy_logps, ref_logps, is_desirable, z0, beta, w_d, w_u).mean()


@mistake(
    "kto_baseline_for_each_example",
    replaces="kto_loss",
    caught_by="test_kto_baseline_is_clamped_and_constant",
    advice="One z0 is shared by the whole batch: take the mean over the mismatched pairs before anything else.",
)
def kto_loss(policy_logps, ref_logps, is_desirable, kl_policy_logps, kl_ref_logps, beta, w_d=1.0, w_u=1.0):
    drift = (kl_policy_logps - kl_ref_logps).clamp(min=0).detach()
    z0 = drift[torch.arange(len(policy_logps)) % len(drift)]
    return kto_value(policy_logps, ref_logps, is_desirable, z0, beta, w_d, w_u).mean()


@mistake(
    "kto_empty_class_is_nan",
    replaces="kto_loss",
    caught_by="test_kto_takes_one_class_and_one_example",
    advice="The mean over an empty class is NaN, and 0 · NaN stays NaN. Take one mean over all examples.",
)
def kto_loss(policy_logps, ref_logps, is_desirable, kl_policy_logps, kl_ref_logps, beta, w_d=1.0, w_u=1.0):
    z0 = (kl_policy_logps - kl_ref_logps).mean().clamp(min=0).detach()
    losses = kto_value(policy_logps, ref_logps, is_desirable, z0, beta, w_d, w_u)
    share = is_desirable.to(losses.dtype).mean()
    return share * losses[is_desirable].mean() + (1 - share) * losses[~is_desirable].mean()


# ---- SafeDPO


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


@mistake(
    "safedpo_drops_unsafe_winners",
    replaces="safedpo_transform",
    caught_by="test_safedpo_transform_swaps_and_drops",
    advice="Only pairs that are unsafe on both sides are dropped; an unsafe winner with a safe loser is swapped.",
)
def safedpo_transform(pairs, unsafe_w, unsafe_l):
    kept = ~unsafe_w
    return pairs[kept], unsafe_w[kept], unsafe_l[kept]


@mistake(
    "safedpo_keeps_doubly_unsafe_pairs",
    replaces="safedpo_transform",
    caught_by="test_safedpo_transform_swaps_and_drops",
    advice="A pair that is unsafe on both sides has no winner to learn from: drop it.",
)
def safedpo_transform(pairs, unsafe_w, unsafe_l):
    swapped = unsafe_w & ~unsafe_l
    pairs = torch.where(swapped[:, None, None], pairs.flip(1), pairs)
    return pairs, torch.where(swapped, unsafe_l, unsafe_w), torch.where(swapped, unsafe_w, unsafe_l)


@mistake(
    "safedpo_offset_sign",
    replaces="safedpo_loss",
    caught_by="test_safedpo_loss_offsets_unsafe_losers",
    advice="The offset is subtracted: against an unsafe loser the winner has to be ahead by Δ more, not by Δ less.",
)
def safedpo_loss(pc, pr, rc, rr, unsafe_w, unsafe_l, beta, delta):
    offset = delta * (unsafe_l.to(pc.dtype) - unsafe_w.to(pc.dtype))
    return -F.logsigmoid(beta * ((pc - pr) - (rc - rr).detach()) + offset).sum() / max(len(pc), 1)


@mistake(
    "safedpo_offset_times_beta",
    replaces="safedpo_loss",
    caught_by="test_safedpo_loss_offsets_unsafe_losers",
    advice="Δ is in units of reward: subtract it from βh, outside the product with β.",
)
def safedpo_loss(pc, pr, rc, rr, unsafe_w, unsafe_l, beta, delta):
    offset = delta * (unsafe_l.to(pc.dtype) - unsafe_w.to(pc.dtype))
    return -F.logsigmoid(beta * ((pc - pr) - (rc - rr).detach() - offset)).sum() / max(len(pc), 1)


@mistake(
    "safedpo_offset_for_every_pair",
    replaces="safedpo_loss",
    caught_by="test_safedpo_loss_offsets_unsafe_losers",
    advice="Δ applies where safety differs: its factor is u_l − u_w, which is 0 for two safe completions.",
)
def safedpo_loss(pc, pr, rc, rr, unsafe_w, unsafe_l, beta, delta):
    return -F.logsigmoid(beta * ((pc - pr) - (rc - rr).detach()) - delta).sum() / max(len(pc), 1)


@mistake(
    "safedpo_mean_of_nothing",
    replaces="safedpo_loss",
    caught_by="test_safedpo_survives_a_batch_without_pairs",
    advice="The transform may drop every pair of a batch, and the mean of nothing is NaN: return 0 then.",
)
def safedpo_loss(pc, pr, rc, rr, unsafe_w, unsafe_l, beta, delta):
    offset = delta * (unsafe_l.to(pc.dtype) - unsafe_w.to(pc.dtype))
    return -F.logsigmoid(beta * ((pc - pr) - (rc - rr).detach()) - offset).mean()


# ---- training


def descend(policy, loss_of, lr, steps):
    """Plain SGD on what `loss_of()` returns: loss, chosen and rejected rewards."""
    optimizer, history = torch.optim.SGD(policy.parameters(), lr=lr), []
    for _ in range(steps):
        loss, chosen, rejected = loss_of()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(metrics_of(loss, chosen, rejected))
    return history


def loss_and_rewards(now, frozen, beta, loss_type):
    loss, *rewards = dpo_loss(*now, *frozen, beta)
    return (ipo_loss(*now, *frozen, beta) if loss_type == "ipo" else loss), *rewards


@mistake(
    "reference_is_the_policy",
    replaces="train_dpo",
    caught_by="test_train_reports_metrics_of_each_step",
    advice="The reference's log-probabilities come from the policy itself: the margin is always 0 and the loss log 2, "
    "while the weights still move. Ask the frozen model.",
)
def train_dpo(policy, reference, batch, beta, lr, steps, loss_type="dpo"):
    def loss_of():
        average = loss_type == "ipo"
        return loss_and_rewards(
            both_sides(policy, batch, average), frozen_logps(policy, batch, average), beta, loss_type
        )

    return descend(policy, loss_of, lr, steps)


@mistake(
    "dpo_on_averages",
    replaces="train_dpo",
    caught_by="test_train_reaches_the_optimum_of_dpo",
    advice="DPO is trained on averaged log-probabilities here. Sum them: only then is the optimum π_ref · exp(r/β)/Z.",
)
def train_dpo(policy, reference, batch, beta, lr, steps, loss_type="dpo"):
    frozen = frozen_logps(reference, batch, average=True)
    return descend(
        policy, lambda: loss_and_rewards(both_sides(policy, batch, average=True), frozen, beta, loss_type), lr, steps
    )


@mistake(
    "ipo_on_sums",
    replaces="train_dpo",
    caught_by="test_train_reaches_the_target_of_ipo",
    advice="IPO gets DPO's summed log-probabilities. Average them per token, or its target depends on the length.",
)
def train_dpo(policy, reference, batch, beta, lr, steps, loss_type="dpo"):
    frozen = frozen_logps(reference, batch)
    return descend(policy, lambda: loss_and_rewards(both_sides(policy, batch), frozen, beta, loss_type), lr, steps)


@mistake(
    "reference_every_step",
    replaces="train_dpo",
    caught_by="test_train_asks_the_reference_once",
    advice="The reference never changes, so neither do its log-probabilities: compute them once, before the loop.",
)
def train_dpo(policy, reference, batch, beta, lr, steps, loss_type="dpo"):
    def loss_of():
        average = loss_type == "ipo"
        now, frozen = both_sides(policy, batch, average), frozen_logps(reference, batch, average)
        return loss_and_rewards(now, frozen, beta, loss_type)

    return descend(policy, loss_of, lr, steps)


@mistake(
    "reference_in_train_mode",
    replaces="train_dpo",
    caught_by="test_train_freezes_the_reference",
    advice="The reference ran with dropout: `no_grad` does not switch it off, `eval()` does.",
)
def train_dpo(policy, reference, batch, beta, lr, steps, loss_type="dpo"):
    average = loss_type == "ipo"
    with torch.no_grad():
        frozen = both_sides(reference, batch, average)
    return descend(
        policy, lambda: loss_and_rewards(both_sides(policy, batch, average), frozen, beta, loss_type), lr, steps
    )


@mistake(
    "reference_is_trained",
    replaces="train_dpo",
    caught_by="test_train_freezes_the_reference",
    advice="The reference's weights moved: compute its log-probabilities under `torch.no_grad()`, and give the "
    "optimizer the policy's parameters alone.",
)
def train_dpo(policy, reference, batch, beta, lr, steps, loss_type="dpo"):
    reference.eval()

    def loss_of():
        (pc, pr), (rc, rr) = both_sides(policy, batch), both_sides(reference, batch)
        loss = -F.logsigmoid(beta * ((pc - rc) - (pr - rr))).mean()
        return loss, beta * (pc - rc).detach(), beta * (pr - rr).detach()

    return descend(torch.nn.ModuleList([policy, reference]), loss_of, lr, steps)


@mistake(
    "gradients_pile_up",
    replaces="train_dpo",
    caught_by="test_train_reports_metrics_of_each_step",
    advice="The gradients of earlier steps are still there: call `optimizer.zero_grad()` before each backward.",
)
def train_dpo(policy, reference, batch, beta, lr, steps, loss_type="dpo"):
    average = loss_type == "ipo"
    frozen = frozen_logps(reference, batch, average)
    optimizer, history = torch.optim.SGD(policy.parameters(), lr=lr), []
    for _ in range(steps):
        loss, *rewards = loss_and_rewards(both_sides(policy, batch, average), frozen, beta, loss_type)
        loss.backward()
        optimizer.step()
        history.append(metrics_of(loss, *rewards))
    return history


@mistake(
    "ties_count_as_wins",
    replaces="train_dpo",
    caught_by="test_train_reports_metrics_of_each_step",
    advice="Equal rewards are no win: with `>=` an untrained policy, equal to its reference, has accuracy 1.",
)
def train_dpo(policy, reference, batch, beta, lr, steps, loss_type="dpo"):
    average = loss_type == "ipo"
    frozen, rewards = frozen_logps(reference, batch, average), []

    def loss_of():
        loss, *now = loss_and_rewards(both_sides(policy, batch, average), frozen, beta, loss_type)
        rewards.append(now)
        return loss, *now

    history = descend(policy, loss_of, lr, steps)
    wins = [(chosen >= rejected).double().mean().item() for chosen, rejected in rewards]
    return [metrics | {"accuracy": won} for metrics, won in zip(history, wins, strict=True)]


@mistake(
    "metrics_after_the_update",
    replaces="train_dpo",
    caught_by="test_train_reports_metrics_of_each_step",
    advice="These metrics were measured after the update. Report those of the forward pass that the step was made "
    "from: they cost nothing, and the first row says where you started.",
)
def train_dpo(policy, reference, batch, beta, lr, steps, loss_type="dpo"):
    average = loss_type == "ipo"
    frozen, history = frozen_logps(reference, batch, average), []
    for _ in range(steps):
        descend(
            policy, lambda: loss_and_rewards(both_sides(policy, batch, average), frozen, beta, loss_type), lr, steps=1
        )
        history.append(metrics_of(*loss_and_rewards(both_sides(policy, batch, average), frozen, beta, loss_type)))
    return history


@mistake(
    "trains_a_copy",
    replaces="train_dpo",
    caught_by="test_train_reaches_the_optimum_of_dpo",
    advice="The policy that was passed in has not changed: train it in place, not a copy of it.",
)
def train_dpo(policy, reference, batch, beta, lr, steps, loss_type="dpo"):
    average = loss_type == "ipo"
    frozen, student = frozen_logps(reference, batch, average), copy.deepcopy(policy)
    return descend(
        student, lambda: loss_and_rewards(both_sides(student, batch, average), frozen, beta, loss_type), lr, steps
    )


@mistake(
    "repeated_pairs_removed",
    replaces="train_dpo",
    caught_by="test_train_reaches_the_optimum_of_dpo",
    advice="Repeated pairs were dropped. How often one completion beats another is what the reward is estimated from: "
    "keep every row.",
)
def train_dpo(policy, reference, batch, beta, lr, steps, loss_type="dpo"):
    average = loss_type == "ipo"
    rows = torch.cat([batch[key].long() for key in sorted(batch)], dim=1)
    first = [i for i, row in enumerate(rows.tolist()) if row not in rows[:i].tolist()]
    batch = {key: value[first] for key, value in batch.items()}
    frozen = frozen_logps(reference, batch, average)
    return descend(
        policy, lambda: loss_and_rewards(both_sides(policy, batch, average), frozen, beta, loss_type), lr, steps
    )
