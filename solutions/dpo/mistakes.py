"""Known wrong solutions, each with the advice that belongs to it."""

import torch

from grader.checking import mistake


def counted_logprob(logits, ids, counted):
    """The sum over the counted tokens, safe against what the others hold. -> (B,)"""
    clean = logits[:, :-1].masked_fill(~counted.unsqueeze(-1), 0.0)
    targets = ids[:, 1:].masked_fill(~counted, 0).unsqueeze(-1)
    return clean.log_softmax(-1).gather(-1, targets).squeeze(-1).masked_fill(~counted, 0.0).sum(-1)


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
    counted = completion_mask[:, :-1].bool()
    total = counted_logprob(logits, ids, counted)
    return total / counted.sum(-1).clamp(min=1) if average else total


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
    "nan_in_the_gradient",
    replaces="sequence_logprobs",
    caught_by="test_logprobs_ignore_what_is_masked",
    advice="0 · NaN is NaN: a product with the mask lets garbage into the value, and `torch.where` after the softmax "
    "into the gradient. Keep masked logits out of the softmax.",
)
def sequence_logprobs(logits, ids, completion_mask, average=False):
    counted, targets = completion_mask[:, 1:].bool(), ids[:, 1:].clamp(min=0).unsqueeze(-1)
    total = torch.where(counted, logits[:, :-1].log_softmax(-1).gather(-1, targets).squeeze(-1), 0.0).sum(-1)
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


def kto_baseline(kl_policy_logps, kl_ref_logps):
    return (kl_policy_logps - kl_ref_logps).mean().clamp(min=0).detach()


def kto_losses(policy_logps, ref_logps, is_desirable, z0, beta, w_d, w_u):
    """Losses of all N examples for a given baseline."""
    gain = beta * (policy_logps - ref_logps.detach() - z0)
    return torch.where(is_desirable, w_d * torch.sigmoid(-gain), w_u * torch.sigmoid(gain))


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
    "safedpo_mean_of_nothing",
    replaces="safedpo_loss",
    caught_by="test_safedpo_survives_no_pairs_and_large_margins",
    advice="The transform may drop every pair of a batch, and the mean of nothing is NaN: return 0 then.",
)
def safedpo_loss(pc, pr, rc, rr, unsafe_w, unsafe_l, beta, delta):
    offset = delta * (unsafe_l.to(pc.dtype) - unsafe_w.to(pc.dtype))
    return -F.logsigmoid(beta * _log_ratio_gap(pc, pr, rc, rr) - offset).mean()


def losses_of(policy, reference, batch, beta, loss_type, average):
    """A function that gives the loss and both rewards of the policy as it stands; the reference is asked here."""
    with torch.no_grad():
        frozen = _pair_logprobs(reference, batch, average)

    def now():
        four = *_pair_logprobs(policy, batch, average), *frozen
        loss, *rewards = dpo_loss(*four, beta)
        return (ipo_loss(*four, beta) if loss_type == "ipo" else loss), *rewards

    return now


def right_losses_of(policy, reference, batch, beta, loss_type):
    return losses_of(policy, reference.eval(), batch, beta, loss_type, average=loss_type == "ipo")


def descend(now, optimizer, steps):
    """The loop of `train_dpo` on what `now()` gives: loss, chosen and rejected rewards."""
    history = []
    for _ in range(steps):
        loss, *rewards = now()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(_metrics(loss, *rewards))
    return history


@mistake(
    "ties_count_as_wins",
    replaces="_metrics",
    caught_by="test_train_reports_metrics_of_each_step",
    advice="Equal rewards are no win: with `>=` an untrained policy, equal to its reference, has accuracy 1.",
)
def _metrics(loss, chosen_rewards, rejected_rewards):
    margins = chosen_rewards - rejected_rewards
    return {"loss": loss.item(), "accuracy": (margins >= 0).double().mean().item(), "margin": margins.mean().item()}


@mistake(
    "dpo_on_averages",
    replaces="train_dpo",
    caught_by="test_train_reports_metrics_of_each_step",
    advice="DPO is trained on averaged log-probabilities here. Sum them: only then is the optimum π_ref · exp(r/β)/Z.",
)
def train_dpo(policy, reference, batch, beta, lr, steps, loss_type="dpo"):
    now = losses_of(policy, reference.eval(), batch, beta, loss_type, average=True)
    return descend(now, torch.optim.SGD(policy.parameters(), lr), steps)


@mistake(
    "gradients_pile_up",
    replaces="train_dpo",
    caught_by="test_train_takes_plain_gradient_steps",
    advice="The gradients of earlier steps are still there: call `optimizer.zero_grad()` before each backward.",
)
def train_dpo(policy, reference, batch, beta, lr, steps, loss_type="dpo"):
    optimizer = torch.optim.SGD(policy.parameters(), lr)
    optimizer.zero_grad = lambda: None
    return descend(right_losses_of(policy, reference, batch, beta, loss_type), optimizer, steps)


@mistake(
    "reference_in_train_mode",
    replaces="train_dpo",
    caught_by="test_train_freezes_the_reference",
    advice="The reference ran with dropout: `no_grad` does not switch it off, `eval()` does.",
)
def train_dpo(policy, reference, batch, beta, lr, steps, loss_type="dpo"):
    now = losses_of(policy, reference, batch, beta, loss_type, average=loss_type == "ipo")
    return descend(now, torch.optim.SGD(policy.parameters(), lr), steps)


@mistake(
    "reference_every_step",
    replaces="train_dpo",
    caught_by="test_train_asks_the_reference_once",
    advice="The reference never changes, so neither do its log-probabilities: compute them once, before the loop.",
)
def train_dpo(policy, reference, batch, beta, lr, steps, loss_type="dpo"):
    def now():
        return right_losses_of(policy, reference, batch, beta, loss_type)()

    return descend(now, torch.optim.SGD(policy.parameters(), lr), steps)


@mistake(
    "policy_put_in_train_mode",
    replaces="train_dpo",
    caught_by="test_train_takes_any_policy_in_its_mode",
    advice="`policy.train()` switches on the dropout of a policy that came in eval mode: leave its mode alone.",
)
def train_dpo(policy, reference, batch, beta, lr, steps, loss_type="dpo"):
    now = right_losses_of(policy.train(), reference, batch, beta, loss_type)
    return descend(now, torch.optim.SGD(policy.parameters(), lr), steps)


@mistake(
    "repeated_pairs_removed",
    replaces="train_dpo",
    caught_by="test_train_reaches_the_known_optimum",
    advice="Repeated pairs were dropped. How often one completion beats another is what the reward is estimated from: "
    "keep every row.",
)
def train_dpo(policy, reference, batch, beta, lr, steps, loss_type="dpo"):
    rows = torch.cat([batch[key].long() for key in sorted(batch)], dim=1).tolist()
    first = [i for i, row in enumerate(rows) if row not in rows[:i]]
    batch = {key: value[first] for key, value in batch.items()}
    now = right_losses_of(policy, reference, batch, beta, loss_type)
    return descend(now, torch.optim.SGD(policy.parameters(), lr), steps)
