"""Known wrong solutions, each with the advice that belongs to it."""

import torch

from grader.checking import mistake

right_advantages, right_loss = group_relative_advantages, grpo_loss
right_logps, right_training, right_batch_loss = _token_logps, train_grpo, _loss_of_batch

# ---- advantages


def standardised(rewards, scale, mean, std, eps):
    """group_relative_advantages with another mean or deviation."""
    rewards = rewards.detach() if rewards.is_floating_point() else rewards.float()
    centred = rewards - mean(rewards)
    wide = rewards.std() if scale == "batch" else std(rewards)
    advantages = centred if scale == "none" else centred / (wide + eps)
    return advantages.masked_fill((rewards == rewards[:, :1]).all(dim=1, keepdim=True), 0.0)


def of_rows(rewards):
    return rewards.mean(dim=1, keepdim=True)


@mistake(
    "population_deviation",
    replaces="group_relative_advantages",
    caught_by="test_advantages_are_standardised_in_each_group",
    advice="This divides by the population standard deviation: std is the sample one, over n − 1 (torch's default).",
)
def group_relative_advantages(rewards, eps=1e-4, scale="group"):
    return standardised(rewards, scale, of_rows, lambda r: r.std(dim=1, keepdim=True, correction=0), eps)


@mistake(
    "eps_inside_the_root",
    replaces="group_relative_advantages",
    caught_by="test_eps_stands_outside_the_root",
    advice="eps is added to the standard deviation, not to the variance: at a deviation of 0.0005 that is 15-fold.",
)
def group_relative_advantages(rewards, eps=1e-4, scale="group"):
    return standardised(rewards, scale, of_rows, lambda r: (r.var(dim=1, keepdim=True) + eps).sqrt() - eps, eps)


@mistake(
    "nearly_equal_taken_for_equal",
    replaces="group_relative_advantages",
    caught_by="test_eps_stands_outside_the_root",
    advice="Rewards that hardly differ are not equal: eps keeps their quotient small already. Set to 0 only rows whose "
    "rewards are all the same, instead of comparing the deviation with a threshold.",
)
def group_relative_advantages(rewards, eps=1e-4, scale="group"):
    advantages = right_advantages(rewards, eps, scale)
    return advantages.masked_fill(rewards.float().std(dim=1, keepdim=True) < 1e-8, 0.0)


@mistake(
    "rounding_of_the_mean_left_in",
    replaces="group_relative_advantages",
    caught_by="test_equal_rewards_give_exactly_zero",
    advice="The mean of equal rewards may be off by a rounding, which the division blows up, and the deviation of one "
    "reward is NaN. Set rows of equal rewards to 0 explicitly.",
)
def group_relative_advantages(rewards, eps=1e-4, scale="group"):
    if scale not in ("group", "batch", "none"):
        raise ValueError(scale)
    rewards = rewards.detach() if rewards.is_floating_point() else rewards.float()
    std = {"group": rewards.std(dim=1, keepdim=True) + eps, "batch": rewards.std() + eps, "none": 1.0}[scale]
    return torch.nan_to_num((rewards - of_rows(rewards)) / std)


@mistake(
    "batch_deviation_of_the_centred",
    replaces="group_relative_advantages",
    caught_by="test_scale_of_the_batch_or_none",
    advice='"batch" takes the deviation of the rewards as they are; here they were centred first.',
)
def group_relative_advantages(rewards, eps=1e-4, scale="group"):
    if scale not in ("group", "batch", "none"):
        raise ValueError(scale)
    wide = (rewards - of_rows(rewards)).std() if scale == "batch" else rewards.std(dim=1, keepdim=True)
    return standardised(rewards, "none" if scale == "none" else "group", of_rows, lambda _: wide, eps)


@mistake(
    "any_other_scale_is_none",
    replaces="group_relative_advantages",
    caught_by="test_scale_of_the_batch_or_none",
    advice='A scale that is none of the three is taken for "none", a slip of the pen too: raise ValueError.',
)
def group_relative_advantages(rewards, eps=1e-4, scale="group"):
    return right_advantages(rewards, eps, scale if scale in ("group", "batch") else "none")


@mistake(
    "gradient_through_the_rewards",
    replaces="group_relative_advantages",
    caught_by="test_advantages_are_constants_of_any_dtype",
    advice="Advantages weigh the gradient and get none themselves: detach the rewards.",
)
def group_relative_advantages(rewards, eps=1e-4, scale="group"):
    if scale not in ("group", "batch", "none"):
        raise ValueError(scale)
    rewards = rewards if rewards.is_floating_point() else rewards.float()
    std = {"group": rewards.std(dim=1, keepdim=True) + eps, "batch": rewards.std() + eps, "none": 1.0}[scale]
    return ((rewards - of_rows(rewards)) / std).masked_fill((rewards == rewards[:, :1]).all(1, keepdim=True), 0.0)


# ---- k3


@mistake(
    "ratio_upside_down",
    replaces="k3_kl",
    caught_by="test_k3_is_of_the_reference_over_the_policy",
    advice="The samples are π's, so the ratio is π_ref/π: u = ref_logp − logp. Upside down its mean is χ² − KL.",
)
def k3_kl(logp, ref_logp):
    u = logp - ref_logp.detach()
    return torch.expm1(u) - u


@mistake(
    "digits_lost",
    replaces="k3_kl",
    caught_by="test_k3_keeps_its_digits",
    advice="exp(u) − 1 cancels all digits of a tiny u: use `torch.expm1`.",
)
def k3_kl(logp, ref_logp):
    u = ref_logp.detach() - logp
    return u.exp() - 1 - u


# ---- the loss


@mistake(
    "maximum_for_minimum",
    replaces="_surrogate",
    caught_by="test_loss_is_the_clipped_surrogate",
    advice="The surrogate is the smaller, pessimistic of the two products; the larger one rewards leaving the clip.",
)
def _surrogate(ratio, advantages, clip_low, clip_high, delta):
    capped = ratio if delta is None else ratio.clamp(max=delta)
    return torch.maximum(capped * advantages, ratio.clamp(1 - clip_low, 1 + clip_high) * advantages)


@mistake(
    "one_clip_for_both_sides",
    replaces="_surrogate",
    caught_by="test_each_bound_holds_on_its_side",
    advice="The bounds are 1 − clip_low and 1 + clip_high; here clip_low is used for both.",
)
def _surrogate(ratio, advantages, clip_low, clip_high, delta):
    capped = ratio if delta is None else ratio.clamp(max=delta)
    return torch.minimum(capped * advantages, ratio.clamp(1 - clip_low, 1 + clip_low) * advantages)


@mistake(
    "drift_rewarded",
    replaces="grpo_loss",
    caught_by="test_penalty_is_added_to_each_token",
    advice="The penalty lowers the loss here, so drifting off is rewarded: it is −min(…) + beta·k3.",
)
def grpo_loss(*tensors, beta=0.0, **options):
    return right_loss(*tensors, beta=-beta, **options)


@mistake(
    "penalty_always_meaned_by_row",
    replaces="grpo_loss",
    caught_by="test_penalty_is_added_to_each_token",
    advice="The penalty is part of each token's loss: add beta·k3 before you aggregate, so that it is averaged over "
    "tokens, or divided by N·max_len, like the rest.",
)
def grpo_loss(logp, old_logp, ref_logp, advantages, mask, beta=0.0, **options):
    loss, stats = right_loss(logp, old_logp, ref_logp, advantages, mask, **options)
    penalty, _ = right_loss(logp, old_logp, ref_logp, 0 * advantages, mask, beta=beta)
    return loss + penalty, stats


@mistake(
    "penalty_clamped",
    replaces="grpo_loss",
    caught_by="test_penalty_is_added_to_each_token",
    advice="Here u is not clamped: where it is, a policy far from the reference is no longer drawn back.",
)
def grpo_loss(logp, old_logp, ref_logp, advantages, mask, **options):
    near = None if ref_logp is None else ref_logp.clamp(logp.detach() - 20, logp.detach() + 20)
    return right_loss(logp, old_logp, near, advantages, mask, **options)


@mistake(
    "max_len_ignored",
    replaces="_aggregate",
    caught_by="test_aggregations",
    advice='"dr_grpo" divides by N·max_len; T is only what max_len=None stands for.',
)
def _aggregate(losses, mask, aggregation, max_len):
    if aggregation == "grpo":
        return (losses.sum(dim=1) / mask.sum(dim=1).clamp(min=1)).mean()
    if aggregation not in ("dapo", "dr_grpo"):
        raise ValueError(aggregation)
    return losses.sum() / (mask.sum().clamp(min=1) if aggregation == "dapo" else mask.numel())


@mistake(
    "clips_of_either_sign",
    replaces="_stats",
    caught_by="test_stats_count_where_clipping_binds",
    advice="A ratio outside the bounds is clipped only where A pushes it further out: count ρ < 1 − clip_low with "
    "A < 0, and ρ > 1 + clip_high with A > 0.",
)
def _stats(mask, kl, ratio, advantages, clip_low, clip_high):
    named = {"kl": kl.detach(), "clip_low": (ratio < 1 - clip_low).double()}
    named["clip_high"] = (ratio > 1 + clip_high).double()
    return {name: (_on(mask, values).sum() / mask.sum().clamp(min=1)).item() for name, values in named.items()}


@mistake(
    "clips_counted_without_advantage",
    replaces="_stats",
    caught_by="test_stats_count_where_clipping_binds",
    advice="Where A is 0 both products are 0, and nothing is clipped: count A < 0 and A > 0, strictly.",
)
def _stats(mask, kl, ratio, advantages, clip_low, clip_high):
    named = {"kl": kl.detach(), "clip_low": ((ratio < 1 - clip_low) & (advantages <= 0)).double()}
    named["clip_high"] = ((ratio > 1 + clip_high) & (advantages >= 0)).double()
    return {name: (_on(mask, values).sum() / mask.sum().clamp(min=1)).item() for name, values in named.items()}


@mistake(
    "masked_by_product",
    replaces="_on",
    caught_by="test_nothing_off_the_mask_counts",
    advice="0 · NaN is NaN: a product with the mask lets padding through, and zeroing the losses alone leaves NaN in "
    "the gradient. Overwrite the log-probabilities with `torch.where` or `masked_fill` before the arithmetic.",
)
def _on(mask, values):
    return values * mask


@mistake(
    "gradient_of_the_old_policy",
    replaces="grpo_loss",
    caught_by="test_gradient_reaches_the_policy_only",
    advice="old_logp is a record of the rollout: detach it, or with mu = 1 the ratio's gradient cancels to nothing.",
)
def grpo_loss(logp, old_logp, ref_logp, advantages, mask, **options):
    filled = _on(mask.bool(), old_logp)
    return right_loss(logp - filled + filled.detach(), old_logp, ref_logp, advantages, mask, **options)


# ---- warm-up


@mistake(
    "eos_left_out",
    replaces="completion_mask",
    caught_by="test_mask_ends_with_the_first_eos",
    advice="The first EOS belongs to the completion: left out, the model is never told to stop.",
)
def completion_mask(completions, eos_id):
    return (completions == eos_id).cumsum(dim=1) == 0


@mistake(
    "unshifted",
    replaces="_token_logps",
    caught_by="test_warmup_takes_adam_steps_on_completions",
    advice="The logits at position t − 1 predict the token at t: take those from one position earlier.",
)
def _token_logps(model, ids, length, temperature=1.0):
    logits = model(ids)[:, -length:] / temperature
    return logits.log_softmax(dim=-1).gather(-1, ids[:, -length:].unsqueeze(-1)).squeeze(-1)


# ---- training


@mistake(
    "temperature_for_sampling_only",
    replaces="_token_logps",
    caught_by="test_step_is_one_of_adam_on_the_grpo_loss",
    advice="The policy that sampled is softmax(logits / temperature): divide in all log-probabilities too.",
)
def _token_logps(model, ids, length, temperature=1.0):
    logps = model(ids)[:, -length - 1 : -1].log_softmax(dim=-1)
    return logps.gather(-1, ids[:, -length:].unsqueeze(-1)).squeeze(-1)


@mistake(
    "old_policy_follows",
    replaces="_loss_of_batch",
    caught_by="test_epochs_share_one_rollout_and_the_reference_stays",
    advice="The old log-probabilities are those of the rollout: taken anew in each epoch, ρ is always 1.",
)
def _loss_of_batch(config, logp, _old_logp, *rest):
    names = ("clip_low", "clip_high", "beta", "aggregation", "max_len", "delta")
    return grpo_loss(logp, logp.detach(), *rest, **{name: getattr(config, name) for name in names})


@mistake(
    "groups_without_signal_left_out",
    replaces="_loss_of_batch",
    caught_by="test_epochs_share_one_rollout_and_the_reference_stays",
    advice="A group of equal rewards has advantage 0 and stays in the batch: its tokens count in the mean, and each "
    "of them pays the penalty.",
)
def _loss_of_batch(config, logp, old_logp, ref_logp, advantages, mask):
    return right_batch_loss(config, logp, old_logp, ref_logp, advantages, mask & (advantages != 0).unsqueeze(1))


@mistake(
    "reference_is_the_policy",
    replaces="_frozen",
    caught_by="test_epochs_share_one_rollout_and_the_reference_stays",
    advice="The reference is the model itself here, and moves with it: take a deep copy before the first step.",
)
def _frozen(model):
    return model


@mistake(
    "groups_interleaved",
    replaces="train_grpo",
    caught_by="test_rollouts_are_asked_prompt_by_prompt",
    advice="Prompts were repeated a, b, a, b: use repeat_interleave, so that view(B, G) has one prompt in each row.",
)
def train_grpo(model, prompts, sample, reward_fn, config):
    def tiled(policy, batch, temperature):
        rows = batch.view(-1, config.group_size, batch.shape[1]).transpose(0, 1).flatten(0, 1)
        return sample(policy, rows, temperature)

    return right_training(model, prompts, tiled, reward_fn, config)


@mistake(
    "dropout_in_the_ratio",
    replaces="_token_logps",
    caught_by="test_passes_are_in_eval_mode_and_few",
    advice="With dropout ρ is not 1 even before the first update: run all passes of train_grpo in eval mode.",
)
def _token_logps(model, *args):
    with _mode(model, training=True):
        return right_logps(model, *args)


@mistake(
    "graph_of_the_old_policy",
    replaces="_fixed_logps",
    caught_by="test_passes_are_in_eval_mode_and_few",
    advice="The passes for the old log-probabilities keep a graph that nothing uses, with the memory of a whole pass: "
    "put them under torch.no_grad().",
)
def _fixed_logps(models, *args):
    return [_token_logps(model, *args) for model in models]


@mistake(
    "rate_fades",
    replaces="_descend",
    caught_by="test_warmup_and_training_learn_to_reverse",
    advice="The learning rate is lr in all updates. One that fades after the first dozen stops the learning.",
)
def _descend(optimizer, loss):
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if next(iter(optimizer.state.values()))["step"] > 12:
        optimizer.param_groups[0]["lr"] *= 0.8


@mistake(
    "reference_refreshed",
    replaces="_fixed_logps",
    caught_by="test_a_large_beta_holds_the_policy_near_the_reference",
    advice="The reference is taken anew every few steps, and so drifts with the policy: it stays what the model was at "
    "the call.",
)
@torch.no_grad()
def _fixed_logps(models, *args):
    policy, reference = models
    reference.steps = getattr(reference, "steps", 0) + 1
    if reference.steps % 5 == 0:
        reference.load_state_dict(policy.state_dict())
    return [_token_logps(model, *args) for model in models]


# ---- evaluation


@mistake(
    "with_replacement",
    replaces="pass_at_k",
    caught_by="test_pass_at_k_counts_choices",
    advice="1 − (1 − c/n)^k draws with replacement, and is too low: count the choices of k without a correct one.",
)
def pass_at_k(n, c, k):
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(n)
    return 1 - (1 - c / n) ** k


@mistake(
    "any_reward_is_correct",
    replaces="evaluate",
    caught_by="test_evaluate_means_reward_and_pass_at_k",
    advice="A completion is correct where its reward is 1 or more; a partial reward is not a success.",
)
def evaluate(model, prompts, sample, reward_fn, n, k, temperature=1.0):
    if not 1 <= k <= n:
        raise ValueError(n)
    with _mode(model, training=False):
        rewards = reward_fn(*sample(model, prompts.repeat_interleave(n, dim=0), temperature))
    passed = [pass_at_k(n, c, k) for c in (rewards.view(-1, n) > 0).sum(dim=1).tolist()]
    return {"reward": rewards.mean().item(), "pass_at_k": sum(passed) / len(passed)}
