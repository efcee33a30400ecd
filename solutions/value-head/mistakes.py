"""Known wrong solutions, each with the advice that belongs to it."""

import torch
from torch import nn

from grader.checking import mistake

# ---- the model


@mistake(
    "trunk_twice",
    replaces="ActorCritic.forward",
    caught_by="test_forward_has_logits_and_values_at_every_position",
    advice="`self.policy(ids)` runs the trunk, and `hidden` runs it again. Compute the hidden states once and apply "
    "`policy.head` and `value_head` to them.",
)
def forward(self, ids):
    return self.policy(ids), self.value_head(self.policy.hidden(ids)).squeeze(-1)


@mistake(
    "critic_cut_off",
    replaces="ActorCritic.forward",
    caught_by="test_actions_are_exact_at_extreme_logits",
    advice="The hidden states are detached before the value head, so the critic never trains the trunk. Keep it on.",
)
def forward(self, ids):
    hidden = self.policy.hidden(ids)
    return self.policy.head(hidden), self.value_head(hidden.detach()).squeeze(-1)


@mistake(
    "value_after_the_token",
    replaces="evaluate_actions",
    caught_by="test_actions_are_judged_before_they_are_taken",
    advice="The value has to be that of the state *before* the token, at P + t − 1 like its logits. One position later "
    "the critic has seen the token that it is to be a baseline for.",
)
def evaluate_actions(model, prompts, completions):
    logits, values = model(torch.cat([prompts, completions], dim=1))
    logp, steps = logits[:, prompts.shape[1] - 1 : -1].log_softmax(-1), completions.shape[1]
    return logp.gather(-1, completions.unsqueeze(-1)).squeeze(-1), -(logp.exp() * logp).sum(-1), values[:, -steps:]


# ---- GAE


def gae_of(deltas, decay, values, keep):
    """Advantages and returns of these errors [N, T]."""
    advantages = _sum_back(deltas.T, torch.full_like(deltas.T, decay)).T
    return advantages, torch.where(keep, advantages + values, 0.0)


@mistake(
    "trace_without_gamma",
    replaces="compute_gae",
    caught_by="test_gae_is_the_discounted_sum_of_deltas",
    advice="The sum of errors decays by γλ a step, not by λ alone.",
)
def compute_gae(rewards, values, mask, gamma, lam, bootstrap=None):
    keep = mask.bool()
    deltas = torch.where(keep, rewards + gamma * _following(values, keep, bootstrap) - values, 0.0)
    return gae_of(deltas, lam, values, keep)


@mistake(
    "padding_is_a_state",
    replaces="_following",
    caught_by="test_gae_ends_with_each_row",
    advice="The token after a row's last one is padding: its value is no value. Use 0 there (or the bootstrap).",
)
def _following(values, keep, bootstrap):
    after = torch.zeros_like(values[:, 0]) if bootstrap is None else bootstrap
    return torch.cat([values[:, 1:], after[:, None]], dim=1)


@mistake(
    "edits_in_place",
    replaces="compute_gae",
    caught_by="test_gae_ends_with_each_row",
    advice="rewards and values belong to the caller, who logs them or trains on them again. Mask copies of them.",
)
def compute_gae(rewards, values, mask, gamma, lam, bootstrap=None):
    keep = mask.bool()
    rewards.masked_fill_(~keep, 0.0)
    deltas = torch.where(keep, rewards + gamma * _following(values, keep, bootstrap) - values, 0.0)
    return gae_of(deltas, gamma * lam, values, keep)


@mistake(
    "bootstrap_in_the_last_column",
    replaces="_following",
    caught_by="test_gae_bootstraps_each_row_after_its_last_token",
    advice="bootstrap belongs after each row's own last unmasked token. In a shorter row the last column is padding.",
)
def _following(values, keep, bootstrap):
    clean = values.masked_fill(~keep, 0.0)
    after = torch.zeros_like(clean[:, 0]) if bootstrap is None else bootstrap
    return torch.cat([clean[:, 1:], after[:, None]], dim=1)


@mistake(
    "masked_by_product",
    replaces="compute_gae",
    caught_by="test_gae_ignores_what_is_masked",
    advice="0 · NaN is NaN: a product with the mask lets garbage through. Select with `torch.where`.",
)
def compute_gae(rewards, values, mask, gamma, lam, bootstrap=None):
    keep = mask.bool()
    deltas = (rewards + gamma * _following(values, keep, bootstrap) - values) * keep
    return gae_of(deltas, gamma * lam, values, keep)


@mistake(
    "gradient_through_the_target",
    replaces="compute_gae",
    caught_by="test_gae_gives_constants_and_refuses_what_does_not_fit",
    advice="Advantages and returns are targets. Compute them without a graph, or the critic learns to move its target.",
)
def compute_gae(rewards, values, mask, gamma, lam, bootstrap=None):
    keep = mask.bool()
    deltas = torch.where(keep, rewards + gamma * _following(values, keep, bootstrap) - values, 0.0)
    return gae_of(deltas.detach(), gamma * lam, values, keep)


@mistake(
    "row_by_row",
    replaces="_sum_back",
    caught_by="test_gae_does_not_loop_over_rows",
    advice="A Python loop over rows and tokens pays for every number. Loop over time only, on vectors of N.",
)
def _sum_back(deltas, decay):
    sums = torch.empty_like(deltas)
    for row in range(deltas.shape[1]):
        running = 0.0
        for t in reversed(range(len(deltas))):
            sums[t, row] = running = float(deltas[t, row] + decay[t, row] * running)
    return sums


# ---- the losses


@mistake(
    "smaller_error",
    replaces="clipped_value_loss",
    caught_by="test_value_loss_takes_the_larger_error",
    advice="The pessimistic choice is the larger of both errors. The smaller one rewards a value for leaving the clip.",
)
def clipped_value_loss(values, old_values, returns, mask, clip):
    keep = mask.bool()
    values, old_values, returns = _only(keep, values, old_values.detach(), returns.detach())
    limited = values if clip is None else torch.clamp(values, old_values - clip, old_values + clip)
    error, clipped = (values - returns) ** 2, (limited - returns) ** 2
    return 0.5 * _masked_mean(torch.minimum(error, clipped), keep), _masked_mean(
        (clipped > error).to(error.dtype), keep
    )


@mistake(
    "clipfrac_after_clipping",
    replaces="clipped_value_loss",
    caught_by="test_value_clipping_stops_the_gradient",
    advice="Once the larger error is chosen, nothing exceeds it: the share is always 0. Compare with the plain error.",
)
def clipped_value_loss(values, old_values, returns, mask, clip):
    _require(clip is None or clip >= 0, "clip is negative")
    keep = mask.bool()
    values, old_values, returns = _only(keep, values, old_values.detach(), returns.detach())
    limited = values if clip is None else torch.clamp(values, old_values - clip, old_values + clip)
    clipped = (limited - returns) ** 2
    error = torch.maximum((values - returns) ** 2, clipped)
    return 0.5 * _masked_mean(error, keep), _masked_mean((clipped > error).to(error.dtype), keep)


@mistake(
    "cleaned_too_late",
    replaces="_only",
    caught_by="test_value_loss_ignores_what_is_masked",
    advice="The value may be right and the gradient is NaN: zeroing the squared error sends 0 · NaN back. Replace "
    "masked entries before anything is computed from them.",
)
def _only(keep, *tensors):
    return list(tensors)


def loss_of(given, *, sign=-1.0, detach=True, clean=True):
    """ppo_loss with another sign of the entropy, advantages that learn, or what is masked cleaned late."""
    given = {"clip": 0.2, "value_clip": 0.2, "value_coef": 0.5, "entropy_coef": 0.01} | given
    keep, clip = given["mask"].bool(), given["clip"]
    _require(clip >= 0, "clip is negative")
    advantages = given["advantages"].detach() if detach else given["advantages"]
    parts = given["logps"] - given["old_logps"].detach(), advantages, given["entropy"]
    log_ratio, advantages, entropy = _only(keep, *parts) if clean else parts
    ratio = log_ratio.exp()
    plain, clipped = -advantages * ratio, -advantages * ratio.clamp(1 - clip, 1 + clip)
    critic = (given[name] for name in ("values", "old_values", "returns", "mask", "value_clip"))
    value_loss, share = clipped_value_loss(*critic)
    policy_loss, entropy = _masked_mean(torch.maximum(plain, clipped), keep), _masked_mean(entropy, keep)
    stats = {"policy_loss": policy_loss, "value_loss": value_loss, "entropy": entropy, "value_clipfrac": share}
    stats["clipfrac"] = _masked_mean((clipped > plain).to(plain.dtype), keep)
    loss = policy_loss + given["value_coef"] * value_loss + sign * given["entropy_coef"] * entropy
    return loss, {name: value.item() for name, value in stats.items()}


@mistake(
    "entropy_as_a_cost",
    replaces="ppo_loss",
    caught_by="test_loss_adds_policy_value_and_entropy",
    advice="Entropy is a bonus: it is subtracted from a loss that is minimised.",
)
def ppo_loss(**given):
    return loss_of(given, sign=1.0)


@mistake(
    "advantages_learn",
    replaces="ppo_loss",
    caught_by="test_loss_gradient_stops_where_clipping_pays",
    advice="The advantages are constants in the policy's loss: detach them, or the policy loss trains the critic.",
)
def ppo_loss(**given):
    return loss_of(given, detach=False)


@mistake(
    "loss_masked_too_late",
    replaces="ppo_loss",
    caught_by="test_loss_ignores_what_is_masked",
    advice="exp of a masked log-ratio is NaN, and NaN stays in the gradient of all that is zeroed later. Replace "
    "masked log-ratios by 0 before exp.",
)
def ppo_loss(**given):
    return loss_of(given, clean=False)


# ---- training


@mistake(
    "ascent",
    replaces="_whiten",
    caught_by="test_training_makes_the_policy_good",
    advice="The advantages have the wrong sign on their way into the loss, so that bad tokens are learned.",
)
def _whiten(advantages, mask):
    counted = advantages[mask]
    return ((counted.mean() - advantages) / (counted.var(correction=0) + 1e-8).sqrt()).masked_fill(~mask, 0.0)


def targets_of(model, rollout, rewards, config, *, before=False, mixed=False):
    """_targets that bootstraps from the state before the last token, or has the returns of whitened advantages."""
    prompts, completions, mask, truncated = rollout
    with torch.no_grad():
        old_logps, _, old_values = evaluate_actions(model, prompts, completions)
        last = model(torch.cat([prompts, completions], dim=1))[1][:, -2 if before else -1]
    bootstrap = last.masked_fill(~truncated, 0.0)
    advantages, returns = compute_gae(rewards, old_values, mask, config.gamma, config.lam, bootstrap)
    advantages = _whiten(advantages, mask)
    returns = advantages + old_values if mixed else returns
    fixed = {"old_logps": old_logps, "old_values": old_values, "returns": returns, "mask": mask}
    return fixed | {"advantages": advantages}


@mistake(
    "whitened_returns",
    replaces="_targets",
    caught_by="test_training_makes_the_critic_true",
    advice="The returns are A + V with the advantages as GAE gives them. Whitened ones have mean 0, and the critic "
    "never learns the level of the rewards.",
)
def _targets(model, rollout, rewards, config):
    return targets_of(model, rollout, rewards, config, mixed=True)


@mistake(
    "bootstrap_before_the_last_token",
    replaces="_targets",
    caught_by="test_training_steps_are_exact",
    advice="A truncated row goes on from the state after its last token, at position P + T − 1. values[:, -1] of "
    "evaluate_actions is the state before it.",
)
def _targets(model, rollout, rewards, config):
    return targets_of(model, rollout, rewards, config, before=True)


def epochs_of(model, optimizer, rollout, fixed, config, *, renew=False, report=-1, clear=True):
    """_update that renews the old values, reports another epoch, or keeps the gradients that it finds."""
    reports = []
    for _ in range(config.epochs):
        logps, entropy, values = evaluate_actions(model, *rollout[:2])
        fixed = fixed | ({"old_values": values.detach()} if renew else {})
        coefs = {name: getattr(config, name) for name in ("clip", "value_clip", "value_coef", "entropy_coef")}
        loss, stats = ppo_loss(logps=logps, entropy=entropy, values=values, **fixed, **coefs)
        if clear:
            optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        reports.append(stats)
    return reports[report]


@mistake(
    "old_values_of_each_epoch",
    replaces="_update",
    caught_by="test_training_steps_are_exact",
    advice="The old values are those of the rollout, fixed over all epochs. Re-evaluated, they never clip anything.",
)
def _update(model, optimizer, rollout, fixed, config):
    return epochs_of(model, optimizer, rollout, fixed, config, renew=True)


@mistake(
    "first_epoch_reported",
    replaces="_update",
    caught_by="test_training_reports_each_update",
    advice="history holds the stats of the last epoch. In the first one ρ = 1, and nothing is ever clipped.",
)
def _update(model, optimizer, rollout, fixed, config):
    return epochs_of(model, optimizer, rollout, fixed, config, report=0)


@mistake(
    "stale_gradients",
    replaces="_update",
    caught_by="test_training_leaves_no_traces",
    advice="The model may arrive with gradients: clear them before the first backward, not only after each step.",
)
def _update(model, optimizer, rollout, fixed, config):
    return epochs_of(model, optimizer, rollout, fixed, config, clear=False)


# ---- episodes, variance


@mistake(
    "sum_runs_through_the_end",
    replaces="gae_episodes",
    caught_by="test_episodes_end_without_the_next_one",
    advice="The sum of errors stops where an episode ends. Carried on, it credits a step with the next episode's luck.",
)
def gae_episodes(rewards, values, terminated, truncated, final_values, gamma, lam):
    following = torch.where(truncated, final_values, values[1:]).masked_fill(terminated, 0.0)
    deltas = rewards + gamma * following - values[:-1]
    advantages = _sum_back(deltas, torch.full_like(deltas, gamma * lam))
    return advantages, advantages + values[:-1]


@mistake(
    "cut_off_is_the_end",
    replaces="gae_episodes",
    caught_by="test_episodes_cut_off_go_on_in_their_final_value",
    advice="A truncated episode would have gone on: its last δ takes final_values. Only termination is worth 0.",
)
def gae_episodes(rewards, values, terminated, truncated, final_values, gamma, lam):
    ended = terminated | truncated
    deltas = rewards + gamma * values[1:].masked_fill(ended, 0.0) - values[:-1]
    advantages = _sum_back(deltas, gamma * lam * (~ended).to(deltas.dtype))
    return advantages, advantages + values[:-1]


@mistake(
    "bias_counts",
    replaces="explained_variance",
    caught_by="test_explained_variance_compares_two_spreads",
    advice="Var(R − V) is a variance: subtract the mean error. Σ(R − V)² would be R², which sees a constant bias too.",
)
def explained_variance(values, returns, mask):
    keep = mask.bool()
    values, returns = values[keep].detach(), returns[keep].detach()
    if len(returns) == 0 or (returns == returns[0]).all():
        return float("nan")
    return (1 - (returns - values).square().mean() / returns.var(correction=0)).item()
