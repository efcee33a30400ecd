"""Hidden checks of `dpo`: exact values, edges and gradients for the losses; closed-form optima for the training."""

import math
from copy import deepcopy

import torch

from grader.checking import assert_close, assert_inputs_unchanged, assert_raises, assert_true, check, gradients

EXACT = {"rtol": 1e-9, "atol": 1e-12}
SINGLE = {"rtol": 1e-5, "atol": 1e-6}
CONVERGED = {"rtol": 0.0, "atol": 1e-6}
PAIR_LOGPS = ("pc", "pr", "rc", "rr")


# ---- inputs


def language_batch(rng, mask, vocab=5, dtype=torch.float64):
    """Random logits (B, L, V) and ids (B, L) for a mask (B, L)."""
    rows, length = mask.shape
    logits = rng.tensor(rows, length, vocab, dtype=dtype)
    return {"logits": logits, "ids": random_ids(rng, rows, length, vocab), "completion_mask": mask}


def random_ids(rng, rows, length, vocab):
    return torch.from_numpy(rng.integers(0, vocab, size=(rows, length)))


def completion_mask(rng, rows, length):
    """Prompt, completion, padding: a different split in each row, every piece at least one token long."""
    mask = torch.zeros(rows, length, dtype=torch.bool)
    for row in mask:
        start, stop = sorted(rng.choice(range(1, length), size=2, replace=False))
        row[start:stop] = True
    return mask


def patchy_mask(rng, rows, length):
    """Completions in several turns: after a prompt of two tokens, a hole in every row."""
    mask = torch.from_numpy(rng.random((rows, length)) < 0.5)
    mask[:, :5] = torch.tensor([False, False, True, False, True])
    return mask


def preference_logps(rng, n, dtype=torch.float64):
    """Four vectors (N,) of summed log-probabilities, like those of real completions."""
    return {name: -5 + 2 * rng.tensor(n, dtype=dtype) for name in PAIR_LOGPS}


def unpaired_logps(rng, n, drift):
    """A KTO batch (N) and three mismatched pairs, on which the policy is about `drift` (3) nats above the reference."""
    kl_ref_logps = -6 + rng.tensor(3, dtype=torch.float64)
    return {
        "policy_logps": -5 + 2 * rng.tensor(n, dtype=torch.float64),
        "ref_logps": -5 + 2 * rng.tensor(n, dtype=torch.float64),
        "is_desirable": torch.arange(n) % 3 != 0,
        "kl_policy_logps": kl_ref_logps + torch.tensor(drift) + 0.1 * rng.tensor(3, dtype=torch.float64),
        "kl_ref_logps": kl_ref_logps,
    }


def sixty_fourths(rng, low, high):
    """A number in [low, high) that float32 holds exactly: one that became float32 on the way costs nobody a check."""
    return int(rng.integers(round(64 * low), round(64 * high))) / 64


def random_beta(rng):
    return sixty_fourths(rng, 0.1, 0.9)


def toy_preferences(rng, n=5, length=7, vocab=6):
    """A batch for `train_dpo`."""
    return {
        "chosen_ids": random_ids(rng, n, length, vocab),
        "chosen_mask": completion_mask(rng, n, length),
        "rejected_ids": random_ids(rng, n, length, vocab),
        "rejected_mask": completion_mask(rng, n, length),
    }


def contests(prompt, responses, wins, pad):
    """Preferences between responses to one prompt, padded: `wins` lists (winner, loser, how often)."""
    width = len(prompt) + max(map(len, responses)) + 1
    rows = [prompt + response + [pad] * (width - len(prompt) - len(response)) for response in responses]
    ids = torch.tensor(rows)
    ends = torch.tensor([[len(prompt) + len(response)] for response in responses])
    mask = (torch.arange(width) >= len(prompt)) & (torch.arange(width) < ends)
    winners = [w for w, _, times in wins for _ in range(times)]
    losers = [loser for _, loser, times in wins for _ in range(times)]
    batch = {"chosen_ids": ids[winners], "chosen_mask": mask[winners]}
    return ids, mask, batch | {"rejected_ids": ids[losers], "rejected_mask": mask[losers]}


# ---- judging


def agree(attempt, reference, name, *args, tolerance=EXACT, **kwargs):
    """The attempt's function returns what the reference's does."""
    assert_close(getattr(attempt, name)(*args, **kwargs), getattr(reference, name)(*args, **kwargs), **tolerance)


def gradients_agree(attempt, reference, name, kwargs, wrt, rng):
    """One backward through both with the same random upstream gradient; gives the attempt's gradients back."""
    twin = deepcopy(rng)
    got, grads = gradients(getattr(attempt, name), kwargs, wrt=wrt, upstream=rng)
    want, wanted = gradients(getattr(reference, name), kwargs, wrt=wrt, upstream=twin)
    assert_close(got, want, **EXACT, label="value")
    for key in wrt:
        if wanted[key] is not None:
            assert_close(grads[key], wanted[key], **EXACT, label=f"gradient of {key}")
    return grads


def assert_constant(grads, *names):
    """No gradient came to these inputs: none at all, or exact zeros."""
    for name in names:
        silent = grads[name] is None or not grads[name].any()
        assert_true(silent, f"a gradient reaches {name}, which is a constant", expected=None, got=grads[name])


def three(result):
    """What `dpo_loss` returned, once it is known to be three values."""
    assert_true(isinstance(result, tuple) and len(result) == 3, "not a tuple of three values", expected=3, got=result)
    return result


def dpo_losses_agree(attempt, reference, inputs, tolerance=EXACT):
    label = inputs.get("reduction", "")
    assert_close(three(attempt.dpo_loss(**inputs))[0], reference.dpo_loss(**inputs)[0], **tolerance, label=label)


def last(history, steps, key):
    """A metric of the last step, once there is known to be one dict of floats for each step."""
    right = isinstance(history, list) and len(history) == steps and isinstance(history[-1], dict)
    found = history[-1].get(key) if right else None
    assert_true(isinstance(found, float), f"not {steps} dicts, each with a float as {key!r}", got=history)
    return found


def trained_table(attempt, policy, like):
    """The weights of a trained policy, once they are known to be a table like the one it started from."""
    table = attempt.run("table_state", policy)["table"]
    right = isinstance(table, torch.Tensor) and table.shape == like.shape and table.dtype == like.dtype
    assert_true(right, "the policy's table changed its shape or dtype", expected=like, got=table)
    return table


# ---- logprobs


@check("logprobs", points=6)
def test_logprobs_sum_the_completion_tokens(attempt, reference, rng):
    """each row gives the sum of log-probabilities of its completion's tokens, wherever they stand"""
    for rows, length, dtype in ((3, 7, torch.float64), (2, 6, torch.float32)):
        batch = language_batch(rng, patchy_mask(rng, rows, length), dtype=dtype)
        tolerance = EXACT if dtype == torch.float64 else SINGLE
        agree(attempt, reference, "sequence_logprobs", **batch, tolerance=tolerance)
        batch["logits"] = rng.tensor(length, rows, 4, dtype=dtype).transpose(0, 1)
        batch |= {"ids": batch["ids"].clamp(max=3), "completion_mask": batch["completion_mask"].long()}
        agree(attempt, reference, "sequence_logprobs", **batch, tolerance=tolerance)


@check("logprobs", points=3)
def test_logprobs_average_over_completion_tokens(attempt, reference, rng):
    """average=True divides by the number of the completion's tokens"""
    mask = completion_mask(rng, 4, 9)
    mask[0] = torch.arange(9) < 4  # a completion without a prompt: nothing predicts its first token
    batch = language_batch(rng, mask, vocab=6)
    agree(attempt, reference, "sequence_logprobs", **batch, average=True)


@check("logprobs", points=3)
def test_logprobs_of_nothing_are_zero(attempt, reference, rng):
    """a row without completion tokens gives 0, summed or averaged, and so does a sequence of length 1"""
    mask = torch.ones(4, 6, dtype=torch.bool)
    mask[2], mask[:, 0] = False, False
    batch = language_batch(rng, mask, vocab=7)
    for average in (False, True):
        agree(attempt, reference, "sequence_logprobs", **batch, average=average)
    agree(attempt, reference, "sequence_logprobs", **language_batch(rng, torch.ones(3, 1, dtype=torch.bool)))


@check("logprobs", points=5)
def test_logprobs_ignore_what_is_masked(attempt, reference, rng):
    """NaN or inf in masked logits and −100 in masked ids reach neither value nor gradient"""
    mask = completion_mask(rng, 4, 8)
    for garbage in (math.nan, math.inf, -math.inf):
        batch = language_batch(rng, mask)
        predicts = torch.cat([mask[:, 1:], torch.zeros(4, 1, dtype=torch.bool)], dim=1)  # position t predicts t + 1
        batch["logits"][~predicts] = garbage
        batch["ids"][~mask] = -100
        gradients_agree(attempt, reference, "sequence_logprobs", batch, ("logits",), rng)


@check("logprobs", points=2)
def test_logprobs_stay_finite_at_extreme_logits(attempt, reference, rng):
    """logits of ±10⁴ and banned tokens of −inf give exact log-probabilities"""
    batch = language_batch(rng, completion_mask(rng, 3, 7))
    logits = 1e4 * batch["logits"].sign() + batch["logits"]
    predicted = batch["ids"].roll(-1, dims=1).unsqueeze(-1)
    logits.scatter_(-1, (predicted + 1) % 5, -math.inf)
    logits[0].scatter_(-1, predicted[0], -1e4)  # in one row every predicted token is far below another
    logits[0].scatter_(-1, (predicted[0] + 2) % 5, 1e4)
    batch["logits"] = logits
    agree(attempt, reference, "sequence_logprobs", **batch)


@check("logprobs", points=3, needs="test_logprobs_sum_the_completion_tokens")
def test_logprobs_gradient_and_untouched_inputs(attempt, reference, rng):
    """the gradient of every logit is exact, and no input is modified"""
    batch = language_batch(rng, completion_mask(rng, 3, 8), vocab=6)
    gradients_agree(attempt, reference, "sequence_logprobs", batch, ("logits",), rng)
    batch["completion_mask"] = torch.arange(8) < torch.tensor([[3], [5], [8]])
    batch["ids"][~batch["completion_mask"]] = -100
    got = assert_inputs_unchanged(attempt.sequence_logprobs, **batch)
    assert_close(got, reference.sequence_logprobs(**batch), **EXACT)


# ---- dpo


@check("dpo", points=7)
def test_dpo_loss_is_logistic_in_the_margin(attempt, reference, rng):
    """the loss is −log σ(βh), with h the difference of both log-ratios, for each reduction"""
    for n in (6, 1):
        for reduction in ("mean", "sum", "none"):
            inputs = preference_logps(rng, n) | {"beta": random_beta(rng), "reduction": reduction}
            dpo_losses_agree(attempt, reference, inputs)
    logps = preference_logps(rng, 5, dtype=torch.float32) | {"beta": 0.5}
    dpo_losses_agree(attempt, reference, logps, tolerance=SINGLE)
    assert_raises(ValueError, attempt.dpo_loss, **logps, reduction="median")


@check("dpo", points=4)
def test_dpo_rewards_are_scaled_and_detached(attempt, reference, rng):
    """the rewards are β·(log π − log π_ref) of each completion, without a graph"""
    logps, beta = preference_logps(rng, 5), random_beta(rng)
    logps["pc"].requires_grad_()
    logps["pr"].requires_grad_()
    _, *rewards = three(attempt.dpo_loss(**logps, beta=beta))
    _, *wanted = reference.dpo_loss(**logps, beta=beta)
    assert_close(rewards, wanted, **EXACT)
    for reward in rewards:
        assert_true(not reward.requires_grad, "the rewards carry a graph: detach them", expected=False, got=True)


@check("dpo", points=5, needs="test_dpo_loss_is_logistic_in_the_margin")
def test_dpo_label_smoothing_is_conservative(attempt, reference, rng):
    """label smoothing ε puts 1 − ε on the given preference and ε on its opposite"""
    logps, beta = preference_logps(rng, 6), random_beta(rng)
    for smoothing in (0.125, 0.25, sixty_fourths(rng, 0.02, 0.49)):
        for reduction in ("none", "mean"):
            settings = {"beta": beta, "label_smoothing": smoothing, "reduction": reduction}
            dpo_losses_agree(attempt, reference, logps | settings)


@check("dpo", points=4)
def test_dpo_stays_finite_at_large_margins(attempt, reference, rng):
    """margins of ±10⁴ nats give the exact loss, not inf or NaN"""
    gaps = torch.tensor([-1e4, 1e4, -2e3, 3.0])
    for dtype, tolerance in ((torch.float64, EXACT), (torch.float32, SINGLE)):
        base = torch.from_numpy(rng.integers(-40, 0, size=4)).to(dtype) / 4  # exact in both dtypes
        logps = {"pc": base + gaps.to(dtype), "pr": base, "rc": base - 0.25, "rr": base - 0.5}
        dpo_losses_agree(attempt, reference, logps | {"beta": 0.5, "reduction": "none"}, tolerance)


@check("dpo", points=4, needs="test_dpo_loss_is_logistic_in_the_margin")
def test_dpo_gradient_reaches_the_policy_only(attempt, reference, rng):
    """the gradient reaches both log-probabilities of the policy, and never the reference's"""
    inputs = preference_logps(rng, 6) | {"beta": random_beta(rng), "reduction": "none"}
    grads = gradients_agree(attempt, reference, "dpo_loss", inputs, PAIR_LOGPS, rng)
    assert_constant(grads, "rc", "rr")


# ---- ipo


@check("ipo", points=6)
def test_ipo_regresses_the_gap_to_its_target(attempt, reference, rng):
    """the loss is the mean squared distance of h to 1/(2β), and its gradient reaches the policy only"""
    names = {"pc": "avg_pc", "pr": "avg_pr", "rc": "avg_rc", "rr": "avg_rr"}
    for n in (5, 1):
        logps = preference_logps(rng, n)
        inputs = {names[key]: value for key, value in logps.items()} | {"beta": random_beta(rng)}
        grads = gradients_agree(attempt, reference, "ipo_loss", inputs, tuple(names.values()), rng)
        assert_constant(grads, "avg_rc", "avg_rr")


# ---- kto


@check("kto", points=5)
def test_kto_weighs_both_classes_against_one_baseline(attempt, reference, rng):
    """desirable and undesirable completions each get their loss and weight, meaned over all of them"""
    for n, weights in ((7, {"w_d": 1.25, "w_u": 0.5}), (5, {"w_d": 0.75, "w_u": 1.5}), (4, {})):
        inputs = unpaired_logps(rng, n, drift=(1.0, 2.0, 1.5)) | weights
        agree(attempt, reference, "kto_loss", **inputs, beta=random_beta(rng))


@check("kto", points=6)
def test_kto_baseline_is_clamped_and_constant(attempt, reference, rng):
    """z0 is the clamped mean over the mismatched pairs, and a constant for the gradient"""
    for drift in ((2.0, -1.0, 0.5), (-2.0, 0.5, -1.0)):
        inputs = unpaired_logps(rng, 5, drift) | {"beta": random_beta(rng)}
        wrt = ("policy_logps", "ref_logps", "kl_policy_logps", "kl_ref_logps")
        grads = gradients_agree(attempt, reference, "kto_loss", inputs, wrt, rng)
        assert_constant(grads, "ref_logps", "kl_policy_logps", "kl_ref_logps")


@check("kto", points=3)
def test_kto_takes_one_class_and_one_example(attempt, reference, rng):
    """a batch of one class, or of one completion, has a finite loss and gradient"""
    for n in (4, 1):
        for desirable in (True, False):
            inputs = unpaired_logps(rng, n, drift=(1.0, 0.5, 1.5)) | {"is_desirable": torch.full((n,), desirable)}
            gradients_agree(attempt, reference, "kto_loss", inputs | {"beta": 0.25}, ("policy_logps",), rng)


# ---- safedpo


@check("safedpo", points=5)
def test_safedpo_transform_swaps_and_drops(attempt, reference, rng):
    """an unsafe winner changes places with a safe loser, two unsafe ones are dropped, flags and order follow"""
    flags = torch.tensor([[w, u] for w in (0, 1) for u in (0, 1)] * 2, dtype=torch.bool)
    flags = flags[torch.from_numpy(rng.permutation(8))]
    inputs = (random_ids(rng, 16, 3, 50).view(8, 2, 3), flags[:, 0], flags[:, 1])
    got = assert_inputs_unchanged(attempt.safedpo_transform, *inputs)
    assert_close(got, reference.safedpo_transform(*inputs), rtol=0, atol=0)


@check("safedpo", points=5)
def test_safedpo_loss_offsets_unsafe_losers(attempt, reference, rng):
    """the margin is βh − (u_l − u_w)·Δ, pair by pair, and the gradient reaches the policy only"""
    for unsafe_l in ((True, False, True, True, False), (False,) * 5):
        flags = {"unsafe_w": torch.tensor([False, False, True, False, True]), "unsafe_l": torch.tensor(unsafe_l)}
        beta, delta = random_beta(rng), sixty_fourths(rng, 0.5, 3)
        inputs = preference_logps(rng, 5) | flags | {"beta": beta, "delta": delta}
        grads = gradients_agree(attempt, reference, "safedpo_loss", inputs, PAIR_LOGPS, rng)
        assert_constant(grads, "rc", "rr")


@check("safedpo", points=2)
def test_safedpo_survives_a_batch_without_pairs(attempt, reference, rng):
    """when every pair is unsafe nothing is left, and the loss is 0 rather than NaN"""
    unsafe = torch.ones(3, dtype=torch.bool)
    agree(attempt, reference, "safedpo_transform", random_ids(rng, 6, 4, 9).view(3, 2, 4), unsafe, unsafe)
    for n in (1, 0):
        safe = torch.zeros(n, dtype=torch.bool)
        flags = {"unsafe_w": safe, "unsafe_l": safe, "beta": 0.5, "delta": 1.5}
        agree(attempt, reference, "safedpo_loss", **preference_logps(rng, n), **flags)


# ---- train


def train(side, start, anchor, batch, dropout=0.0, **kwargs):
    """Train a policy that starts at one table against a reference at another. -> history, and handles of both models"""
    policy, frozen = side.TabularPolicy(start), side.TabularPolicy(anchor, dropout=dropout)
    return side.train_dpo(policy, frozen, batch, **kwargs), policy, frozen


@check("train", points=5)
def test_train_reports_metrics_of_each_step(attempt, reference, rng):
    """every step reports loss, accuracy (a tie is no win) and margin as they were before its update"""
    batch, tables = toy_preferences(rng), [rng.tensor(6, 6, dtype=torch.float64) for _ in range(2)]
    batch["chosen_mask"][0] = torch.arange(7) == 3  # one token, so that a tie is exact in any order of summation
    for name in ("ids", "mask"):
        batch[f"rejected_{name}"][0] = batch[f"chosen_{name}"][0]
    kwargs = {"beta": random_beta(rng), "lr": 3.0, "steps": 4}
    got, want = train(attempt, *tables, batch, **kwargs)[0], train(reference, *tables, batch, **kwargs)[0]
    assert_close(got, want, **EXACT)


@check("train", points=5)
def test_train_freezes_the_reference(attempt, reference, rng):
    """the reference runs without dropout, keeps its weights and gets no gradient"""
    batch, tables = toy_preferences(rng), [rng.tensor(6, 6, dtype=torch.float64) for _ in range(2)]
    kwargs = {"dropout": 0.5, "beta": random_beta(rng), "lr": 1.0, "steps": 3}
    got, _, frozen = train(attempt, *tables, batch, **kwargs)
    assert_close(got, train(reference, *tables, batch, **kwargs)[0], **EXACT)
    state = attempt.run("table_state", frozen)
    assert_close(state["table"], tables[1], rtol=0, atol=0, label="the reference's weights")
    assert_constant({"the reference": state["grad"]}, "the reference")


@check("train", points=3)
def test_train_asks_the_reference_once(attempt, reference, rng):
    """the reference sees each sequence once in the whole training"""
    batch, tables = toy_preferences(rng), [rng.tensor(6, 6, dtype=torch.float64) for _ in range(2)]
    kwargs, seen = {"beta": random_beta(rng), "lr": 1.0, "steps": 3}, []

    def logits_of(ids):
        seen.append(len(ids))
        return tables[1][ids]

    got = attempt.run("train_against_oracle", tables[0], logits_of, batch, *kwargs.values())
    assert_close(got, train(reference, *tables, batch, **kwargs)[0], **EXACT)
    assert_true(sum(seen) <= 10, "sequences that went through the reference", expected=10, got=sum(seen))


@check("train", points=6)
def test_train_reaches_the_optimum_of_dpo(attempt, reference, rng):
    """preferences drawn by reward r end in π ∝ π_ref · exp(r/β), whatever the responses' lengths"""
    strengths = rng.permutation([1, 2, 3, 4]).tolist()  # r = log strength: i beats j in s_i of s_i + s_j contests
    wins = [(i, j, strengths[i]) for i in range(4) for j in range(4) if i != j]
    ids, mask, batch = contests([6, 0], [[1], [2], [3, 5], [4, 5]], wins, pad=6)
    start, beta = rng.tensor(7, 7, dtype=torch.float64), sixty_fourths(rng, 0.4, 1.0)
    history, policy, _ = train(attempt, start, start, batch, beta=beta, lr=3 / beta**2, steps=60)
    table = trained_table(attempt, policy, start)
    prior = reference.sequence_logprobs(start[ids], ids, mask)
    want = torch.softmax(prior + torch.tensor(strengths).double().log() / beta, dim=0)
    assert_close(torch.softmax(reference.sequence_logprobs(table[ids], ids, mask), dim=0), want, **CONVERGED)
    surprise = sum(times * math.log((strengths[w] + strengths[x]) / strengths[w]) for w, x, times in wins)
    assert_close(last(history, 60, "loss"), surprise / sum(times for *_, times in wins), **CONVERGED, label="last loss")


@check("train", points=3)
def test_train_reaches_the_target_of_ipo(attempt, reference, rng):
    """IPO on one pair ends with averaged log-ratios 1/(2β) apart"""
    ids, mask, batch = contests([6, 0], [[1, 2, 3], [4]], [(0, 1, 1)], pad=6)
    start = rng.tensor(7, 7, dtype=torch.float64)
    for beta in (0.1, 0.5):
        history, policy, _ = train(attempt, start, start, batch, beta=beta, lr=0.2, steps=60, loss_type="ipo")
        table = trained_table(attempt, policy, start)
        before, after = (reference.sequence_logprobs(t[ids], ids, mask, average=True) for t in (start, table))
        chosen, rejected = after - before
        assert_close((chosen - rejected).item(), 1 / (2 * beta), **CONVERGED, label="gap")
        assert_close(last(history, 60, "margin"), 0.5, **CONVERGED, label="last margin")  # β · 1/(2β)
