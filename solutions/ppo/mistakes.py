"""Known wrong solutions, each with the advice that belongs to it."""

from dataclasses import replace

import torch

from grader.checking import mistake

right_rollout, right_optimise, right_train = _rollout, _optimise, rlhf_train

# ---- log-probabilities


def refuse(temperature):
    if not temperature > 0:
        raise ValueError(temperature)


@mistake(
    "unshifted",
    replaces="token_logprobs",
    caught_by="test_logprobs_belong_to_the_next_token",
    advice="The logits at position t predict the token at t + 1: pair `logits[:, :-1]` with `ids[:, 1:]`.",
)
def token_logprobs(logits, ids, temperature=1.0):
    refuse(temperature)
    return (logits[:, 1:] / temperature).log_softmax(-1).gather(-1, ids[:, 1:].unsqueeze(-1)).squeeze(-1)


@mistake(
    "last_position_in_the_graph",
    replaces="token_logprobs",
    caught_by="test_logprobs_stay_exact_at_extreme_logits",
    advice="The softmax of the last position is computed and thrown away; its NaN comes back in the gradient, as 0 · "
    "NaN. Drop that position before the softmax.",
)
def token_logprobs(logits, ids, temperature=1.0):
    refuse(temperature)
    logps = (logits / temperature).log_softmax(-1)
    return logps.gather(-1, ids.roll(-1, dims=1).unsqueeze(-1)).squeeze(-1)[:, :-1]


@mistake(
    "below_zero_taken",
    replaces="token_logprobs",
    caught_by="test_logprobs_refuse_a_temperature_of_zero",
    advice="A temperature below 0 turns the distribution upside down: refuse all that is not above 0, not 0 alone.",
)
def token_logprobs(logits, ids, temperature=1.0):
    refuse(abs(temperature))
    return (logits[:, :-1] / temperature).log_softmax(-1).gather(-1, ids[:, 1:].unsqueeze(-1)).squeeze(-1)


# ---- rewards


def last_tokens(mask):
    return mask & (mask.flip(1).cumsum(1).flip(1) == 1)


@mistake(
    "penalty_sign",
    replaces="shaped_rewards",
    caught_by="test_rewards_are_the_penalty_and_at_the_end_the_score",
    advice="This rewards drift: where the policy likes a token more than the reference does, the reward goes down.",
)
@torch.no_grad()
def shaped_rewards(scores, logp, ref_logp, mask, kl_coef):
    drift = torch.where(mask, kl_coef * (logp - ref_logp), 0.0)
    return drift + torch.where(last_tokens(mask), scores.unsqueeze(1), 0.0)


@mistake(
    "score_in_the_last_column",
    replaces="shaped_rewards",
    caught_by="test_rewards_put_the_score_at_the_last_unmasked_token",
    advice="Rows that end early get their score on padding, where nothing learns from it: find each row's last token.",
)
@torch.no_grad()
def shaped_rewards(scores, logp, ref_logp, mask, kl_coef):
    rewards = torch.where(mask, kl_coef * (ref_logp - logp), 0.0)
    rewards[:, -1] += torch.where(mask.any(1), scores, 0.0)
    return rewards


@mistake(
    "masked_by_product",
    replaces="shaped_rewards",
    caught_by="test_rewards_ignore_what_is_masked",
    advice="0 · NaN is NaN: multiplying by the mask lets garbage through. Select with `torch.where`.",
)
@torch.no_grad()
def shaped_rewards(scores, logp, ref_logp, mask, kl_coef):
    return last_tokens(mask) * scores.unsqueeze(1) - mask * kl_coef * (logp - ref_logp)


@mistake(
    "returns_of_the_past",
    replaces="returns_to_go",
    caught_by="test_returns_sum_the_rewards_still_to_come",
    advice="This sums what came before. A token can only cause what follows: sum from the right.",
)
@torch.no_grad()
def returns_to_go(rewards, mask):
    return torch.where(mask, torch.where(mask, rewards, 0.0).cumsum(1), 0.0)


# ---- whitening


def whitened(x, mask, shift_mean, scale):
    """Centred over the mask and multiplied by `scale` of the variance's sum of squares and the count."""
    count = mask.sum()
    mean = torch.where(mask, x, 0.0).sum() / count.clamp(min=1)
    centred = torch.where(mask, x - mean, 0.0)
    white = centred * scale(centred.square().sum(), count)
    return white if shift_mean else torch.where(mask, white + mean, 0.0)


@mistake(
    "population_variance",
    replaces="masked_whiten",
    caught_by="test_whiten_uses_mean_and_unbiased_variance",
    advice="The variance divides by count − 1.",
)
@torch.no_grad()
def masked_whiten(x, mask, shift_mean=True):
    return whitened(x, mask, shift_mean, lambda total, n: torch.rsqrt(total / n.clamp(min=1) + EPS))


@mistake(
    "difference_of_squares",
    replaces="masked_whiten",
    caught_by="test_whiten_keeps_its_digits",
    advice="The mean of the squares less the square of the mean cancels where the mean is large: square what is left "
    "after the mean is taken off.",
)
@torch.no_grad()
def masked_whiten(x, mask, shift_mean=True):
    kept = torch.where(mask, x, 0.0)
    squares = kept.square().sum() - kept.sum().square() / mask.sum().clamp(min=1)
    return whitened(x, mask, shift_mean, lambda _, n: (squares.clamp(min=0) / (n - 1).clamp(min=1) + EPS).rsqrt())


@mistake(
    "whitened_by_product",
    replaces="masked_whiten",
    caught_by="test_whiten_ignores_what_is_masked",
    advice="0 · NaN is NaN: a sum of `x * mask` lets what is masked into the mean. Select with `torch.where` first.",
)
@torch.no_grad()
def masked_whiten(x, mask, shift_mean=True):
    mean = (x * mask).sum() / mask.sum().clamp(min=1)
    white = whitened(x - mean, mask, True, lambda total, n: (total / (n - 1).clamp(min=1) + EPS).rsqrt())
    return white if shift_mean else white + mean * mask


# ---- the loss


def surrogate(log_ratio, adv, mask, clip, worse=torch.maximum, count=None):
    """The loss for log-ratios that are 0 where masked, and the right stats."""
    ratio, adv = log_ratio.exp(), torch.where(mask, adv, 0.0)
    plain, clipped, n = -adv * ratio, -adv * ratio.clamp(1 - clip, 1 + clip), max(int(mask.sum()), 1)
    drift = float((log_ratio.expm1() - log_ratio).detach().sum()) / n
    stats = {"clipfrac": int((clipped > plain).sum()) / n, "approx_kl": drift}
    return worse(plain, clipped).sum() / (count or n), stats


def log_ratios(logp, old_logp, mask):
    return torch.where(mask, logp - old_logp, 0.0).clamp(-20, 20)


@mistake(
    "better_of_both_terms",
    replaces="ppo_clip_loss",
    caught_by="test_loss_is_the_worse_of_both_terms",
    advice="Of the two costs the larger one counts: the minimum belongs to the surrogate that is maximised.",
)
def ppo_clip_loss(logp, old_logp, adv, mask, clip=0.2):
    return surrogate(log_ratios(logp, old_logp.detach(), mask), adv.detach(), mask, clip, worse=torch.minimum)


@mistake(
    "mean_over_padding",
    replaces="ppo_clip_loss",
    caught_by="test_loss_is_the_worse_of_both_terms",
    advice="The mean divides by the number of unmasked tokens, not by all places: padding would make the step smaller.",
)
def ppo_clip_loss(logp, old_logp, adv, mask, clip=0.2):
    return surrogate(log_ratios(logp, old_logp.detach(), mask), adv.detach(), mask, clip, count=mask.numel())


@mistake(
    "gradient_into_constants",
    replaces="ppo_clip_loss",
    caught_by="test_loss_has_no_gradient_where_clipping_binds",
    advice="old_logp and adv are constants of the loss: detach them.",
)
def ppo_clip_loss(logp, old_logp, adv, mask, clip=0.2):
    return surrogate(log_ratios(logp, old_logp, mask), adv, mask, clip)


@mistake(
    "clipfrac_counts_the_harmless",
    replaces="ppo_clip_loss",
    caught_by="test_loss_reports_clipping_and_drift",
    advice="A ratio outside of 1 ± clip is clipped only where the clipped cost is the larger.",
)
def ppo_clip_loss(logp, old_logp, adv, mask, clip=0.2):
    log_ratio = log_ratios(logp, old_logp.detach(), mask)
    loss, stats = surrogate(log_ratio, adv.detach(), mask, clip)
    outside = int(((log_ratio.exp() - 1).abs() > clip).sum()) / max(int(mask.sum()), 1)
    return loss, stats | {"clipfrac": outside}


@mistake(
    "loss_masked_by_product",
    replaces="ppo_clip_loss",
    caught_by="test_loss_ignores_what_is_masked",
    advice="0 · NaN is NaN: set the log-ratio to 0 where masked, with `torch.where`, before anything is made of it.",
)
def ppo_clip_loss(logp, old_logp, adv, mask, clip=0.2):
    return surrogate(((logp - old_logp.detach()) * mask).clamp(-20, 20), adv.detach(), mask, clip)


@mistake(
    "no_limit",
    replaces="ppo_clip_loss",
    caught_by="test_loss_limits_the_log_ratio",
    advice="exp overflows, and inf · 0 is NaN in the gradient: clamp the log-ratio to ±20 first.",
)
def ppo_clip_loss(logp, old_logp, adv, mask, clip=0.2):
    return surrogate(torch.where(mask, logp - old_logp.detach(), 0.0), adv.detach(), mask, clip)


# ---- training


@mistake(
    "old_logprobs_renewed",
    replaces="_optimise",
    caught_by="test_train_goes_through_one_batch_in_epochs",
    advice="old_logp belongs to the policy that sampled. Computed anew for each epoch, the ratio is always 1.",
)
def _optimise(policy, optimizer, batch, cfg, generator):
    stats, (ids, mask, old_logp, adv) = [], batch
    for _ in range(cfg.epochs):
        with torch.no_grad():
            old_logp = token_logprobs(policy(ids), ids, cfg.temperature)[:, -mask.shape[1] :]
        found, _ = right_optimise(policy, optimizer, (ids, mask, old_logp, adv), replace(cfg, epochs=1), generator)
        stats += found
    return stats, len(stats)


@mistake(
    "whitened_again",
    replaces="_optimise",
    caught_by="test_train_shuffles_each_epoch_into_minibatches",
    advice="The advantages are whitened once, over the whole batch. Whitened again in each minibatch, a good minibatch "
    "punishes its better half.",
)
def _optimise(policy, optimizer, batch, cfg, generator):
    stats, once = [], replace(cfg, epochs=1)
    for _ in range(cfg.epochs):
        for rows in torch.randperm(len(batch[0]), generator=generator).split(cfg.minibatch):
            ids, mask, old_logp, adv = (part[rows] for part in batch)
            part = ids, mask, old_logp, masked_whiten(adv, mask)
            stats += right_optimise(policy, optimizer, part, once, torch.Generator())[0]
    return stats, len(stats)


@mistake(
    "score_of_the_padding",
    replaces="_rollout",
    caught_by="test_train_scores_each_batch_once",
    advice="The reward model gets prompt and completion, up to the EOS: mask what follows.",
)
def _rollout(policy, ref, rm, sample, kl_coef, temperature):
    return right_rollout(policy, ref, lambda ids, mask: rm(ids, mask | True), sample, kl_coef, temperature)


@mistake(
    "scored_with_a_graph",
    replaces="_rollout",
    caught_by="test_train_scores_each_batch_once",
    advice="Scores are data: call the reward model under torch.no_grad(), or its graph takes memory for nothing.",
)
def _rollout(policy, ref, rm, *rest):
    return right_rollout(policy, ref, torch.enable_grad()(rm), *rest)


@mistake(
    "reference_at_temperature_one",
    replaces="_rollout",
    caught_by="test_train_stays_at_the_optimum",
    advice="The reference's logits are divided by the temperature too, or the KL compares two different things.",
)
def _rollout(policy, ref, rm, sample, kl_coef, temperature):
    class Hot(torch.nn.Module):
        def forward(self, ids):
            return ref(ids) * temperature

    return right_rollout(policy, Hot(), rm, sample, kl_coef, temperature)


@mistake(
    "dropout_in_the_epochs",
    replaces="_optimise",
    caught_by="test_train_begins_at_a_ratio_of_one",
    advice="With dropout on, the ratio is not 1 where nothing has changed: keep the policy in eval mode in the epochs.",
)
def _optimise(policy, optimizer, batch, cfg, generator):
    return right_optimise(policy.train(), optimizer, batch, cfg, generator)


@mistake(
    "modes_forgotten",
    replaces="rlhf_train",
    caught_by="test_train_runs_both_models_in_eval_mode",
    advice="Both models end in the mode in which they came: remember it, and restore it.",
)
def rlhf_train(*args, **kwargs):
    history = right_train(*args, **kwargs)
    args[0].eval(), args[1].eval()
    return history


@mistake(
    "kl_of_a_token",
    replaces="_rollout",
    caught_by="test_train_goes_through_one_batch_in_epochs",
    advice="The KL is that of a whole completion: sum over its tokens, then the mean over the rows.",
)
def _rollout(policy, ref, rm, sample, kl_coef, temperature):
    batch, score, kl = right_rollout(policy, ref, rm, sample, kl_coef, temperature)
    return batch, score, kl * len(batch[1]) / max(int(batch[1].sum()), 1)


@mistake(
    "told_the_rows_of_a_minibatch",
    replaces="rlhf_train",
    caught_by="test_train_asks_and_tells_the_controller",
    advice="n is the number of rollouts of the update, all of which the horizon counts: not the rows of a minibatch.",
)
def rlhf_train(policy, ref, rm, sample, optimizer, controller, cfg, generator):
    class Told:
        value = property(lambda _: controller.value)

        def update(self, kl, _):
            controller.update(kl, cfg.minibatch)

    return right_train(policy, ref, rm, sample, optimizer, Told(), cfg, generator)


@mistake(
    "plain_steps",
    replaces="_optimise",
    caught_by="test_train_raises_the_true_score",
    advice="The optimizer that was passed takes the steps: with a plain gradient step in its place Adam's moments are "
    "lost, and training hardly moves.",
)
def _optimise(policy, optimizer, *rest):
    return right_optimise(policy, torch.optim.SGD(policy.parameters(), lr=optimizer.param_groups[0]["lr"]), *rest)


@mistake(
    "reference_refreshed",
    replaces="_rollout",
    caught_by="test_train_weighs_score_against_kl",
    advice="The reference takes over the policy's weights every few updates, so that the KL is measured from there and "
    "drift costs nothing. It stays what it was.",
)
def _rollout(policy, ref, *rest):
    ref.updates = getattr(ref, "updates", -1) + 1
    if ref.updates and ref.updates % 4 == 0:
        ref.load_state_dict(policy.state_dict())
    return right_rollout(policy, ref, *rest)


@mistake(
    "controller_not_limited",
    replaces="AdaptiveKLController.update",
    caught_by="test_controller_steers_towards_the_target",
    advice="The relative error is clamped to ±0.2: one outlier must not multiply the coefficient.",
)
def update(self, kl, n):
    self.value *= 1 + (kl / self.target - 1) * n / self.horizon


@mistake(
    "no_limit_at_zero",
    replaces="_optimise",
    caught_by="test_train_stops_its_epochs_at_the_target",
    advice="`if cfg.target_kl` takes 0.0 for no limit: ask whether it is None.",
)
def _optimise(policy, optimizer, batch, cfg, generator):
    return right_optimise(policy, optimizer, batch, replace(cfg, target_kl=cfg.target_kl or None), generator)
