"""Known wrong ways to train, each with the advice that belongs to it."""

import math
from dataclasses import replace

import torch

from grader.checking import mistake

right_rollout, right_optimise, right_train = _rollout, _optimise, rlhf_train


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
    "stops_at_the_limit",
    replaces="_optimise",
    caught_by="test_train_stops_its_epochs_at_the_target",
    advice="The update ends above 1.5·target_kl, not at it: with a target_kl of 0 the first minibatch, whose approx_kl "
    "is 0, takes its step.",
)
def _optimise(policy, optimizer, batch, cfg, generator):
    if cfg.target_kl is not None:
        cfg = replace(cfg, target_kl=math.nextafter(cfg.target_kl, -math.inf))
    return right_optimise(policy, optimizer, batch, cfg, generator)


@mistake(
    "kl_masked_by_product",
    replaces="_rollout",
    caught_by="test_train_goes_through_one_batch_in_epochs",
    advice="0 · NaN is NaN: where a banned token pads a row, −∞ − (−∞) reaches the KL, and by it the coefficient and "
    "the weights. Select with torch.where.",
)
@torch.no_grad()
def _rollout(policy, ref, rm, sample, kl_coef, temperature):
    batch, score, _ = right_rollout(policy, ref, rm, sample, kl_coef, temperature)
    ids, mask, logp, _ = batch
    drift = logp - token_logprobs(ref(ids), ids, temperature)[:, -mask.shape[1] :]
    return batch, score, (drift * mask).sum(dim=1).mean().item()


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
    advice="The relative error itself is clamped to ±0.2, before it is multiplied by n / horizon: one outlier must not "
    "move the coefficient far.",
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


@mistake(
    "stops_after_the_step",
    replaces="_optimise",
    caught_by="test_train_stops_its_epochs_at_the_target",
    advice="The minibatch that shows the drift takes no step: check before the optimizer moves.",
)
def _optimise(policy, optimizer, batch, cfg, generator):
    stats, once = [], replace(cfg, epochs=1, target_kl=None)
    for _ in range(cfg.epochs):
        for rows in torch.randperm(len(batch[0]), generator=generator).split(cfg.minibatch):
            part = tuple(piece[rows] for piece in batch)
            stats += right_optimise(policy, optimizer, part, once, torch.Generator())[0]
            if cfg.target_kl is not None and stats[-1]["approx_kl"] > 1.5 * cfg.target_kl:
                return stats, len(stats)
    return stats, len(stats)
