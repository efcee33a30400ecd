"""Known wrong ways to train on a KL and to use one, each with the advice that belongs to it."""

import torch

from grader.checking import mistake


def in_reward(logp, k, reward, beta):
    """The right loss (V,) of place="reward"."""
    return -(reward - beta * k.detach()) * logp


def in_loss(logp, k, reward, beta):
    """The right loss (V,) of place="loss"."""
    return beta * k - reward * logp


def train(logits, ref_logp, reward, beta, lr, steps, *, place, kind, **pieces):
    """The experiment, of which a mistake may choose what weighs the outcomes, the estimate, a loss or the step."""
    piece = {"weight": torch.detach, "estimate": kl_estimate, "step": torch.clone}
    piece |= {"in_reward": in_reward, "in_loss": in_loss} | pieces
    if place not in ("reward", "loss"):
        raise ValueError(place)
    theta = logits.clone().requires_grad_()
    for _ in range(steps):
        logp = theta.log_softmax(-1)
        loss = piece[f"in_{place}"](logp, piece["estimate"](logp, ref_logp, kind), reward, beta)
        (grad,) = torch.autograd.grad((piece["weight"](logp.exp()) * loss).sum(), theta)
        theta = (theta - lr * piece["step"](grad)).detach().requires_grad_()
    return theta.detach().softmax(-1)


@mistake(
    "differentiates_the_expectation",
    replaces="kl_grad_experiment",
    caught_by="test_one_step_follows_the_exact_gradient",
    advice="Samples carry no gradient: detach the weights p, or you train on the exact KL whatever the estimator.",
)
def kl_grad_experiment(**problem):
    return train(**problem, weight=torch.clone)


@mistake(
    "penalty_in_reward_keeps_its_gradient",
    replaces="kl_grad_experiment",
    caught_by="test_one_step_follows_the_exact_gradient",
    advice="A reward is a number the rollout returned: detach k before it is subtracted from the reward.",
)
def kl_grad_experiment(**problem):
    def attached(logp, k, reward, beta):
        return -(reward - beta * k) * logp

    return train(**problem, in_reward=attached)


@mistake(
    "penalty_in_loss_loses_its_gradient",
    replaces="kl_grad_experiment",
    caught_by="test_one_step_follows_the_exact_gradient",
    advice="In the loss k is differentiated: detached, it is a constant and penalises nothing.",
)
def kl_grad_experiment(**problem):
    def detached(logp, k, reward, beta):
        return beta * k.detach() - reward * logp

    return train(**problem, in_loss=detached)


@mistake(
    "loss_without_beta",
    replaces="kl_grad_experiment",
    caught_by="test_one_step_follows_the_exact_gradient",
    advice="beta scales the penalty in the loss as well.",
)
def kl_grad_experiment(**problem):
    return train(**problem | {"beta": problem["beta"] if problem["place"] == "reward" else 1.0})


@mistake(
    "penalty_sign",
    replaces="kl_grad_experiment",
    caught_by="test_one_step_follows_the_exact_gradient",
    advice="The KL is subtracted from the reward and added to the loss; turned round it rewards drift.",
)
def kl_grad_experiment(**problem):
    return train(**problem | {"beta": -problem["beta"]})


@mistake(
    "estimator_roles_exchanged",
    replaces="kl_grad_experiment",
    caught_by="test_one_step_follows_the_exact_gradient",
    advice="Samples come from π, so log π is kl_estimate's first argument and ref_logp the second.",
)
def kl_grad_experiment(**problem):
    def exchanged(logp, ref_logp, kind):
        return kl_estimate(ref_logp, logp, kind)

    return train(**problem, estimate=exchanged)


@mistake(
    "gradient_ascent",
    replaces="kl_grad_experiment",
    caught_by="test_one_step_follows_the_exact_gradient",
    advice="The reward already has its minus in the loss: descend, θ − lr·gradient.",
)
def kl_grad_experiment(**problem):
    return train(**problem | {"lr": -problem["lr"]})


@mistake(
    "clips_the_gradient",
    replaces="kl_grad_experiment",
    caught_by="test_one_step_follows_the_exact_gradient",
    advice="A step is lr times the whole gradient, however large the rewards: no clipping.",
)
def kl_grad_experiment(**problem):
    def clipped(grad):
        return grad.clamp(-1, 1)

    return train(**problem, step=clipped)


@mistake(
    "stale_samples",
    replaces="kl_grad_experiment",
    caught_by="test_later_steps_are_plain_gradient_descent",
    advice="The expectation is under the current policy: recompute p every step. Old samples need the ratio π/π_old.",
)
def kl_grad_experiment(**problem):
    old = problem["logits"].softmax(-1)
    return train(**problem, weight=lambda _p: old)


@mistake(
    "slope_of_k3_unclamped",
    replaces="kl_grad_experiment",
    caught_by="test_later_steps_are_plain_gradient_descent",
    advice="Outside [−20, 20] the clamp makes k3 constant: its slope there is 0, in a gradient by hand too.",
)
def kl_grad_experiment(**problem):
    def unclamped(logp, ref_logp, kind):
        clamped, free = kl_estimate(logp, ref_logp, kind), logp - ref_logp
        return clamped if kind != "k3" else clamped.detach() - torch.expm1(-free.detach()) * (free - free.detach())

    return train(**problem, estimate=unclamped)


@mistake(
    "stops_early",
    replaces="kl_grad_experiment",
    caught_by="test_fixed_points_tell_the_estimators_apart",
    advice="A small gradient is no reason to stop: take all the steps.",
)
def kl_grad_experiment(**problem):
    def until_small(grad):
        return grad * (grad.abs().max() > 1e-4)

    return train(**problem, step=until_small)


@mistake(
    "result_with_graph",
    replaces="kl_grad_experiment",
    caught_by="test_the_experiment_leaves_no_trace",
    advice="The result is asked for without gradient: detach θ before the last softmax.",
)
def kl_grad_experiment(**problem):
    return train(**problem).requires_grad_()


@mistake(
    "unknown_place_is_loss",
    replaces="kl_grad_experiment",
    caught_by="test_the_experiment_leaves_no_trace",
    advice='Any place but "reward" and "loss" must raise ValueError: a typo would silently move the penalty.',
)
def kl_grad_experiment(**problem):
    return train(**problem | {"place": "reward" if problem["place"] == "reward" else "loss"})


@mistake(
    "ppo_roles_mixed",
    replaces="ppo_approx_kl",
    caught_by="test_ppo_kl_is_under_the_old_policy",
    advice="The actions were drawn by the old policy, so p is old and the ratio in k3 is new/old.",
)
def ppo_approx_kl(new_logp, old_logp):
    with torch.no_grad():
        return kl_estimate(new_logp, old_logp, "k3").mean()


@mistake(
    "ppo_with_k1",
    replaces="ppo_approx_kl",
    caught_by="test_ppo_kl_is_under_the_old_policy",
    advice="This is the mean of old − new, k1: right on average, but noisy and often negative. The prompt asks for k3.",
)
def ppo_approx_kl(new_logp, old_logp):
    with torch.no_grad():
        return (old_logp - new_logp).mean()


@mistake(
    "ppo_summed",
    replaces="ppo_approx_kl",
    caught_by="test_ppo_kl_is_under_the_old_policy",
    advice="The statistic is the mean over all elements: a sum grows with the batch, and the threshold does not.",
)
def ppo_approx_kl(new_logp, old_logp):
    with torch.no_grad():
        return kl_estimate(old_logp, new_logp, "k3").sum()


@mistake(
    "ppo_statistic_with_gradient",
    replaces="ppo_approx_kl",
    caught_by="test_ppo_kl_is_under_the_old_policy",
    advice="It is a statistic for early stopping: compute it under no_grad, or it keeps the graph alive.",
)
def ppo_approx_kl(new_logp, old_logp):
    return kl_estimate(old_logp, new_logp, "k3").mean()


@mistake(
    "dpo_without_partition",
    replaces="dpo_implicit_kl",
    caught_by="test_dpo_kl_is_that_of_its_optimum",
    advice="log(π*/π_ref) is reward/β − log Z: without log Z, adding a constant to the reward changes the result.",
)
def dpo_implicit_kl(ref_logp, reward, beta):
    optimum = (ref_logp + reward / beta).softmax(-1)
    return (optimum * reward / beta).sum(-1)


@mistake(
    "dpo_without_reference",
    replaces="dpo_implicit_kl",
    caught_by="test_dpo_kl_is_that_of_its_optimum",
    advice="π* is π_ref·exp(reward/β)/Z: add ref_logp before you normalise.",
)
def dpo_implicit_kl(ref_logp, reward, beta):
    return kl_categorical((reward / beta).log_softmax(-1), ref_logp)


@mistake(
    "dpo_multiplies_by_beta",
    replaces="dpo_implicit_kl",
    caught_by="test_dpo_kl_is_that_of_its_optimum",
    advice="The optimum tilts by exp(reward/β): a larger β stays nearer to the reference.",
)
def dpo_implicit_kl(ref_logp, reward, beta):
    return kl_categorical((ref_logp + reward * beta).log_softmax(-1), ref_logp)


@mistake(
    "dpo_forward_direction",
    replaces="dpo_implicit_kl",
    caught_by="test_dpo_kl_is_that_of_its_optimum",
    advice="RLHF and DPO pay KL(policy‖reference): the optimum is the weight, not the reference.",
)
def dpo_implicit_kl(ref_logp, reward, beta):
    return kl_categorical(ref_logp, (ref_logp + reward / beta).log_softmax(-1))


@mistake(
    "dpo_without_edges",
    replaces="dpo_implicit_kl",
    caught_by="test_dpo_kl_is_finite_for_any_reward",
    advice="Where ref_logp is −inf, log π* − ref_logp is NaN: kl_categorical settles that, the bare sum does not.",
)
def dpo_implicit_kl(ref_logp, reward, beta):
    optimum = (ref_logp + reward / beta).log_softmax(-1)
    return (optimum.exp() * (optimum - ref_logp)).sum(-1)


@mistake(
    "dpo_overflows",
    replaces="dpo_implicit_kl",
    caught_by="test_dpo_kl_is_finite_for_any_reward",
    advice="exp(reward/β) overflows for a small β: stay in log space and normalise with log_softmax.",
)
def dpo_implicit_kl(ref_logp, reward, beta):
    weights = ref_logp.exp() * (reward / beta).exp()
    return kl_from_probs(weights / weights.sum(-1, keepdim=True), ref_logp.exp())


@mistake(
    "dpo_shifts_by_the_best_reward",
    replaces="dpo_implicit_kl",
    caught_by="test_dpo_kl_is_finite_for_any_reward",
    advice="The best reward may stand where π_ref is 0; shifted by it everything else underflows. Add ref_logp first.",
)
def dpo_implicit_kl(ref_logp, reward, beta):
    weights = ref_logp.exp() * ((reward - reward.amax(-1, keepdim=True)) / beta).exp()
    return kl_from_probs(weights / weights.sum(-1, keepdim=True), ref_logp.exp())
