"""Hidden checks of the KL kata. Wherever a value is a single number it is compared in float64."""

import math

import torch

from grader.checking import (
    assert_close,
    assert_inputs_unchanged,
    assert_raises,
    assert_true,
    check,
    gradients,
)

F32, F64 = torch.float32, torch.float64
INF, NAN = math.inf, math.nan
KINDS = ("k1", "k2", "k3")
TIGHT = {"rtol": 1e-9, "atol": 1e-11}
TOLERANCES = {F32: {"rtol": 1e-5, "atol": 1e-6}, F64: TIGHT}


def log_probs(rng, *shape, dtype=F64):
    """Normalised log-probabilities over the last axis, spread over a few nats."""
    return (1.5 * rng.tensor(*shape, dtype=dtype)).log_softmax(-1)


def truncate_first_row(logp):
    """The same, but the last outcome of the first row has probability 0."""
    logp[0, -1] = -INF
    return logp.log_softmax(-1)


def sampled_logps(rng, *shape, dtype=F64):
    """Log-probabilities of a sample under two policies, about one nat apart."""
    logp = -rng.tensor(*shape, dtype=dtype).exp()
    return logp, logp - rng.tensor(*shape, dtype=dtype)


def zero_rows(rng, dtype=F64):
    """Five pairs (p, q) of probabilities with exact zeros, the columns shuffled: (5, 4) each. The last KL is +inf."""
    a, b = rng.uniform(0.2, 0.4, size=2)
    p = [[a, 1 - a, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [1 - b, b, 0, 0], [a, 1 - a - b, b, 0]]
    q = [[b, a, 1 - a - b, 0], [b, a, 1 - a - b, 0], [0, 1, 0, 0], [b, 1 - b, 0, 0], [1 - a, a, 0, 0]]
    columns = torch.from_numpy(rng.permutation(4))
    return torch.tensor(p, dtype=dtype)[:, columns], torch.tensor(q, dtype=dtype)[:, columns]


def keep_some(rng, counts, length):
    """A bool mask (B, T) with counts[b] kept positions in row b, at random places."""
    keep = torch.zeros(len(counts), length, dtype=torch.bool)
    for row, count in zip(keep, counts, strict=True):
        row[torch.from_numpy(rng.permutation(length)[:count])] = True
    return keep


@check("categorical", points=8)
def test_categorical_weighs_the_log_ratio_by_p(attempt, reference, rng):
    """kl_categorical is Σ p·(log p − log q) over the last axis, whatever axes stand before it"""
    for dtype, shape in ((F64, (7,)), (F64, (3, 5)), (F32, (9, 4)), (F32, (2, 3, 4, 6)), (F64, (4, 2, 3))):
        logp, logq = log_probs(rng, *shape, dtype=dtype), log_probs(rng, *shape, dtype=dtype)
        got = assert_inputs_unchanged(attempt.kl_categorical, logp, logq)
        assert_close(got, reference.kl_categorical(logp, logq), **TOLERANCES[dtype])
    logp, logq = (log_probs(rng, 5, 2, 3).transpose(0, 1) for _ in range(2))
    got = attempt.kl_categorical(logp, logq)
    assert_close(got, reference.kl_categorical(logp, logq), **TIGHT, label="non-contiguous input")


@check("categorical", points=5, needs="test_categorical_weighs_the_log_ratio_by_p")
def test_zero_probabilities_count_nothing_or_infinity(attempt, reference, rng):
    """in log space, p = 0 adds nothing (even where q = 0, even by underflow), and p > 0 with q = 0 gives +inf"""
    for dtype in (F32, F64):
        p, q = zero_rows(rng, dtype)
        got = attempt.kl_categorical(p.log(), q.log())
        assert_close(got, reference.kl_categorical(p.log(), q.log()), **TOLERANCES[dtype])
        huge, other = (1e4 * rng.tensor(6, 5, dtype=dtype)).log_softmax(-1), log_probs(rng, 6, 5, dtype=dtype)
        got = attempt.kl_categorical(huge, other)
        assert_close(got, reference.kl_categorical(huge, other), **TOLERANCES[dtype], label="logits of 1e4")
        underflown, truncated = huge.clone(), other.clone()
        truncated[huge < -2000] = -INF
        got = attempt.kl_categorical(underflown, truncated)
        want = reference.kl_categorical(underflown, truncated)
        assert_close(got, want, **TOLERANCES[dtype], label="exp(logp) underflows to 0 where logq is −inf")


@check("categorical", points=5, needs="test_zero_probabilities_count_nothing_or_infinity")
def test_gradient_survives_a_truncated_vocabulary(attempt, reference, rng):
    """gradients are p·(log p − log q + 1) and −p, and exactly 0 (never NaN) where p = 0"""
    p, q = zero_rows(rng)
    inputs = {"logp": p[:4].log(), "logq": q[:4].log()}
    upstream = rng.tensor(4, dtype=F64)
    out, got = gradients(attempt.kl_categorical, inputs, wrt=("logp", "logq"), upstream=upstream)
    want_out, want = gradients(reference.kl_categorical, inputs, wrt=("logp", "logq"), upstream=upstream)
    assert_close(out, want_out, **TIGHT)
    assert_close(got, want, **TIGHT)


@check("categorical", points=4)
def test_from_probs_takes_exact_zeros(attempt, reference, rng):
    """kl_from_probs gives the same from probabilities: 0·log 0 = 0, p > 0 over q = 0 is +inf, and no epsilon"""
    for dtype in (F32, F64):
        p, q = zero_rows(rng, dtype)
        got = assert_inputs_unchanged(attempt.kl_from_probs, p, q)
        assert_close(got, reference.kl_from_probs(p, q), **TOLERANCES[dtype])
    p, q = log_probs(rng, 3, 2, 5).exp(), log_probs(rng, 3, 2, 5).exp()
    assert_close(attempt.kl_from_probs(p, q), reference.kl_from_probs(p, q), **TIGHT)


@check("directions", points=5, needs="test_categorical_weighs_the_log_ratio_by_p")
def test_forward_weighs_by_the_target_and_reverse_by_the_model(attempt, reference, rng):
    """forward_kl(target, model) is KL(target‖model), reverse_kl(target, model) is KL(model‖target)"""
    target, model = log_probs(rng, 4, 6), truncate_first_row(log_probs(rng, 4, 6))
    forward, reverse = attempt.forward_kl(target, model), attempt.reverse_kl(target, model)
    assert_close(forward, reference.forward_kl(target, model), **TIGHT, label="forward_kl")
    assert_close(reverse, reference.reverse_kl(target, model), **TIGHT, label="reverse_kl")


@check("directions", points=4, needs="test_categorical_weighs_the_log_ratio_by_p")
def test_symmetric_is_the_sum_of_both(attempt, reference, rng):
    """symmetric_kl is Jeffreys' divergence: forward plus reverse, the same with its arguments exchanged"""
    target, model = log_probs(rng, 4, 6), log_probs(rng, 4, 6)
    assert_close(attempt.symmetric_kl(target, model), reference.symmetric_kl(target, model), **TIGHT)
    assert_close(attempt.symmetric_kl(model, target), reference.symmetric_kl(target, model), **TIGHT)


@check("gaussian", points=5)
def test_gaussian_closed_form(attempt, reference, rng):
    """kl_gaussian is log(std2/std1) + (std1² + (mu1 − mu2)²)/(2·std2²) − 1/2, elementwise with broadcasting"""
    for dtype, shapes in ((F64, ((4, 3),) * 4), (F32, ((4, 3),) * 4), (F64, ((4, 1, 3), (3,), (2, 3), ()))):
        mu1, std1, mu2, std2 = (rng.tensor(*shape, dtype=dtype) for shape in shapes)
        inputs = mu1, std1.exp(), mu2, std2.exp()
        got = assert_inputs_unchanged(attempt.kl_gaussian, *inputs)
        assert_close(got, reference.kl_gaussian(*inputs), **TOLERANCES[dtype])


@check("gaussian", points=4, needs="test_gaussian_closed_form")
def test_gaussian_depends_on_ratios_alone(attempt, reference, rng):
    """scaling means and deviations together by 1e-25 or 1e25 changes nothing, in float32"""
    got, want = [], []
    for scale in (1e-25, 1.0, 1e25):
        for _ in range(3):
            mu1, mu2, std1, std2 = (*rng.normal(size=2), *rng.uniform(0.5, 2.0, size=2))
            inputs = [torch.tensor(x * scale, dtype=F32) for x in (mu1, std1, mu2, std2)]
            got.append(attempt.kl_gaussian(*inputs))
            want.append(reference.kl_gaussian(*inputs))
    assert_close(got, want, rtol=5e-5, atol=2e-5)  # room for log std2 − log std1, two numbers of size 58


@check("estimators", points=7)
def test_estimators_are_per_sample(attempt, reference, rng):
    """with d = log p − log q for x ~ p: k1 = d, k2 = d²/2, k3 = e^−d − 1 + d, in the shape of the input"""
    for dtype, shape in ((F64, ()), (F32, (11,)), (F64, (3, 5)), (F64, (4, 2, 3))):
        logp, logq = (x.movedim(0, -1) if shape else x for x in sampled_logps(rng, *shape, dtype=dtype))
        for kind in KINDS:
            got = assert_inputs_unchanged(attempt.kl_estimate, logp, logq, kind)
            assert_close(got, reference.kl_estimate(logp, logq, kind), **TOLERANCES[dtype], label=kind)
    assert_raises(ValueError, attempt.kl_estimate, logp, logq, "k4")


@check("estimators", points=5, needs="test_estimators_are_per_sample")
def test_k3_keeps_its_digits_near_zero(attempt, reference, rng):
    """k3 of a log-ratio of 1e-6 is 5e-13, not the rounding residue of e^−d − 1 + d"""
    logp = -torch.from_numpy(rng.uniform(1, 3, size=24))
    d = torch.from_numpy(10 ** rng.uniform(-6.5, -5.5, size=24) * rng.choice([-1, 1], size=24))
    got = attempt.kl_estimate(logp, logp - d, "k3")
    assert_close(got, reference.kl_estimate(logp, logp - d, "k3"), rtol=1e-6, atol=1e-20)


@check("estimators", points=5, needs="test_estimators_are_per_sample")
def test_k3_clamps_the_log_ratio(attempt, reference, rng):
    """k3 stays finite for far-off samples, its log-ratio clamped to ±20 in both places; k1 and k2 are not clamped"""
    d = torch.tensor([-900.0, -60.0, -25.0, 25.0, 60.0, 900.0, INF]) + torch.from_numpy(rng.uniform(size=7)).float()
    logp = -torch.from_numpy(rng.uniform(1, 3, size=7)).float()
    for kind in KINDS:
        got = attempt.kl_estimate(logp, logp - d, kind)
        assert_close(got, reference.kl_estimate(logp, logp - d, kind), **TOLERANCES[F32], label=kind)


@check("sequence", points=6, needs="test_estimators_are_per_sample")
def test_sequence_and_token_means_differ(attempt, reference, rng):
    """reduce="sequence" sums a row's tokens and averages the rows; "token" averages over all counted tokens"""
    logp, ref_logp = sampled_logps(rng, 3, 5)
    keep = keep_some(rng, (5, 1, 3), length=5)
    for mask in (keep, keep.long()):
        for kind in KINDS:
            for reduce in ("sequence", "token"):
                got = assert_inputs_unchanged(attempt.masked_sequence_kl, logp, ref_logp, mask, kind, reduce)
                want = reference.masked_sequence_kl(logp, ref_logp, mask, kind, reduce)
                assert_close(got, want, **TIGHT, label=f"{kind}, {reduce}")
    assert_raises(ValueError, attempt.masked_sequence_kl, logp, ref_logp, keep, "k1", "mean")


@check("sequence", points=6, needs="test_sequence_and_token_means_differ")
def test_masked_positions_never_leak(attempt, reference, rng):
    """NaN and ±inf at masked positions reach neither the value nor the gradient, which is 0 there"""
    keep = keep_some(rng, (3, 3), length=6)
    logp, ref_logp = sampled_logps(rng, 2, 6)
    logp[~keep] = torch.tensor([NAN, -INF, INF, -INF, 0.0, NAN], dtype=F64)
    ref_logp[~keep] = torch.tensor([0.0, -INF, 0.0, -1.0, -INF, NAN], dtype=F64)
    upstream = rng.tensor(dtype=F64)
    for kind in KINDS:
        for reduce in ("sequence", "token"):
            inputs = {"logp": logp, "ref_logp": ref_logp, "mask": keep, "kind": kind, "reduce": reduce}
            out, got = gradients(attempt.masked_sequence_kl, inputs, wrt=("logp", "ref_logp"), upstream=upstream)
            want_out, want = gradients(
                reference.masked_sequence_kl, inputs, wrt=("logp", "ref_logp"), upstream=upstream
            )
            assert_close(out, want_out, **TIGHT, label=f"value, {kind}, {reduce}")
            assert_close(got, want, **TIGHT, label=f"gradient, {kind}, {reduce}")


@check("sequence", points=4, needs="test_sequence_and_token_means_differ")
def test_empty_rows_count_as_zero(attempt, reference, rng):
    """a row without counted tokens is a 0 in the mean over rows; a batch without any gives 0"""
    got, want = [], []
    for counts, length, reduce in (
        ((4, 0, 1, 0), 4, "sequence"),
        ((1,), 1, "sequence"),
        ((1,), 1, "token"),
        ((0, 0), 3, "sequence"),
        ((0, 0), 3, "token"),
    ):
        logp, ref_logp = sampled_logps(rng, len(counts), length)
        mask = keep_some(rng, counts, length)
        got.append(attempt.masked_sequence_kl(logp, ref_logp, mask, "k3", reduce))
        want.append(reference.masked_sequence_kl(logp, ref_logp, mask, "k3", reduce))
    assert_close(got, want, **TIGHT)


@check("gradients", points=8, needs="test_estimators_are_per_sample")
def test_one_step_follows_the_exact_gradient(attempt, reference, rng):
    """one step of gradient descent from any logits, for k1, k2 and k3, in the reward and in the loss"""
    logits, reward = rng.tensor(5, dtype=F64), rng.tensor(5, dtype=F64)
    inputs = {"logits": logits, "ref_logp": log_probs(rng, 5), "reward": reward, "beta": 0.3, "lr": 0.7}
    for kind in KINDS:
        for place in ("reward", "loss"):
            setting = {"kind": kind, "place": place, "steps": 1}
            got = assert_inputs_unchanged(attempt.kl_grad_experiment, **inputs, **setting)
            want = reference.kl_grad_experiment(**inputs, **setting)
            assert_close(got, want, **TIGHT, label=f"{kind} in the {place}")
    assert_raises(ValueError, attempt.kl_grad_experiment, **inputs, kind="k1", place="kl", steps=1)


@check("gradients", points=8, needs="test_one_step_follows_the_exact_gradient")
def test_fixed_points_tell_the_estimators_apart(attempt, rng):
    """trained to the end, k1-in-reward and k2-in-loss reach π_ref·exp(R/β)/Z, k3-in-loss the forward-KL optimum"""
    order = torch.from_numpy(rng.permutation(4))
    ref = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=F64)[order]
    reward = torch.tensor([0.0, 0.3, 0.6, 1.0], dtype=F64)[order] + torch.from_numpy(rng.uniform(0, 0.1, size=4))
    inputs = {"logits": rng.tensor(4, dtype=F64) / 4, "ref_logp": ref.log(), "reward": reward, "beta": 0.5}
    reverse, forward = (ref.log() + reward / 0.5).softmax(-1), forward_kl_optimum(ref, reward, 0.5)
    for kind, place, optimum in (("k1", "reward", reverse), ("k2", "loss", reverse), ("k3", "loss", forward)):
        got = attempt.kl_grad_experiment(**inputs, kind=kind, place=place, lr=4.0, steps=60)
        assert_close(got, optimum, rtol=0, atol=1e-7, label=f"{kind} in the {place}")
    got = attempt.kl_grad_experiment(**inputs, kind="k1", place="loss", lr=4.0, steps=60)
    greedy = (reward == reward.max()).double()
    assert_close(got, greedy, rtol=0, atol=0.05, label="k1 in the loss, which penalises nothing in expectation")


def forward_kl_optimum(ref, reward, beta):
    """argmax of E_π[R] − β·KL(ref‖π): π = β·ref/(λ − R), with λ > max R found by bisection so that it sums to 1."""
    low, high = reward.max(), reward.max() + beta
    for _ in range(60):
        middle = (low + high) / 2
        if (beta * ref / (middle - reward)).sum() > 1:
            low = middle
        else:
            high = middle
    return beta * ref / (high - reward)


@check("uses", points=6, needs="test_estimators_are_per_sample")
def test_ppo_kl_is_under_the_old_policy(attempt, reference, rng):
    """ppo_approx_kl is the mean k3 of KL(old‖new) for actions of the old policy, clamped, and carries no gradient"""
    old_logp, new_logp = sampled_logps(rng, 4, 3)
    got = assert_inputs_unchanged(attempt.ppo_approx_kl, new_logp, old_logp)
    assert_close(got, reference.ppo_approx_kl(new_logp, old_logp), **TIGHT)
    far = new_logp - 40 * torch.from_numpy(rng.choice([-1, 1], size=(4, 3)))
    assert_close(attempt.ppo_approx_kl(far, old_logp), reference.ppo_approx_kl(far, old_logp), **TIGHT, label="far off")
    tracked = attempt.ppo_approx_kl(new_logp.requires_grad_(), old_logp)
    assert_close(tracked, got, **TIGHT)
    assert_true(not tracked.requires_grad, "the result requires grad; it is a statistic")


@check("uses", points=5, needs="test_zero_probabilities_count_nothing_or_infinity")
def test_dpo_kl_is_that_of_its_optimum(attempt, reference, rng):
    """dpo_implicit_kl is KL(π*‖π_ref) for π* = π_ref·exp(reward/β)/Z, finite for any finite reward/β"""
    ref_logp, reward = truncate_first_row(log_probs(rng, 4, 6)), 2 + rng.tensor(4, 6, dtype=F64)
    for beta in (0.1, 0.7, 5.0, 1e-3):
        got = assert_inputs_unchanged(attempt.dpo_implicit_kl, ref_logp, reward, beta)
        assert_close(got, reference.dpo_implicit_kl(ref_logp, reward, beta), rtol=1e-6, atol=1e-7, label=f"β = {beta}")
