"""Known wrong solutions, each with the advice that belongs to it."""

import torch

from grader.checking import mistake


def counted_logprob(logits, ids, counted):
    """The sum over the counted tokens, safe against what the others hold. -> (B,)"""
    clean = logits[:, :-1].masked_fill(~counted.unsqueeze(-1), 0.0)
    targets = ids[:, 1:].masked_fill(~counted, 0).unsqueeze(-1)
    return clean.log_softmax(-1).gather(-1, targets).squeeze(-1).masked_fill(~counted, 0.0).sum(-1)


def total_or_mean(logits, ids, counted, average):
    total = counted_logprob(logits, ids, counted)
    return total / counted.sum(-1).clamp(min=1) if average else total


@mistake(
    "unshifted",
    replaces="sequence_logprobs",
    caught_by="test_logprobs_sum_the_completion_tokens",
    advice="The logits at position t predict the token at t + 1: pair `logits[:, :-1]` with `ids[:, 1:]`.",
)
def sequence_logprobs(logits, ids, completion_mask, average=False):
    counted = completion_mask.bool()
    token_logps = logits.log_softmax(-1).gather(-1, ids.masked_fill(~counted, 0).unsqueeze(-1)).squeeze(-1)
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


def every_token_logprob(logits, ids):
    """Shifted log-probabilities of all tokens but the first. -> (B, L-1)"""
    targets = ids[:, 1:].clamp(min=0).unsqueeze(-1)
    return logits[:, :-1].log_softmax(-1).gather(-1, targets).squeeze(-1)


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
    logps = torch.where(counted.unsqueeze(-1), logits[:, :-1], 0.0).softmax(-1).log()
    targets = ids[:, 1:].masked_fill(~counted, 0).unsqueeze(-1)
    total = logps.gather(-1, targets).squeeze(-1).masked_fill(~counted, 0.0).sum(-1)
    return total / counted.sum(-1).clamp(min=1) if average else total


def dpo_result(losses, reduction, beta, pc, pr, rc, rr):
    """What `dpo_loss` returns for these losses (N,)."""
    return _reduce(losses, reduction), beta * (pc - rc).detach(), beta * (pr - rr).detach()


def smoothed(logits, label_smoothing):
    return -(1 - label_smoothing) * F.logsigmoid(logits) - label_smoothing * F.logsigmoid(-logits)


@mistake(
    "no_reference",
    replaces="dpo_loss",
    caught_by="test_dpo_loss_is_logistic_in_the_margin",
    advice="The margin compares log-ratios: subtract the reference model's log-probabilities from the policy's.",
)
def dpo_loss(pc, pr, rc, rr, beta, label_smoothing=0.0, reduction="mean"):
    return dpo_result(smoothed(beta * (pc - pr), label_smoothing), reduction, beta, pc, pr, rc, rr)


@mistake(
    "reference_sides_swapped",
    replaces="dpo_loss",
    caught_by="test_dpo_loss_is_logistic_in_the_margin",
    advice="Each completion is compared with itself under the reference: rc belongs to pc, rr to pr. "
    "Here the reference's preference is added instead of subtracted.",
)
def dpo_loss(pc, pr, rc, rr, beta, label_smoothing=0.0, reduction="mean"):
    losses = smoothed(beta * _log_ratio_gap(pc, pr, rr, rc), label_smoothing)
    return dpo_result(losses, reduction, beta, pc, pr, rc, rr)


@mistake(
    "sum_is_a_mean",
    replaces="_reduce",
    caught_by="test_dpo_loss_is_logistic_in_the_margin",
    advice='reduction="sum" has to add the losses up, and "none" to leave them alone; only "mean" is the mean.',
)
def _reduce(losses, reduction):
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(reduction)
    return losses if reduction == "none" else losses.mean()


@mistake(
    "rewards_without_beta",
    replaces="dpo_loss",
    caught_by="test_dpo_rewards_are_scaled_and_detached",
    advice="The implicit reward is β·(log π − log π_ref). Without β, runs of different β cannot be compared.",
)
def dpo_loss(pc, pr, rc, rr, beta, label_smoothing=0.0, reduction="mean"):
    losses = smoothed(beta * _log_ratio_gap(pc, pr, rc, rr), label_smoothing)
    return dpo_result(losses, reduction, 1.0, pc, pr, rc, rr)


@mistake(
    "rewards_keep_the_graph",
    replaces="dpo_loss",
    caught_by="test_dpo_rewards_are_scaled_and_detached",
    advice="The rewards are for logging: detach them, or every logged value keeps a whole forward pass alive.",
)
def dpo_loss(pc, pr, rc, rr, beta, label_smoothing=0.0, reduction="mean"):
    losses = smoothed(beta * _log_ratio_gap(pc, pr, rc, rr), label_smoothing)
    return _reduce(losses, reduction), beta * (pc - rc.detach()), beta * (pr - rr.detach())


@mistake(
    "smoothing_halved",
    replaces="dpo_loss",
    caught_by="test_dpo_label_smoothing_is_conservative",
    advice="The weights are 1 − ε and ε. Here they are 1 − ε/2 and ε/2: a classifier's label smoothing, which "
    "spreads ε over both classes.",
)
def dpo_loss(pc, pr, rc, rr, beta, label_smoothing=0.0, reduction="mean"):
    losses = smoothed(beta * _log_ratio_gap(pc, pr, rc, rr), label_smoothing / 2)
    return dpo_result(losses, reduction, beta, pc, pr, rc, rr)


@mistake(
    "robust_instead_of_conservative",
    replaces="dpo_loss",
    caught_by="test_dpo_label_smoothing_is_conservative",
    advice="This is robust DPO, which subtracts the flipped loss and divides by 1 − 2ε. Conservative DPO adds it, as "
    "cross-entropy with a soft label does.",
)
def dpo_loss(pc, pr, rc, rr, beta, label_smoothing=0.0, reduction="mean"):
    logits = beta * _log_ratio_gap(pc, pr, rc, rr)
    losses = -(1 - label_smoothing) * F.logsigmoid(logits) + label_smoothing * F.logsigmoid(-logits)
    return dpo_result(losses / (1 - 2 * label_smoothing), reduction, beta, pc, pr, rc, rr)


@mistake(
    "log_of_sigmoid",
    replaces="dpo_loss",
    caught_by="test_dpo_stays_finite_at_large_margins",
    advice="log(sigmoid(x)) in two steps underflows to log 0 = −inf, and log(1 + exp(−x)) overflows: use "
    "`F.logsigmoid`, or `softplus(−x)`.",
)
def dpo_loss(pc, pr, rc, rr, beta, label_smoothing=0.0, reduction="mean"):
    logits = beta * _log_ratio_gap(pc, pr, rc, rr)
    losses = -(1 - label_smoothing) * logits.sigmoid().log() - label_smoothing * (-logits).sigmoid().log()
    return dpo_result(losses, reduction, beta, pc, pr, rc, rr)


@mistake(
    "gradient_into_the_reference",
    replaces="dpo_loss",
    caught_by="test_dpo_gradient_reaches_the_policy_only",
    advice="A gradient flows into rc and rr. The reference is a constant of the loss: detach its log-probabilities.",
)
def dpo_loss(pc, pr, rc, rr, beta, label_smoothing=0.0, reduction="mean"):
    losses = smoothed(beta * ((pc - pr) - (rc - rr)), label_smoothing)
    return dpo_result(losses, reduction, beta, pc, pr, rc, rr)


@mistake(
    "ipo_target_one_over_beta",
    replaces="ipo_loss",
    caught_by="test_ipo_regresses_the_gap_to_its_target",
    advice="The target of the gap is 1/(2β), half of what stands here.",
)
def ipo_loss(avg_pc, avg_pr, avg_rc, avg_rr, beta):
    return (_log_ratio_gap(avg_pc, avg_pr, avg_rc, avg_rr) - 1 / beta).square().mean()


@mistake(
    "ipo_gradient_into_the_reference",
    replaces="ipo_loss",
    caught_by="test_ipo_gradient_reaches_the_policy_only",
    advice="A gradient flows into avg_rc and avg_rr. The reference is a constant here as in DPO: detach them.",
)
def ipo_loss(avg_pc, avg_pr, avg_rc, avg_rr, beta):
    return ((avg_pc - avg_pr) - (avg_rc - avg_rr) - 1 / (2 * beta)).square().mean()
