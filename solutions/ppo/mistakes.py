"""Known wrong solutions, each with the advice that belongs to it."""

import torch

from grader.checking import mistake

right_loss = ppo_clip_loss

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
    "temperature_in_place",
    replaces="token_logprobs",
    caught_by="test_logprobs_belong_to_the_next_token",
    advice="`logits.div_` scales the caller's logits: a second call divides them again. Divide into a new tensor.",
)
def token_logprobs(logits, ids, temperature=1.0):
    refuse(temperature)
    logits.detach().div_(temperature)
    return logits[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:].unsqueeze(-1)).squeeze(-1)


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
    "eps_outside_the_root",
    replaces="masked_whiten",
    caught_by="test_whiten_keeps_its_digits",
    advice="10⁻⁸ is added to the variance, inside the root: this divides by std + 10⁻⁸.",
)
@torch.no_grad()
def masked_whiten(x, mask, shift_mean=True):
    return whitened(x, mask, shift_mean, lambda total, n: 1 / ((total / (n - 1).clamp(min=1)).sqrt() + EPS))


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
    "drift_of_the_inverse_ratio",
    replaces="ppo_clip_loss",
    caught_by="test_loss_reports_clipping_and_drift",
    advice="The samples come from the old policy, so ρ = new/old: ρ − 1 − log ρ. With old/new it estimates no KL.",
)
def ppo_clip_loss(logp, old_logp, adv, mask, clip=0.2):
    log_ratio = log_ratios(logp, old_logp.detach(), mask)
    loss, stats = surrogate(log_ratio, adv.detach(), mask, clip)
    drift = float((torch.expm1(-log_ratio) + log_ratio).detach().sum()) / max(int(mask.sum()), 1)
    return loss, stats | {"approx_kl": drift}


@mistake(
    "loss_masked_by_product",
    replaces="ppo_clip_loss",
    caught_by="test_loss_ignores_what_is_masked",
    advice="0 · NaN is NaN: set the log-ratio to 0 where masked, with `torch.where`, before anything is made of it.",
)
def ppo_clip_loss(logp, old_logp, adv, mask, clip=0.2):
    return surrogate(((logp - old_logp.detach()) * mask).clamp(-20, 20), adv.detach(), mask, clip)


@mistake(
    "clips_counted_without_advantage",
    replaces="ppo_clip_loss",
    caught_by="test_loss_reports_clipping_and_drift",
    advice="Where A is 0 both terms are 0, and the second is not larger: count strictly.",
)
def ppo_clip_loss(logp, old_logp, adv, mask, clip=0.2):
    loss, stats = right_loss(logp, old_logp, adv, mask, clip)
    ratio = (logp - old_logp)[mask].clamp(-20, 20).exp()
    clipped = torch.where(adv[mask] < 0, ratio < 1 - clip, ratio > 1 + clip)
    return loss, stats | {"clipfrac": float(clipped.double().sum() / max(len(clipped), 1))}


@mistake(
    "no_limit",
    replaces="ppo_clip_loss",
    caught_by="test_loss_limits_the_log_ratio",
    advice="exp overflows, and inf · 0 is NaN in the gradient: clamp the log-ratio to ±20 first.",
)
def ppo_clip_loss(logp, old_logp, adv, mask, clip=0.2):
    return surrogate(torch.where(mask, logp - old_logp.detach(), 0.0), adv.detach(), mask, clip)
