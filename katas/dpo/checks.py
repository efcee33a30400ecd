"""Hidden checks of `dpo`: exact values, edges and gradients of the losses; exact steps and known optima of training."""

from copy import deepcopy

import torch

from grader.checking import assert_close, assert_inputs_unchanged, assert_raises, assert_true, check, gradients

F32, F64 = torch.float32, torch.float64
EXACT = {"rtol": 1e-9, "atol": 1e-12}
TOLD = {"rtol": 1e-7, "atol": 1e-12}  # an accuracy may be the mean of float32 zeros and ones
SINGLE = {"rtol": 1e-5, "atol": 1e-6}
CONVERGED = {"rtol": 0.0, "atol": 1e-6}
SAME = {"rtol": 0, "atol": 0}


def random_ids(rng, rows, length, high, low=0):
    return torch.from_numpy(rng.integers(low, high, size=(rows, length)))


def language_batch(rng, mask, vocab=5, dtype=F64):
    """Random logits (B, L, V) and ids (B, L) for a mask (B, L)."""
    logits = rng.tensor(*mask.shape, vocab, dtype=dtype)
    return {"logits": logits, "ids": random_ids(rng, *mask.shape, vocab), "completion_mask": mask}


def completion_mask(rng, rows, length):
    """Prompt, completion, padding: a different split in each row, every piece at least one token long."""
    cuts = [sorted(rng.choice(range(1, length), size=2, replace=False)) for _ in range(rows)]
    start, stop = torch.tensor(cuts).T.unsqueeze(-1)
    return (torch.arange(length) >= start) & (torch.arange(length) < stop)


def patchy_mask(rng, rows, length):
    """Completions in several turns: after a prompt of two tokens, a hole in every row."""
    mask = torch.from_numpy(rng.random((rows, length)) < 0.5)
    mask[:, :5] = torch.tensor([False, False, True, False, True])
    return mask


def preference_logps(rng, n, dtype=F64):
    """Four vectors (N,) of summed log-probabilities, like those of real completions."""
    return {name: -5 + 2 * rng.tensor(n, dtype=dtype) for name in ("pc", "pr", "rc", "rr")}


def ipo_inputs(rng, n, dtype=F64):
    """Four averages (N,) and β, with gaps above and below the target by turns, 1 to 2 away from it."""
    logps, beta = preference_logps(rng, n), dyadic(rng)
    away = torch.from_numpy(rng.uniform(1, 2, size=n)) * (-1.0) ** torch.arange(n)
    logps["pr"] = logps["pc"] - logps["rc"] + logps["rr"] - 1 / (2 * beta) - away
    return {f"avg_{name}": logp.to(dtype) for name, logp in logps.items()} | {"beta": beta}


def unpaired_logps(rng, n, drift, dtype=F64):
    """A KTO batch (N) and M mismatched pairs, on which the policy is about `drift` (M) nats above the reference."""
    logps = -5 + 2 * rng.tensor(2, n, dtype=dtype)
    kl_ref_logps = -6 + rng.tensor(len(drift), dtype=dtype)
    kl_policy_logps = kl_ref_logps + torch.tensor(drift) + 0.1 * rng.tensor(len(drift), dtype=dtype)
    kwargs = {"policy_logps": logps[0], "ref_logps": logps[1], "is_desirable": torch.arange(n) % 3 != 0}
    return kwargs | {"kl_policy_logps": kl_policy_logps, "kl_ref_logps": kl_ref_logps}


def far_logps(rng, n, dtype=F64):
    """The same, with chosen completions that the policy finds by turns 10⁴ nats less and more likely: exact numbers."""
    base = torch.from_numpy(rng.integers(-40, 0, size=n)).to(dtype) / 4
    return {"pc": base - 1e4 * (-1.0) ** torch.arange(n), "pr": base, "rc": base - 0.25, "rr": base - 0.5}


def dyadic(rng, low=0.1, high=0.9):
    """A multiple of 1/64, which float32 holds exactly: one that became float32 on the way costs nobody a check."""
    return int(rng.integers(round(64 * low), round(64 * high))) / 64


def toy_training(rng, tie=False, n=6, length=7):
    """Where the policy starts, where the reference stands, and a batch, where a pair is lost, and the first a tie."""
    start, anchor = rng.tensor(2, 6, 6, dtype=F64)
    ids = random_ids(rng, 2 * n, length, 6).view(2, n, length)
    mask = completion_mask(rng, 2 * n, length).view(2, n, length)
    ids[:, 2], mask[:, 2] = ids[:, 1].flip(0), mask[:, 1].flip(0)  # the third is the second one reversed
    mask[0, 3, 0] = True  # the first token of a sequence counts nowhere
    if tie:  # of one token, and on the reference: four equal numbers add up to 0 in any order
        ids[1, 0], mask[:, 0] = ids[0, 0], torch.arange(length) == 3
        anchor[ids[0, 0, 2]] = start[ids[0, 0, 2]]
    batch = {"chosen_ids": ids[0], "chosen_mask": mask[0], "rejected_ids": ids[1], "rejected_mask": mask[1]}
    return start, anchor, batch


def tolerance(kwargs):
    single = any(isinstance(value, torch.Tensor) and value.dtype == F32 for value in kwargs.values())
    return SINGLE if single else EXACT


def agree(attempt, reference, name, **kwargs):
    """The attempt's function returns what the reference's does."""
    assert_close(getattr(attempt, name)(**kwargs), getattr(reference, name)(**kwargs), **tolerance(kwargs))


def gradients_agree(attempt, reference, name, kwargs, rng, wrt, constant=None):
    """Value and gradients are the same. Where `constant` is given, these get no gradient and no input is modified."""
    twin, leaves, close = deepcopy(rng), (*wrt, *(constant or ())), tolerance(kwargs)
    got, grads = gradients(getattr(attempt, name), kwargs, wrt=leaves, upstream=rng)
    want, wanted = gradients(getattr(reference, name), kwargs, wrt=leaves, upstream=twin)
    assert_close(got, want, **close, label="value")
    for key in wrt:
        assert_close(grads[key], wanted[key], **close, label=f"gradient of {key}")
    for key in constant or ():
        silent = grads[key] is None or not grads[key].any()
        assert_true(silent, f"a gradient reaches {key}, which is a constant", expected="none", got=grads[key])
    if constant is not None:
        assert_inputs_unchanged(getattr(attempt, name), **kwargs)


@check("logprobs", points=7)
def test_logprobs_sum_the_completion_tokens(attempt, reference, rng):
    """each row gives the sum of log-probabilities of its completion's tokens, wherever they stand"""
    agree(attempt, reference, "sequence_logprobs", **language_batch(rng, patchy_mask(rng, 2, 6), dtype=F32))
    mask = patchy_mask(rng, 3, 7)
    for same in (mask, mask.long(), mask.int(), mask.to(torch.uint8)):
        batch = language_batch(rng, same)
        agree(attempt, reference, "sequence_logprobs", **batch)
    agree(attempt, reference, "sequence_logprobs", **language_batch(rng, torch.ones(3, 2, dtype=torch.bool)))
    by_column = {name: value.transpose(0, 1).contiguous().transpose(0, 1) for name, value in batch.items()}
    agree(attempt, reference, "sequence_logprobs", **by_column)
    many_tokens = patchy_mask(rng, 2, 16) | (torch.arange(16) > 4)
    large = language_batch(rng, many_tokens, vocab=1030) | {"ids": random_ids(rng, 2, 16, 1030, low=1000)}
    agree(attempt, reference, "sequence_logprobs", **large)


@check("logprobs", points=3)
def test_logprobs_average_over_completion_tokens(attempt, reference, rng):
    """average=True divides by the number of the completion's tokens"""
    mask = completion_mask(rng, 4, 9)
    mask[0] = torch.arange(9) < 4  # a completion without a prompt: nothing predicts its first token
    kwargs = language_batch(rng, mask, vocab=6) | {"average": True}
    gradients_agree(attempt, reference, "sequence_logprobs", kwargs, rng, wrt=("logits",))


@check("logprobs", points=3)
def test_logprobs_of_nothing_are_zero(attempt, reference, rng):
    """a row without completion tokens gives 0, summed or averaged, and so does a sequence of length 1"""
    one_empty_row = (torch.arange(4).unsqueeze(-1) != 2) & (torch.arange(6) > 0)
    for mask in (one_empty_row, torch.ones(3, 1, dtype=torch.bool), torch.zeros(2, 5, dtype=torch.bool)):
        batch = language_batch(rng, mask, vocab=7)
        for average in (False, True):
            agree(attempt, reference, "sequence_logprobs", **batch, average=average)


@check("logprobs", points=6)
def test_logprobs_ignore_what_is_masked(attempt, reference, rng):
    """NaN or inf in masked logits, and any number in masked ids, reach neither value nor gradient"""
    mask = completion_mask(rng, 4, 8)
    for logit, token in ((torch.nan, -100), (torch.inf, -7), (-torch.inf, 5), (torch.nan, 10**9)):
        batch = language_batch(rng, mask)
        batch["logits"][~mask.roll(-1, dims=1)] = logit  # position t predicts t + 1
        batch["ids"][~mask] = token
        gradients_agree(attempt, reference, "sequence_logprobs", batch, rng, wrt=("logits",), constant=())


@check("logprobs", points=3)
def test_logprobs_stay_finite_at_extreme_logits(attempt, reference, rng):
    """logits of ±10⁴ and banned tokens of −inf give exact log-probabilities and gradients"""
    batch = language_batch(rng, completion_mask(rng, 3, 7))
    logits = 1e4 * batch["logits"].sign() + batch["logits"]
    predicted = batch["ids"].roll(-1, dims=1).unsqueeze(-1)
    logits.scatter_(-1, (predicted + 1) % 5, -torch.inf)
    logits[0].scatter_(-1, predicted[0], -1e4)  # in one row every predicted token is far below another
    logits[0].scatter_(-1, (predicted[0] + 2) % 5, 1e4)
    gradients_agree(attempt, reference, "sequence_logprobs", batch | {"logits": logits}, rng, wrt=("logits",))


@check("dpo", points=7)
def test_dpo_loss_is_logistic_in_the_margin(attempt, reference, rng):
    """the loss is −log σ(βh), with h the difference of both log-ratios, for each reduction"""
    settings = [(n, F64, reduction) for n in (9, 1) for reduction in ("mean", "sum", "none")]
    for n, dtype, reduction in (*settings, (5, F32, "mean")):
        kwargs = preference_logps(rng, n, dtype) | {"beta": dyadic(rng), "reduction": reduction}
        got, want = attempt.dpo_loss(**kwargs), reference.dpo_loss(**kwargs)
        three = isinstance(got, tuple) and len(got) == 3
        assert_true(three, "not a tuple of three values", expected="(loss, chosen_rewards, rejected_rewards)", got=got)
        assert_close(got[0], want[0], **tolerance(kwargs), label="the loss")
    for reduction in ("median", "MEAN", None):
        assert_raises(ValueError, attempt.dpo_loss, **kwargs | {"reduction": reduction})


@check("dpo", points=3)
def test_dpo_rewards_are_scaled_and_detached(attempt, reference, rng):
    """the rewards are β·(log π − log π_ref) of each completion, whatever the reduction and ε, without a graph"""
    for dtype, smoothing in ((F64, 0.0), (F64, 0.25), (F32, 0.0)):
        kwargs = preference_logps(rng, 5, dtype) | {"beta": dyadic(rng), "label_smoothing": smoothing}
        kwargs["pc"].requires_grad_()
        kwargs["pr"].requires_grad_()
        got, want = attempt.dpo_loss(**kwargs), reference.dpo_loss(**kwargs)
        assert_close(got[1:], want[1:], **tolerance(kwargs), label="the rewards")
        for reward in got[1:]:
            assert_true(not reward.requires_grad, "the rewards carry a graph: detach them", expected=False, got=True)


@check("dpo", points=4, needs="test_dpo_loss_is_logistic_in_the_margin")
def test_dpo_stays_finite_at_large_margins(attempt, reference, rng):
    """margins of ±10⁴ give the exact loss and gradient, not inf or NaN"""
    for dtype in (F64, F32):
        kwargs = far_logps(rng, 4, dtype) | {"beta": 1.0, "reduction": "none"}
        gradients_agree(attempt, reference, "dpo_loss", kwargs, rng, wrt=("pc", "pr"))


@check("dpo", points=4, needs="test_dpo_loss_is_logistic_in_the_margin")
def test_dpo_label_smoothing_is_conservative(attempt, reference, rng):
    """label smoothing ε puts 1 − ε on the given preference and ε on its opposite"""
    for logps, smoothing in ((preference_logps, 0.25), (far_logps, 0.125), (preference_logps, dyadic(rng, 0.02, 0.49))):
        kwargs = logps(rng, 6) | {"beta": dyadic(rng), "label_smoothing": smoothing, "reduction": "none"}
        gradients_agree(attempt, reference, "dpo_loss", kwargs, rng, wrt=("pc", "pr"))


@check("dpo", points=4, needs="test_dpo_loss_is_logistic_in_the_margin")
def test_dpo_gradient_reaches_the_policy_only(attempt, reference, rng):
    """the gradient reaches both log-probabilities of the policy, never the reference's; no input is modified"""
    kwargs = preference_logps(rng, 6) | {"beta": dyadic(rng), "reduction": "none"}
    gradients_agree(attempt, reference, "dpo_loss", kwargs, rng, wrt=("pc", "pr"), constant=("rc", "rr"))


@check("ipo", points=4)
def test_ipo_regresses_the_gap_to_its_target(attempt, reference, rng):
    """the loss is the mean squared distance of h to 1/(2β)"""
    for n, dtype in ((5, F64), (1, F64), (4, F32)):
        agree(attempt, reference, "ipo_loss", **ipo_inputs(rng, n, dtype))
    far = {f"avg_{name}": logps for name, logps in far_logps(rng, 4).items() if name in ("pc", "pr", "rc", "rr")}
    agree(attempt, reference, "ipo_loss", **far, beta=dyadic(rng))


@check("ipo", points=2, needs="test_ipo_regresses_the_gap_to_its_target")
def test_ipo_gradient_reaches_the_policy_only(attempt, reference, rng):
    """the gradient reaches both log-probabilities of the policy, never the reference's; no input is modified"""
    wrt, constant = ("avg_pc", "avg_pr"), ("avg_rc", "avg_rr")
    gradients_agree(attempt, reference, "ipo_loss", ipo_inputs(rng, 1), rng, wrt, constant)


@check("kto", points=5)
def test_kto_weighs_both_classes_against_one_baseline(attempt, reference, rng):
    """desirable and undesirable completions each get their loss and weight, meaned over all of them"""
    for n, weights, dtype in ((7, (1.25, 0.5), F64), (5, (0.75, 1.5), F64), (4, (1.0, 1.0), F32)):
        kwargs = unpaired_logps(rng, n, [1.5], dtype) | {"beta": dyadic(rng)}
        agree(attempt, reference, "kto_loss", **kwargs, w_d=weights[0], w_u=weights[1])


@check("kto", points=6, needs="test_kto_weighs_both_classes_against_one_baseline")
def test_kto_baseline_is_clamped_and_constant(attempt, reference, rng):
    """z0 is the clamped mean over the mismatched pairs and, like ref_logps, a constant; no input is modified"""
    constant = ("ref_logps", "kl_policy_logps", "kl_ref_logps")
    for drift in ((2.0, -1.0, 0.5), (-2.0, 0.5, -1.0), (2.0, -1.0, 0.5, 3.0, -2.0)):
        kwargs = unpaired_logps(rng, 5, drift) | {"beta": dyadic(rng)}
        gradients_agree(attempt, reference, "kto_loss", kwargs, rng, ("policy_logps",), constant)


@check("kto", points=4)
def test_kto_survives_one_class_and_large_gains(attempt, reference, rng):
    """a batch of one class, of one completion, or with gains of ±10⁴ has a finite loss and gradient"""
    for flags in ([True] * 4, [False] * 4, [True], [False]):
        kwargs = unpaired_logps(rng, len(flags), [1.5]) | {"is_desirable": torch.tensor(flags), "beta": dyadic(rng)}
        gradients_agree(attempt, reference, "kto_loss", kwargs, rng, wrt=("policy_logps",))
    for dtype, beta in ((F64, 1.0), (F32, 1.0), (F64, 1e-4)):
        far, kwargs = far_logps(rng, 4, dtype), unpaired_logps(rng, 4, [0.5], dtype)
        kwargs |= {"policy_logps": far["pc"], "ref_logps": far["rc"], "beta": beta}
        kwargs["is_desirable"] = torch.tensor([True, True, False, False])
        gradients_agree(attempt, reference, "kto_loss", kwargs, rng, wrt=("policy_logps",))


@check("safedpo", points=4)
def test_safedpo_transform_swaps_and_drops(attempt, reference, rng):
    """an unsafe winner changes places with a safe loser, two unsafe ones are dropped, flags and order follow"""
    unsafe_w = torch.tensor([True, False, True, False, True, False, True, False])
    unsafe_l = torch.tensor([False, True, True, False, False, False, True, True])
    pairs = random_ids(rng, 16, 3, 2**25, low=2**24).view(8, 2, 3) | 1  # odd, so that float32 holds none of them
    kwargs = {"pairs": pairs, "unsafe_w": unsafe_w, "unsafe_l": unsafe_l}
    got = assert_inputs_unchanged(attempt.safedpo_transform, **kwargs)
    assert_close(got, reference.safedpo_transform(**kwargs), **SAME)


@check("safedpo", points=1, needs="test_safedpo_transform_swaps_and_drops")
def test_safedpo_transform_returns_new_tensors(attempt, reference, rng):
    """what comes back is new, even where nothing changes: writing to it leaves the inputs alone"""
    inputs = random_ids(rng, 6, 4, 50).view(3, 2, 4), torch.tensor([False] * 3), torch.tensor([False, True, False])
    got, after = attempt.run("transform_then_overwrite", *inputs)
    assert_close(got, reference.safedpo_transform(*inputs), **SAME)
    assert_close(after, inputs, **SAME, label="the inputs, once the results are overwritten")


@check("safedpo", points=4)
def test_safedpo_loss_offsets_unsafe_losers(attempt, reference, rng):
    """the margin is βh − (u_l − u_w)·Δ, pair by pair; the gradient reaches the policy only, no input is modified"""
    unsafe_w = torch.tensor([False, False, True, False, True])
    for unsafe_l, dtype in (((True, False, True, True, False), F64), ((False,) * 5, F64), ((True,) * 5, F32)):
        flags = {"unsafe_w": unsafe_w, "unsafe_l": torch.tensor(unsafe_l)}
        kwargs = preference_logps(rng, 5, dtype) | flags | {"beta": dyadic(rng), "delta": dyadic(rng, 0.5, 3)}
        gradients_agree(attempt, reference, "safedpo_loss", kwargs, rng, wrt=("pc", "pr"), constant=("rc", "rr"))


@check("safedpo", points=4)
def test_safedpo_survives_no_pairs_and_large_margins(attempt, reference, rng):
    """without pairs the transform is empty and the loss 0, at margins of ±10⁴ exact: no NaN, also in backward()"""
    for n in (3, 0):
        pairs, unsafe = random_ids(rng, 2 * n, 4, 9).view(n, 2, 4), torch.ones(n, dtype=torch.bool)
        agree(attempt, reference, "safedpo_transform", pairs=pairs, unsafe_w=unsafe, unsafe_l=unsafe)
    flags = {"unsafe_w": torch.tensor([False] * 4), "unsafe_l": torch.tensor([True, True, False, False])}
    for dtype in (F64, F32):
        kwargs = far_logps(rng, 4, dtype) | flags | {"beta": 1.0, "delta": 1.5}
        gradients_agree(attempt, reference, "safedpo_loss", kwargs, rng, wrt=("pc", "pr"))
    empty = {name: value[:0] if isinstance(value, torch.Tensor) else value for name, value in kwargs.items()}
    agree(attempt, reference, "safedpo_loss", **empty)
    _, grads = gradients(attempt.safedpo_loss, empty, wrt=("pc", "pr"), upstream=rng)
    assert_true(any(grad is not None for grad in grads.values()), "the loss of no pairs has no graph for backward()")


def train(side, start, anchor, batch, *, stale=None, **kwargs):
    """Train a policy from one table against a reference at another. -> history, and the weights it ends with"""
    policy = side.TabularPolicy(start) if stale is None else side.run("model_with_gradient", start, stale)
    history = side.train_dpo(policy=policy, reference=side.TabularPolicy(anchor), batch=batch, **kwargs)
    return history, side.run("weights_and_gradients", policy)["weights"]


@check("train", points=5)
def test_train_reports_metrics_of_each_step(attempt, reference, rng):
    """every step reports loss, accuracy (a tie is no win) and margin as they were before its update"""
    for loss_type in ("dpo", "ipo"):
        kwargs = {"beta": dyadic(rng), "lr": 3.0, "steps": 1, "loss_type": loss_type}
        setting = toy_training(rng, tie=True)
        assert_close(train(attempt, *setting, **kwargs)[0], train(reference, *setting, **kwargs)[0], **TOLD)


@check("train", points=4, needs="test_train_reports_metrics_of_each_step")
def test_train_takes_plain_gradient_steps(attempt, reference, rng):
    """each step is −lr times its own gradient: no momentum, decay or clipping, nothing left of older gradients"""
    setting, plain = toy_training(rng), {"beta": dyadic(rng), "lr": 3.0, "steps": 4}
    steep = {"beta": 1 / 64, "lr": 0.05, "steps": 3, "loss_type": "ipo"}
    for kwargs in (plain, steep, plain | {"stale": rng.tensor(6, 6, dtype=F64)}):
        (got, weights), (want, wanted) = train(attempt, *setting, **kwargs), train(reference, *setting, **kwargs)
        assert_close(got, want, **TOLD)
        assert_close(weights, wanted, **EXACT, label="the weights of the policy")


@check("train", points=3, needs="test_train_reports_metrics_of_each_step")
def test_train_freezes_the_reference(attempt, reference, rng):
    """the reference runs without dropout and keeps its weights and .grad, and batch is not modified"""
    for loss_type in ("dpo", "ipo"):
        (start, anchor, batch), grad = toy_training(rng), rng.tensor(6, 6, dtype=F64)
        kwargs = {"beta": dyadic(rng), "lr": 1.0, "steps": 1, "loss_type": loss_type}
        policy, frozen = attempt.TabularPolicy(start), attempt.run("model_with_gradient", anchor, grad, 0.5)
        got = assert_inputs_unchanged(attempt.train_dpo, policy=policy, reference=frozen, batch=batch, **kwargs)
        assert_close(got, train(reference, start, anchor, batch, **kwargs)[0], **TOLD)
        before = {"weights": {"table": anchor}, "gradients": {"table": grad}}
        assert_close(attempt.run("weights_and_gradients", frozen), before, **SAME, label="the reference")


@check("train", points=3, needs="test_train_reports_metrics_of_each_step")
def test_train_asks_the_reference_once(attempt, reference, rng):
    """the reference sees each sequence once in the whole training, and builds no graph"""
    (start, anchor, batch), seen = toy_training(rng), []

    def logits_of(ids, builds_graph):
        seen.append((len(ids), builds_graph))
        return anchor[ids]

    for loss_type in ("dpo", "ipo"):
        kwargs = {"beta": dyadic(rng), "lr": 1.0, "steps": 3, "loss_type": loss_type}
        policy, frozen = attempt.TabularPolicy(start), attempt.run("reference_elsewhere", logits_of)
        got = attempt.train_dpo(policy=policy, reference=frozen, batch=batch, **kwargs)
        assert_close(got[:1], train(reference, start, anchor, batch, **kwargs)[0][:1], **TOLD)
        rows, graphs = zip(*seen, strict=True)
        assert_true(sum(rows) <= 12, "sequences that went through the reference", expected=12, got=sum(rows))
        assert_true(not any(graphs), "the reference's logits require a gradient: run it under torch.no_grad()")
        seen.clear()


@check("train", points=2, needs="test_train_takes_plain_gradient_steps")
def test_train_takes_any_policy_in_its_mode(attempt, reference, rng):
    """policy may be any module: all its parameters train, and it stays in the mode it arrives in"""
    (start, anchor, batch), bias = toy_training(rng), rng.tensor(6, dtype=F64)
    for mode in (True, False):
        kwargs, seen, results = {"beta": dyadic(rng), "lr": 1.0, "steps": 2}, [], []
        for side in (attempt, reference):
            policy = side.run("another_policy", start, bias, seen.append).train(mode)
            history = side.train_dpo(policy=policy, reference=side.TabularPolicy(anchor), batch=batch, **kwargs)
            seen.append(policy.get("training"))
            results.append((history, side.run("weights_and_gradients", policy)["weights"]))
        (history, weights), (want, wanted) = results
        assert_close(history, want, **TOLD)
        assert_close(weights, wanted, **EXACT, label="the weights of the policy")
        assert_true(set(seen) == {mode}, "policy left the mode it came in", expected=f"training={mode}, all along")


@check("train", points=5, needs="test_train_reports_metrics_of_each_step")
def test_train_reaches_the_known_optimum(attempt, reference, rng):
    """training ends where theory says: DPO at π ∝ π_ref · exp(r/β), IPO at averaged log-ratios 1/(2β) apart"""
    ids = torch.tensor([[6, 0, 1, 6, 6], [6, 0, 2, 6, 6], [6, 0, 3, 5, 6], [6, 0, 4, 5, 6]])
    mask = (torch.arange(5) > 1) & (ids < 6)  # four responses to one prompt, of different length

    def contests(winners, losers):
        sides = {"chosen": winners, "rejected": losers}.items()
        return {f"{side}_ids": ids[row] for side, row in sides} | {f"{side}_mask": mask[row] for side, row in sides}

    start, beta, strengths = rng.tensor(7, 7, dtype=F64), dyadic(rng, 0.4, 1.0), rng.permutation([1.0, 2.0, 3.0, 4.0])
    # The reward is log strength: i beats j in s_i of s_i + s_j contests.
    wins = [(i, j) for i in range(4) for j in range(4) if i != j for _ in range(int(strengths[i]))]
    _, weights = train(attempt, start, start, contests(*torch.tensor(wins).T), beta=beta, lr=3.5 / beta**2, steps=40)
    before, after = (reference.sequence_logprobs(table[ids], ids, mask) for table in (start, weights["table"]))
    want = torch.softmax(before + torch.from_numpy(strengths).log() / beta, dim=0)
    assert_close(torch.softmax(after, dim=0), want, **CONVERGED, label="π of the responses")
    history, _ = train(attempt, start, start, contests([2], [0]), beta=0.5, lr=0.3, steps=40, loss_type="ipo")
    assert_close(history[-1]["margin"], 0.5, **CONVERGED, label="last margin")  # β · 1/(2β)
