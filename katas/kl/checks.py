"""Hidden checks of the KL kata. Wherever a value is a single number it is compared in float64."""

import math
from copy import deepcopy

import torch

from grader.checking import assert_close, assert_inputs_unchanged, assert_raises, assert_true, check, gradients

F32, F64 = torch.float32, torch.float64
INF, NAN = math.inf, math.nan
KINDS = ("k1", "k2", "k3")
DIRECTIONS = ("forward_kl", "reverse_kl", "symmetric_kl")
TIGHT = {"rtol": 1e-9, "atol": 1e-11}
TOLERANCES = {F32: {"rtol": 1e-5, "atol": 1e-6}, F64: TIGHT}


def log_probs(rng, *shape, dtype=F64):
    """Normalised log-probabilities over the last axis, spread over a few nats."""
    return (1.5 * rng.tensor(*shape, dtype=dtype)).log_softmax(-1)


def without(logp, outcome):
    """The same distribution (V,), normalised anew after that outcome has lost its probability."""
    lacking = logp.clone()
    lacking[outcome] = -INF
    return lacking.log_softmax(-1)


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


def underflown_rows(rng, dtype):
    """Log-probabilities (6, 5) from logits of 1e4, most of which underflow, and others that are −inf at some."""
    logp, logq = (1e4 * rng.tensor(6, 5, dtype=dtype)).log_softmax(-1), rng.tensor(6, 5, dtype=dtype)
    return logp, logq.masked_fill(logp < -2000, -INF).log_softmax(-1)


def negative_slices(rng, dtype):
    """Log-probabilities (6, 3) of the 3 of 9 outcomes where log p − log q is lowest: their KL is below 0."""
    logp, logq = (log_probs(rng, 6, 9, dtype=dtype) for _ in range(2))
    lowest = (logp - logq).argsort(-1)[:, :3]
    return logp.gather(-1, lowest), logq.gather(-1, lowest)


def by_column(tensor):
    """The same values, not contiguous."""
    return tensor.transpose(0, 1).contiguous().transpose(0, 1)


def keep_some(rng, counts, length):
    """A bool mask (B, T) with counts[b] kept positions in row b, at random places."""
    keep = torch.zeros(len(counts), length, dtype=torch.bool)
    for row, count in zip(keep, counts, strict=True):
        row[torch.from_numpy(rng.permutation(length)[:count])] = True
    return keep


def bandit(rng, outcomes=5):
    """A problem for `kl_grad_experiment`, without steps, place and kind."""
    logits, reward = (rng.tensor(outcomes, dtype=F64) for _ in range(2))
    beta, lr = rng.uniform(0.2, 0.6), rng.uniform(0.4, 0.9)
    return {"logits": logits, "ref_logp": log_probs(rng, outcomes), "reward": reward, "beta": beta, "lr": lr}


def agree(attempt, reference, name, *args, tolerance=TIGHT, label="", **kwargs):
    """The attempt's function returns what the reference's does."""
    got, want = getattr(attempt, name)(*args, **kwargs), getattr(reference, name)(*args, **kwargs)
    assert_close(got, want, **tolerance, label=label)


def gradients_agree(attempt, reference, name, inputs, wrt, rng, label=""):
    """Both return the same value, and the same gradients for one random upstream gradient."""
    twin = deepcopy(rng)
    got, got_grads = gradients(getattr(attempt, name), inputs, wrt=wrt, upstream=rng)
    want, want_grads = gradients(getattr(reference, name), inputs, wrt=wrt, upstream=twin)
    assert_close(got, want, **TIGHT, label=label)
    for key in wrt:
        assert_close(got_grads[key], want_grads[key], **TIGHT, label=f"{label and label + ', '}gradient of {key}")


@check("categorical", points=6)
def test_categorical_weighs_the_log_ratio_by_p(attempt, reference, rng):
    """kl_categorical is Σ p·(log p − log q) over the last axis, whatever axes stand before it"""
    for shape in ((7,), (3, 5), (4, 2, 3), (2, 3, 4, 6)):
        agree(attempt, reference, "kl_categorical", log_probs(rng, *shape), log_probs(rng, *shape))
    logp, logq = (log_probs(rng, 5, 2, 3).transpose(0, 1) for _ in range(2))
    agree(attempt, reference, "kl_categorical", logp, logq, label="non-contiguous input")


@check("categorical", points=5, needs="test_categorical_weighs_the_log_ratio_by_p")
def test_zero_probabilities_count_nothing_or_infinity(attempt, reference, rng):
    """in log space, p = 0 adds nothing (even where q = 0), any p > 0 over q = 0 is +inf, nothing is normalised anew"""
    for dtype in (F64, F32):
        p, q = zero_rows(rng, dtype)
        got = assert_inputs_unchanged(attempt.kl_categorical, p.log(), q.log())
        assert_close(got, reference.kl_categorical(p.log(), q.log()), **TOLERANCES[dtype])
        for low in (-40.0, -80.0, -float(rng.integers(110, 700)), -710.0):
            logp, logq = torch.tensor([[[0.0, low]], [[0.0, -INF]]], dtype=dtype)
            agree(attempt, reference, "kl_categorical", logp, logq, label=f"log p (0, {low:.0f}) over log q (0, −inf)")
        rows, tolerance = underflown_rows(rng, dtype), TOLERANCES[dtype]
        agree(attempt, reference, "kl_categorical", *rows, tolerance=tolerance, label="exp(logp) underflows")
        rows = negative_slices(rng, dtype)
        agree(attempt, reference, "kl_categorical", *rows, tolerance=tolerance, label="a slice of the vocabulary")


@check("categorical", points=4, needs="test_categorical_weighs_the_log_ratio_by_p")
def test_gradient_survives_a_truncated_vocabulary(attempt, reference, rng):
    """gradients are p·(log p − log q + 1) and −p, and exactly 0 (never NaN) where p = 0"""
    p, q = zero_rows(rng)
    inputs = {"logp": p[:4].log(), "logq": q[:4].log()}
    for backward in ("first backward", "second backward, same inputs"):
        gradients_agree(attempt, reference, "kl_categorical", inputs, ("logp", "logq"), rng, label=backward)


@check("categorical", points=5)
def test_from_probs_takes_exact_zeros(attempt, reference, rng):
    """kl_from_probs gives the same from probabilities: 0·log 0 = 0, only q = 0 is +inf, and no epsilon"""
    for dtype in (F64, F32):
        p, q = zero_rows(rng, dtype)
        got = assert_inputs_unchanged(attempt.kl_from_probs, p, q)
        assert_close(got, reference.kl_from_probs(p, q), **TOLERANCES[dtype])
        for tiny in (1e-15, 1e-30, 1e-40):
            p = torch.from_numpy(rng.uniform(0.2, 0.8, size=(3, 1)) * [1, -1] + [0, 1]).to(dtype)
            q = torch.tensor([[1.0, tiny]] * 3, dtype=dtype)
            tolerance = TOLERANCES[dtype]
            agree(attempt, reference, "kl_from_probs", p, q, tolerance=tolerance, label=f"q is (1, {tiny:.0e})")
            p, q = torch.tensor([[[1.0, tiny]], [[1.0, 0.0]]], dtype=dtype)
            agree(attempt, reference, "kl_from_probs", p, q, label=f"p is (1, {tiny:.0e}) over q = (1, 0)")
    p, q = (piece.exp().reshape(2, 3, 3) for piece in negative_slices(rng, F64))
    agree(attempt, reference, "kl_from_probs", p, q, label="a slice of the vocabulary")
    agree(attempt, reference, "kl_from_probs", by_column(p), by_column(q), label="non-contiguous input")


@check("directions", points=5, needs="test_categorical_weighs_the_log_ratio_by_p")
def test_each_direction_has_its_own_weight(attempt, reference, rng):
    """forward_kl is weighted by the target, reverse_kl by the model, and symmetric_kl is the sum of both"""
    target, model = log_probs(rng, 4, 6), log_probs(rng, 4, 6)
    for name in DIRECTIONS:
        agree(attempt, reference, name, target, model, label=name)


@check("directions", points=4, needs="test_categorical_weighs_the_log_ratio_by_p")
def test_directions_keep_the_edges_and_gradients(attempt, reference, rng):
    """all three have the edge cases of kl_categorical, and its gradients in both arguments where they are finite"""
    target, model = log_probs(rng, 6), log_probs(rng, 6)
    pairs = {
        "the target lacks an outcome": (without(target, 0), model),
        "the model lacks an outcome": (target, without(model, 2)),
        "both lack the same outcome": (without(target, 4), without(model, 4)),
    }
    for label, pair in pairs.items():
        for name in DIRECTIONS:
            if getattr(reference, name)(*pair).isfinite():
                inputs = dict(zip(("target", "model"), pair, strict=True))
                gradients_agree(attempt, reference, name, inputs, ("target", "model"), rng, label=label)
            else:
                agree(attempt, reference, name, *pair, label=label)


@check("gaussian", points=4)
def test_gaussian_closed_form(attempt, reference, rng):
    """kl_gaussian is log(std2/std1) + (std1² + (mu1 − mu2)²)/(2·std2²) − 1/2, elementwise with broadcasting"""
    for shapes in (((4, 3),) * 4, ((4, 1, 3), (3,), (2, 3), ()), ((), (), (), (2,))):
        mu1, std1, mu2, std2 = (rng.tensor(*shape, dtype=F64) for shape in shapes)
        inputs = mu1, std1.exp(), mu2, std2.exp()
        got = assert_inputs_unchanged(attempt.kl_gaussian, *inputs)
        assert_close(got, reference.kl_gaussian(*inputs), **TIGHT)


@check("gaussian", points=4)
def test_gaussian_depends_on_ratios_alone(attempt, reference, rng):
    """elements with means and deviations of size 1e±25 are as right as any in float32, and 1e±200 in float64"""
    loose = {"rtol": 5e-5, "atol": 2e-5}  # room for log std2 − log std1, two numbers of size 58
    for dtype, size, tolerance in ((F32, 1e25, loose), (F64, 1e200, TIGHT)):
        sizes = torch.tensor([1 / size, 1.0, size], dtype=dtype).repeat(4)
        mu1, mu2 = (sizes * rng.tensor(12, dtype=dtype) for _ in range(2))
        std1, std2 = (sizes * torch.from_numpy(rng.uniform(0.5, 2.0, size=12)).to(dtype) for _ in range(2))
        agree(attempt, reference, "kl_gaussian", mu1, std1, mu2, std2, tolerance=tolerance)


@check("estimators", points=8)
def test_estimators_are_per_sample(attempt, reference, rng):
    """with d = log p − log q: k1 = d, k2 = d²/2, k3 = e^−d − 1 + d, in any shape; k1 and k2 of any d, inf too"""
    for dtype, shapes in ((F64, ((), (6,), (4, 2, 3))), (F32, ((5, 3),))):
        for shape in shapes:
            inputs = [x.movedim(0, -1) if shape else x for x in sampled_logps(rng, *shape, dtype=dtype)]
            for kind in KINDS:
                got = assert_inputs_unchanged(attempt.kl_estimate, *inputs, kind=kind)
                assert_close(got, reference.kl_estimate(*inputs, kind=kind), **TOLERANCES[dtype])
    logp, d = log_probs(rng, 5), torch.tensor([-900.0, -30.0, 30.0, 900.0, INF], dtype=F64)
    for kind in ("k1", "k2"):
        agree(attempt, reference, "kl_estimate", logp, logp - d, kind=kind, label="far-off samples")


@check("estimators", points=3)
def test_k3_keeps_its_digits_near_zero(attempt, reference, rng):
    """k3 of a small log-ratio is about d²/2, not the rounding residue of e^−d − 1 + d"""
    digits = {"rtol": 1e-6, "atol": 0}
    small = [(F64, size, digits) for size in (1e-6, 1e-5, 1e-4, 1e-3, 5e-3)]
    for dtype, size, tolerance in ((F32, 0.005, {"rtol": 5e-4, "atol": 0}), *small):
        logp = -torch.from_numpy(rng.uniform(1, 3, size=24)).to(dtype)
        d = size * torch.from_numpy(rng.uniform(0.6, 1.8, size=24) * rng.choice([-1, 1], size=24)).to(dtype)
        label = f"log-ratios of about {size}"
        agree(attempt, reference, "kl_estimate", logp, logp - d, kind="k3", tolerance=tolerance, label=label)


@check("estimators", points=4)
def test_k3_clamps_the_log_ratio(attempt, reference, rng):
    """k3 clamps its log-ratio to ±20 in both places, so that far-off samples are finite and their gradient is 0"""
    d = torch.tensor([-900.0, -60.0, -25.0, -8.0, 8.0, 25.0, 60.0, 900.0], dtype=F64)
    d += torch.from_numpy(rng.uniform(size=8))
    logp = -torch.from_numpy(rng.uniform(1, 3, size=8))
    inputs = {"logp": logp, "logq": logp - d, "kind": "k3"}
    gradients_agree(attempt, reference, "kl_estimate", inputs, ("logp", "logq"), rng)
    excluded = (logp - d).masked_fill(d > 20, -INF)
    agree(attempt, reference, "kl_estimate", logp, excluded, kind="k3", label="log q is −inf")


@check("estimators", points=2)
def test_other_kinds_are_refused(attempt, reference, rng):
    """a kind that is not exactly one of the three names raises ValueError"""
    logp, logq = sampled_logps(rng, 4)
    for kind in ("k4", "", "k", "K1", "k1k2", "k1 "):
        assert_raises(ValueError, attempt.kl_estimate, logp, logq, kind=kind)
    agree(attempt, reference, "kl_estimate", logp, logq, kind="k1")


@check("sequence", points=8)
def test_sequence_and_token_means_differ(attempt, reference, rng):
    """reduce="sequence" sums a row's tokens and averages the rows, "token" averages over all; masks may be int64"""
    for dtype in (F64, F32):
        logp, ref_logp = sampled_logps(rng, 3, 5, dtype=dtype)
        mask = keep_some(rng, (5, 1, 3), length=5)
        for kind, one in (("k3", mask), ("k1", mask), ("k2", mask.long())):
            if kind != "k3":
                logp, ref_logp, one = by_column(logp), by_column(ref_logp), by_column(one)
            for reduce in ("sequence", "token"):
                inputs = {"logp": logp, "ref_logp": ref_logp, "mask": one, "kind": kind, "reduce": reduce}
                got = assert_inputs_unchanged(attempt.masked_sequence_kl, **inputs)
                assert_close(got, reference.masked_sequence_kl(**inputs), **TOLERANCES[dtype])


@check("sequence", points=5)
def test_masked_positions_never_leak(attempt, reference, rng):
    """NaN and ±inf at masked positions reach neither value nor gradient; a counted −inf counts as in kl_estimate"""
    keep = keep_some(rng, (3, 3), length=6)
    logp, ref_logp = sampled_logps(rng, 2, 6)
    logp[~keep] = torch.tensor([NAN, -INF, INF, -INF, 0.0, NAN], dtype=F64)
    ref_logp[~keep] = torch.tensor([0.0, -INF, 0.0, -1.0, -INF, NAN], dtype=F64)
    inputs = {"logp": logp, "ref_logp": ref_logp, "mask": keep}
    for kind in KINDS:
        for reduce in ("sequence", "token"):
            setting = inputs | {"kind": kind, "reduce": reduce}
            gradients_agree(attempt, reference, "masked_sequence_kl", setting, ("logp", "ref_logp"), rng)
    row, column = keep.nonzero()[0]
    ref_logp[row, column] = -INF
    label = "a counted ref_logp is −inf"
    agree(attempt, reference, "masked_sequence_kl", **inputs, kind="k1", reduce="token", label=label)


@check("sequence", points=6)
def test_empty_rows_count_as_zero(attempt, reference, rng):
    """a row without tokens is a 0 in the mean, an empty batch gives 0 and gradient 0; another reduce is a ValueError"""
    cases = ((4, 0, 1, 0), "sequence"), ((1,), "sequence"), ((1,), "token"), ((0, 0), "sequence"), ((0, 0), "token")
    for counts, reduce in cases:
        logp, ref_logp = sampled_logps(rng, len(counts), len(counts))
        inputs = {"logp": logp, "ref_logp": ref_logp, "mask": keep_some(rng, counts, len(counts))}
        setting = inputs | {"kind": "k2", "reduce": reduce}
        label = f"tokens counted in each row: {counts}"
        gradients_agree(attempt, reference, "masked_sequence_kl", setting, ("logp", "ref_logp"), rng, label=label)
    for mask in (~inputs["mask"], inputs["mask"]):
        for reduce in ("mean", "", "tokens"):
            assert_raises(ValueError, attempt.masked_sequence_kl, logp, ref_logp, mask, kind="k1", reduce=reduce)


@check("gradients", points=5)
def test_one_step_follows_the_exact_gradient(attempt, reference, rng):
    """one step of gradient descent, for k1, k2 and k3, in the reward and in the loss, from any logits"""
    problem = bandit(rng) | {"steps": 1}
    for place in ("reward", "loss"):
        for kind in ("k2", "k1", "k3"):
            agree(attempt, reference, "kl_grad_experiment", **problem, place=place, kind=kind)
    harder = {
        "rewards of about 50": problem | {"reward": 50 * problem["reward"], "lr": 0.1},
        "logits of about 30": problem | {"logits": 30 + problem["logits"]},
    }
    for label, inputs in harder.items():
        for place, kind in (("reward", "k1"), ("loss", "k3")):
            agree(attempt, reference, "kl_grad_experiment", **inputs, place=place, kind=kind, label=label)


@check("gradients", points=4, needs="test_one_step_follows_the_exact_gradient")
def test_later_steps_are_plain_gradient_descent(attempt, reference, rng):
    """two, three and 300 steps follow the gradient at the policy they have reached, also where k3 meets its clamp"""
    for steps in (2, 3):
        for place in ("reward", "loss"):
            for kind in ("k2", "k1", "k3"):
                problem = bandit(rng) | {"steps": steps}
                agree(attempt, reference, "kl_grad_experiment", **problem, place=place, kind=kind)
    ref_logp = torch.tensor([0.0, -30.0, -30.0], dtype=F64).log_softmax(-1)
    far = bandit(rng, 3) | {"logits": torch.zeros(3, dtype=F64), "ref_logp": ref_logp, "steps": 1}
    for place in ("loss", "reward"):
        agree(attempt, reference, "kl_grad_experiment", **far, place=place, kind="k3", label="30 nats from ref_logp")
    slow = bandit(rng, 3) | {"lr": 0.01, "steps": int(rng.integers(300, 320))}
    agree(attempt, reference, "kl_grad_experiment", **slow, place="reward", kind="k1")


@check("gradients", points=5, needs="test_one_step_follows_the_exact_gradient")
def test_fixed_points_tell_the_estimators_apart(attempt, rng):
    """trained to the end, k1-in-reward and k2-in-loss reach π_ref·exp(R/β)/Z, k3-in-loss the forward-KL optimum"""
    order = torch.from_numpy(rng.permutation(4))
    ref = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=F64)[order]
    reward = torch.tensor([0.0, 0.3, 0.6, 1.0], dtype=F64)[order] + torch.from_numpy(rng.uniform(0, 0.1, size=4))
    inputs = {"logits": rng.tensor(4, dtype=F64) / 4, "ref_logp": ref.log(), "reward": reward, "beta": 0.5}
    inputs |= {"lr": 4.0, "steps": 60}
    reverse, forward = (ref.log() + reward / 0.5).softmax(-1), forward_kl_optimum(ref, reward, 0.5)
    for kind, place, optimum in (("k1", "reward", reverse), ("k2", "loss", reverse), ("k3", "loss", forward)):
        got = attempt.kl_grad_experiment(**inputs, place=place, kind=kind)
        assert_close(got, optimum, rtol=0, atol=1e-7, label=f"{kind} in the {place}")
    got = attempt.kl_grad_experiment(**inputs, place="loss", kind="k1")
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


@check("gradients", points=3)
def test_the_experiment_leaves_no_trace(attempt, reference, rng):
    """no steps give softmax(logits); the result and the inputs carry no graph; another place raises ValueError"""
    problem = bandit(rng)
    for steps in (0, 1):
        setting = problem | {"steps": steps, "kind": "k1", "place": "loss"}
        got = assert_inputs_unchanged(attempt.kl_grad_experiment, **setting)
        assert_close(got, reference.kl_grad_experiment(**setting), **TIGHT)
        assert_true(not got.requires_grad, "the result requires grad: detach it", expected=False, got=True)
        steep = bandit(rng, 3) | {"logits": torch.tensor([0.0, 800.0, 1.0], dtype=F64), "steps": steps}
        agree(attempt, reference, "kl_grad_experiment", **steep, kind="k1", place="reward", label="logits 800 apart")
    for place in ("kl", "", "Loss"):
        assert_raises(ValueError, attempt.kl_grad_experiment, **problem, steps=1, kind="k1", place=place)


@check("uses", points=5)
def test_ppo_kl_is_under_the_old_policy(attempt, reference, rng):
    """ppo_approx_kl is the mean k3 of KL(old‖new) for actions of the old policy, clamped, and carries no gradient"""
    old_logp, new_logp = sampled_logps(rng, 4, 3)
    got = assert_inputs_unchanged(attempt.ppo_approx_kl, new_logp, old_logp)
    assert_close(got, reference.ppo_approx_kl(new_logp, old_logp), **TIGHT)
    signs = torch.from_numpy(rng.choice([-1, 1], size=(4, 3)))
    agree(attempt, reference, "ppo_approx_kl", new_logp - 40 * signs, old_logp, label="policies 40 nats apart")
    agree(attempt, reference, "ppo_approx_kl", new_logp.t(), old_logp.t(), label="non-contiguous input")
    digits = {"rtol": 1e-6, "atol": 0}
    near = old_logp + 1e-6 * signs
    agree(attempt, reference, "ppo_approx_kl", near, old_logp, tolerance=digits, label="policies 1e-6 nats apart")
    for name in ("new_logp", "old_logp"):
        inputs = {"new_logp": new_logp, "old_logp": old_logp}
        inputs[name] = inputs[name].clone().requires_grad_()
        got = assert_inputs_unchanged(attempt.ppo_approx_kl, **inputs)
        assert_close(got, reference.ppo_approx_kl(**inputs), **TIGHT)
        assert_true(not got.requires_grad, f"it requires grad because {name} does", expected=False, got=True)


@check("uses", points=3)
def test_dpo_kl_is_that_of_its_optimum(attempt, reference, rng):
    """dpo_implicit_kl is KL(π*‖π_ref) for π* = π_ref·exp(reward/β)/Z, in each row"""
    ref_logp, reward = log_probs(rng, 4, 6), 2 + rng.tensor(4, 6, dtype=F64)
    for beta in (0.1, 0.7, 5.0):
        got = assert_inputs_unchanged(attempt.dpo_implicit_kl, ref_logp, reward, beta=beta)
        assert_close(got, reference.dpo_implicit_kl(ref_logp, reward, beta), rtol=1e-7, atol=1e-9)
    for beta in (1e-2, 1e-4):
        agree(attempt, reference, "dpo_implicit_kl", ref_logp, beta * reward, beta, label=f"beta = {beta}")
    for same in ((by_column(ref_logp), by_column(reward)), (ref_logp[:1], reward[:1])):
        agree(attempt, reference, "dpo_implicit_kl", *same, 0.5)
    single = log_probs(rng, 3, 5, dtype=F32), rng.tensor(3, 5, dtype=F32)
    agree(attempt, reference, "dpo_implicit_kl", *single, beta=0.5, tolerance={"rtol": 2e-5, "atol": 1e-5})


@check("uses", points=2)
def test_dpo_kl_is_finite_for_any_reward(attempt, reference, rng):
    """dpo_implicit_kl is exact for rewards far apart, and where the reference all but excludes the best outcome"""
    ref = without(log_probs(rng, 4), 3)
    gap = rng.uniform(400, 500)
    cases = {
        "the best reward stands where ref_logp is −inf": (ref, [0, gap, -gap, gap + 50], 0.9),
        "the best reward, 700 above the others, where ref_logp is −inf": (ref, [-600, -100, -600, 600], 0.9),
        "the best reward, 1e5 above the others, where ref_logp is −inf": (ref, [0, 0, -gap, 1e5], 0.9),
        "rewards of about 1e4 and a small beta": (ref, [0, 20 * gap, -gap, 10 * gap], 0.1),
        "the best reward stands where ref_logp is −800": (torch.tensor([0.0, -800.0], dtype=F64), [0, 200 * gap], 0.1),
        "rows of rewards far from each other": (log_probs(rng, 2, 2), [[0, gap], [100 * gap, 101 * gap]], 0.5),
    }
    for label, (ref_logp, rewards, beta) in cases.items():
        reward, tolerance = torch.tensor(rewards, dtype=F64), {"rtol": 1e-7, "atol": 1e-7}
        agree(attempt, reference, "dpo_implicit_kl", ref_logp, reward, beta=beta, tolerance=tolerance, label=label)
