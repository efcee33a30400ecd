"""Hidden checks of `ppo`: exact values and gradients under ragged masks, exact and toy trainings."""

from copy import deepcopy

import torch

from grader.checking import assert_close, assert_inputs_unchanged, assert_raises, assert_true, check, gradients

F32, F64 = torch.float32, torch.float64
EXACT = {"rtol": 1e-9, "atol": 1e-12}
SINGLE = {"rtol": 1e-5, "atol": 1e-6}
SAME = {"rtol": 0, "atol": 0}
STAY = {"rtol": 0, "atol": 1e-7}
JUNK = (torch.nan, torch.inf, -torch.inf, 1e30)
VOCAB = 6


def dyadic(rng, low, high):
    """A multiple of 1/64, which float32 holds exactly."""
    return int(rng.integers(round(64 * low), round(64 * high))) / 64


def ragged(rng, rows=6, cols=7):
    """Rows that are full, end early, begin late, have holes, hold one token, hold none: rows ≥ 6, in random order."""
    steps = torch.arange(cols)
    kinds = [steps >= 0, steps < 3, steps > 1, steps % 2 == 0, steps == 2, steps < 0]
    kinds += [steps < int(rng.integers(1, cols + 1)) for _ in range(rows - len(kinds))]
    return torch.stack(kinds)[torch.from_numpy(rng.permutation(rows))]


def by_column(tensor):
    """The same values, not contiguous."""
    return tensor.transpose(0, 1).contiguous().transpose(0, 1)


def tolerance(dtype):
    return SINGLE if dtype == F32 else EXACT


def agree(attempt, reference, name, kwargs):
    """The function returns what the reference's does, without a graph, and leaves its inputs alone."""
    dtype = next(value.dtype for value in kwargs.values() if isinstance(value, torch.Tensor))
    got = assert_inputs_unchanged(getattr(attempt, name), **kwargs)
    assert_close(got, getattr(reference, name)(**kwargs), **tolerance(dtype))
    assert_true(not got.requires_grad, "the result carries a graph: advantages are data", expected=False, got=True)


def gradients_agree(attempt, reference, name, kwargs, rng, wrt, close=EXACT):
    """The gradients of the first result are the same, and 0 or absent for what follows the first of `wrt`."""
    twin = deepcopy(rng)
    _, grads = gradients(getattr(attempt, name), kwargs, wrt=wrt, upstream=rng)
    _, wanted = gradients(getattr(reference, name), kwargs, wrt=wrt, upstream=twin)
    assert_close(grads[wrt[0]], wanted[wrt[0]], **close, label=f"gradient of {wrt[0]}")
    for key in wrt[1:]:
        silent = grads[key] is None or not grads[key].any()
        assert_true(silent, f"a gradient reaches {key}, which is a constant", expected="none", got=grads[key])


def language(rng, rows, length, vocab=5, dtype=F64):
    ids = torch.from_numpy(rng.integers(0, vocab, (rows, length)))
    return {"logits": 2 * rng.tensor(rows, length, vocab, dtype=dtype), "ids": ids}


@check("logprobs", points=6)
def test_logprobs_belong_to_the_next_token(attempt, reference, rng):
    """column t is the tempered log-probability of token t + 1, in any shape and dtype; the logits stay as they are"""
    for rows, length, dtype in ((3, 6, F64), (1, 2, F64), (4, 1, F64), (2, 5, F32), (5, 3, F64)):
        for temperature in (1.0, dyadic(rng, 0.3, 0.8), 3):
            kwargs = language(rng, rows, length, dtype=dtype) | {"temperature": temperature}
            got = assert_inputs_unchanged(attempt.token_logprobs, **kwargs)
            assert_close(got, reference.token_logprobs(**kwargs), **tolerance(dtype))
    strided = {name: by_column(value) for name, value in language(rng, 3, 5).items()}
    assert_close(attempt.token_logprobs(**strided), reference.token_logprobs(**strided), **EXACT)


@check("logprobs", points=5)
def test_logprobs_stay_exact_at_extreme_logits(attempt, reference, rng):
    """logits of ±10⁴, banned tokens and NaN at the last position give exact values and gradients"""
    for junk in (torch.nan, torch.inf, 0.0):
        kwargs = language(rng, 3, 6) | {"temperature": dyadic(rng, 0.5, 2)}
        nexts = kwargs["ids"].roll(-1, dims=1).unsqueeze(-1)
        kwargs["logits"][1] += 1e4 * kwargs["logits"][1].sign()
        kwargs["logits"].scatter_(-1, (nexts + 1) % 5, -torch.inf)
        kwargs["logits"][0].scatter_(-1, nexts[0], -1e4)  # every predicted token of this row is far below another
        kwargs["logits"][:, -1] = junk
        assert_close(attempt.token_logprobs(**kwargs), reference.token_logprobs(**kwargs), **EXACT)
        gradients_agree(attempt, reference, "token_logprobs", kwargs, rng, wrt=("logits",))


@check("logprobs", points=2)
def test_logprobs_refuse_a_temperature_of_zero(attempt, rng):
    """a temperature of 0 or below is a ValueError"""
    for temperature in (0.0, 0, -0.5):
        assert_raises(ValueError, attempt.token_logprobs, **language(rng, 2, 3), temperature=temperature)


def scored(rng, mask, dtype=F64):
    names, numbers = ("logp", "ref_logp"), rng.tensor(2, *mask.shape, dtype=dtype)
    scores = {"scores": 3 * rng.tensor(len(mask), dtype=dtype)}
    return scores | dict(zip(names, numbers - 2, strict=True)) | {"mask": mask, "kl_coef": dyadic(rng, 0.1, 2)}


@check("rewards", points=6)
def test_rewards_are_the_penalty_and_at_the_end_the_score(attempt, reference, rng):
    """each token gets −kl_coef·(logp − ref_logp), and the last one of a full row the score on top"""
    for rows, cols, dtype in ((4, 5, F64), (1, 1, F64), (2, 3, F32), (5, 2, F64)):
        kwargs = scored(rng, torch.ones(rows, cols, dtype=torch.bool), dtype)
        for coefficient in (kwargs["kl_coef"], 0.0):
            agree(attempt, reference, "shaped_rewards", kwargs | {"kl_coef": coefficient})


@check("rewards", points=5)
def test_rewards_put_the_score_at_the_last_unmasked_token(attempt, reference, rng):
    """the score is at the row's last unmasked token, wherever it stands; masked places are 0, so are empty rows"""
    for rows, cols in ((6, 7), (9, 5)):
        kwargs = scored(rng, ragged(rng, rows, cols))
        agree(attempt, reference, "shaped_rewards", kwargs)
        agree(attempt, reference, "shaped_rewards", {k: by_column(v) if k == "mask" else v for k, v in kwargs.items()})


@check("rewards", points=3)
def test_rewards_ignore_what_is_masked(attempt, reference, rng):
    """NaN and inf where masked, and the score of an empty row, reach nothing; no graph comes out"""
    for junk in JUNK:
        mask = ragged(rng)
        kwargs = scored(rng, mask)
        kwargs["logp"][~mask], kwargs["ref_logp"][~mask], kwargs["scores"][~mask.any(1)] = junk, junk, junk
        for name in ("scores", "logp", "ref_logp"):
            kwargs[name].requires_grad_()
        agree(attempt, reference, "shaped_rewards", kwargs)


@check("rewards", points=5)
def test_returns_sum_the_rewards_still_to_come(attempt, reference, rng):
    """each unmasked token gets the sum of the unmasked rewards from itself on; masked places are 0, their NaN unseen"""
    for dtype, junk in ((F64, 0.5), (F32, 0.5), *((F64, junk) for junk in JUNK)):
        mask = ragged(rng)
        rewards = rng.tensor(*mask.shape, dtype=dtype).masked_fill(~mask, junk)
        agree(attempt, reference, "returns_to_go", {"rewards": by_column(rewards).requires_grad_(), "mask": mask})
    agree(attempt, reference, "returns_to_go", {"rewards": rng.tensor(3, 1), "mask": torch.ones(3, 1).bool()})


@check("whiten", points=5)
def test_whiten_uses_mean_and_unbiased_variance(attempt, reference, rng):
    """mean and unbiased variance are over all unmasked entries, masked places are 0; shift_mean=False keeps the mean"""
    for rows, cols, dtype in ((6, 4, F64), (7, 6, F32)):
        for mask in (ragged(rng, rows, cols), torch.ones(rows, cols, dtype=torch.bool)):
            x = 3 + rng.tensor(rows, cols, dtype=dtype) * torch.arange(1, rows + 1, dtype=dtype).unsqueeze(1)
            for shift in ({}, {"shift_mean": True}, {"shift_mean": False}):
                agree(attempt, reference, "masked_whiten", {"x": by_column(x).requires_grad_(), "mask": mask} | shift)


@check("whiten", points=3)
def test_whiten_keeps_its_digits(attempt, reference, rng):
    """eps stands inside the root, and a mean of 10⁴ with a spread of 10⁻² costs no digits"""
    for offset, spread, close in ((0.0, 1e-4, EXACT), (0.0, 1e-30, EXACT), (1e4, 1e-2, {"rtol": 1e-7, "atol": 1e-7})):
        for shift_mean in (True, False):
            x, mask = offset + spread * rng.tensor(6, 5, dtype=F64), ragged(rng, 6, 5)
            kwargs = {"x": x, "mask": mask, "shift_mean": shift_mean}
            assert_close(attempt.masked_whiten(**kwargs), reference.masked_whiten(**kwargs), **close)
    x = (512 + torch.from_numpy(rng.integers(-32, 32, (6, 5))) / 64).float()  # its sums are exact, its squares not
    kwargs = {"x": x, "mask": ragged(rng, 6, 5)}
    want = reference.masked_whiten(x.double(), kwargs["mask"]).float()
    assert_close(attempt.masked_whiten(**kwargs), want, rtol=0, atol=3e-4)


@check("whiten", points=4)
def test_whiten_ignores_what_is_masked(attempt, reference, rng):
    """NaN and inf where masked reach nothing; one unmasked entry becomes 0 or stays, none at all gives zeros"""
    nothing = torch.zeros(6, 7, dtype=torch.bool)
    single = nothing.clone()
    single[int(rng.integers(6)), int(rng.integers(7))] = True
    for mask in (ragged(rng), single, nothing):
        for junk in JUNK:
            x = (2 + rng.tensor(6, 7, dtype=F64)).masked_fill(~mask, junk)
            for shift_mean in (True, False):
                agree(attempt, reference, "masked_whiten", {"x": x, "mask": mask, "shift_mean": shift_mean})


def drifted(rng, mask, dtype=F64, spread=0.5):
    """Log-probabilities that moved by up to `spread`, in both directions, and advantages of both signs."""
    old = rng.tensor(*mask.shape, dtype=dtype) - 3
    moved = torch.from_numpy(rng.uniform(-spread, spread, mask.shape)).to(dtype)
    return {"logp": old + moved, "old_logp": old, "adv": rng.tensor(*mask.shape, dtype=dtype), "mask": mask}


@check("loss", points=7)
def test_loss_is_the_worse_of_both_terms(attempt, reference, rng):
    """per token the larger of the plain and the clipped cost, then one mean over all unmasked tokens"""
    for rows, cols, dtype in ((6, 7, F64), (8, 5, F64), (6, 3, F32)):
        for clip in ({}, {"clip": dyadic(rng, 0.05, 0.15)}, {"clip": dyadic(rng, 0.3, 0.45)}):
            kwargs = drifted(rng, ragged(rng, rows, cols), dtype) | clip
            got = assert_inputs_unchanged(attempt.ppo_clip_loss, **kwargs)
            assert_true(
                isinstance(got, tuple) and len(got) == 2, "not a tuple of two", expected="(loss, stats)", got=got
            )
            assert_close(got[0], reference.ppo_clip_loss(**kwargs)[0], **tolerance(dtype), label="the loss")


@check("loss", points=5)
def test_loss_has_no_gradient_where_clipping_binds(attempt, reference, rng):
    """the gradient reaches logp alone, and not where the clipped term is the larger; old_logp and adv are constants"""
    for clip in (0.2, dyadic(rng, 0.3, 0.45)):
        kwargs = drifted(rng, ragged(rng, 8, 6)) | {"clip": clip}
        gradients_agree(attempt, reference, "ppo_clip_loss", kwargs, rng, wrt=("logp", "old_logp", "adv"))


@check("loss", points=3)
def test_loss_reports_clipping_and_drift(attempt, reference, rng):
    """clipfrac counts tokens whose clipped term is strictly larger, approx_kl is the mean of ρ − 1 − log ρ: floats"""
    for rows, cols, clip in ((6, 7, 0.2), (9, 5, dyadic(rng, 0.05, 0.15)), (7, 4, dyadic(rng, 0.3, 0.45))):
        kwargs = drifted(rng, ragged(rng, rows, cols)) | {"clip": clip}
        kwargs["adv"][::2, ::2] = 0.0  # both terms are 0
        kwargs["logp"].requires_grad_()
        want = reference.ppo_clip_loss(**kwargs)[1]
        assert_close(attempt.ppo_clip_loss(**kwargs)[1], want, rtol=1e-6, atol=1e-9, exact_type=True, label="stats")


@check("loss", points=3)
def test_loss_ignores_what_is_masked(attempt, reference, rng):
    """NaN and inf where masked reach neither loss, stats nor gradient; a batch of masked tokens costs 0"""
    for mask in (ragged(rng), torch.zeros(2, 3, dtype=torch.bool)):
        for junk in JUNK:
            kwargs = drifted(rng, mask)
            for name in ("logp", "old_logp", "adv"):
                kwargs[name][~mask] = junk
            assert_close(attempt.ppo_clip_loss(**kwargs), reference.ppo_clip_loss(**kwargs), rtol=1e-6, atol=1e-9)
            gradients_agree(attempt, reference, "ppo_clip_loss", kwargs, rng, wrt=("logp",))


@check("loss", points=3)
def test_loss_limits_the_log_ratio(attempt, reference, rng):
    """log-ratios are clamped to ±20, in the stats too, so that ±10⁴ gives a finite loss and gradient"""
    for dtype, far, farther in ((F64, 1e4, -1e4), (F32, 1e4, -1e4), (F64, 21.0, -21.0), (F64, -21.0, -1e4)):
        kwargs = drifted(rng, torch.ones(4, 6, dtype=torch.bool), dtype)
        kwargs["logp"][::2, ::2] += far
        kwargs["logp"][1::2, ::2] += farther
        assert_close(attempt.ppo_clip_loss(**kwargs), reference.ppo_clip_loss(**kwargs), rtol=1e-5, atol=1e-6)
        gradients_agree(attempt, reference, "ppo_clip_loss", kwargs, rng, ("logp",), tolerance(dtype))


def rollouts(rng, rows, prompt=2, length=5):
    """Ids and a mask as a sampler returns them, here with holes and an empty row too."""
    ids = torch.from_numpy(rng.integers(0, VOCAB, (rows, prompt + length)))
    return ids, ragged(rng, rows, length)


def setting(rng, batches, *, lr=8.0, **cfg):
    """Everything that `scripted` needs but the options."""
    tables = dict(zip(("table", "anchor", "weights"), rng.tensor(3, VOCAB, VOCAB, dtype=F64), strict=True))
    cfg = {"updates": len(batches), "temperature": dyadic(rng, 0.5, 0.9), "minibatch": 64} | cfg
    return {"rollouts": batches, **tables, "value": dyadic(rng, 0.2, 0.6), "cfg": cfg, "lr": lr}


def trained(side, given, **options):
    return side.run("scripted", given, options)


def train_alike(attempt, reference, given, names=("history", "weights"), **options):
    """The attempt's training leaves the same history and weights. -> all that was seen of it, and of the reference's"""
    got, want = (trained(side, given, **options) for side in (attempt, reference))
    for name in names:
        close = {"rtol": 1e-7, "atol": 1e-9} if name in ("history", "weights") else SAME
        assert_close(got[name], want[name], **close, label=name)
    return got, want


@check("train", points=3)
def test_train_begins_at_a_ratio_of_one(attempt, rng):
    """at the first minibatch nothing is clipped and approx_kl is 0; with a learning rate of 0 nothing ever moves"""
    given = setting(rng, [rollouts(rng, 7)], epochs=1)
    got = trained(attempt, given, dropout=0.25)["history"][0]
    start = {"clipfrac": 0.0, "approx_kl": 0.0, "steps": 1}
    assert_close({name: got.get(name) for name in start}, start, rtol=0, atol=1e-12, label="the first minibatch")
    still = setting(rng, [rollouts(rng, 7), rollouts(rng, 6)], epochs=2, minibatch=3, lr=0.0)
    got = trained(attempt, still, dropout=0.25)
    assert_close(got["weights"], still["table"], **SAME, label="weights, after training with lr = 0")
    drift = [(step.get("approx_kl"), step.get("steps")) for step in got["history"]]
    assert_close(drift, [(0.0, 6), (0.0, 4)], rtol=0, atol=1e-12, label="approx_kl and steps, with lr = 0")


@check("train", points=2)
def test_train_stays_at_the_optimum(attempt, rng):
    """π_ref · exp(score / kl_coef) / Z is a fixed point: there all advantages are equal, and nothing moves"""
    ids = torch.from_numpy(rng.integers(0, VOCAB, (12, 2)))
    ids[:, 0], ids[:VOCAB, 1] = int(rng.integers(VOCAB)), torch.arange(VOCAB)
    given = setting(rng, [(ids, torch.ones(12, 1, dtype=torch.bool))], lr=1.0, minibatch=5)
    tau = given["cfg"]["temperature"]
    optimum = given | {"table": given["anchor"] + tau * given["weights"] / given["value"]}
    assert_close(trained(attempt, optimum)["weights"], optimum["table"], **STAY, label="weights at the optimum")
    moved = float((trained(attempt, given)["weights"] - given["table"]).abs().max())
    assert_true(moved > 0.01, "training does not move a policy that is no optimum", expected="> 0.01", got=moved)


@check("train", points=5)
def test_train_goes_through_one_batch_in_epochs(attempt, reference, rng):
    """rollout, scores, rewards and advantages are computed once, then each epoch takes its step; the history tells"""
    for epochs, clip in ((1, 0.2), (3, 0.2), (2, dyadic(rng, 0.3, 0.45))):
        given = setting(rng, [rollouts(rng, 9, prompt=epochs)], epochs=epochs, clip=clip)
        train_alike(attempt, reference, given, stale=rng.tensor(VOCAB, VOCAB, dtype=F64))
    (ids, mask), given = rollouts(rng, 7), setting(rng, [])
    given["table"][:, 0] = given["anchor"][:, 0] = -torch.inf  # a banned token, which stands where nothing counts
    ids[:, 2:] = torch.where(mask, ids[:, 2:].clamp(min=1), 0)
    given |= {"rollouts": [(ids, mask)], "cfg": given["cfg"] | {"updates": 1, "epochs": 2}}
    train_alike(attempt, reference, given)


@check("train", points=4, needs="test_train_goes_through_one_batch_in_epochs")
def test_train_shuffles_each_epoch_into_minibatches(attempt, reference, rng):
    """every epoch draws its own order from the generator and takes one step a slice, the last one smaller"""
    for minibatch, seed in ((4, 3), (5, 11), (1, 5)):
        given = setting(rng, [rollouts(rng, 9), rollouts(rng, 7, length=4)], minibatch=minibatch, lr=2.0)
        got, _ = train_alike(attempt, reference, given, seed=seed, momentum=0.5)
        assert_true(not got["global randomness"], "torch's global generator was used", expected="`generator`")


@check("train", points=3)
def test_train_scores_each_batch_once(attempt, reference, rng):
    """the reward model gets all rows at once, with prompt and completion unmasked and no graph, once an update"""
    batches = [rollouts(rng, 8, prompt=3), rollouts(rng, 6, prompt=1)]
    batches.append((batches[0][0], ragged(rng, 8, 5)))  # the same ids once more, under another mask
    given = setting(rng, batches, minibatch=3)
    got, want = (trained(side, given) for side in (attempt, reference))
    scores = [[step.get("score") for step in seen["history"]] for seen in (got, want)]
    assert_close(*scores, **EXACT, label="the scores of the history")
    calls = [list(event[1:]) for event in got["events"] if event[0] == "rm"]
    masks = [torch.cat([torch.ones(len(ids), ids.shape[1] - 5).bool(), mask], dim=1) for ids, mask in batches]
    want = [[ids, mask, False] for (ids, _), mask in zip(batches, masks, strict=True)]
    assert_close(calls, want, **SAME, label="ids, mask and graph of each call")


@check("train", points=3, needs="test_train_goes_through_one_batch_in_epochs")
def test_train_runs_both_models_in_eval_mode(attempt, reference, rng):
    """no dropout in rollout and epochs, the modes are restored; the reference is asked once a row, without a graph"""
    for modes in ((True, True), (False, True), (True, False)):
        stale = rng.tensor(VOCAB, VOCAB, dtype=F64)
        given = setting(rng, [rollouts(rng, 7), rollouts(rng, 6)], epochs=3, lr=1.0)
        names = ("history", "weights", "modes", "reference")
        got, _ = train_alike(attempt, reference, given, names, dropout=0.5, modes=modes, stale=stale)
        asked = [event for event in got["events"] if event[0] == "ref"]
        assert_true(sum(event[1] for event in asked) == 13, "rows through the reference", expected=13, got=asked)
        assert_true(not any(event[3] for event in asked), "the reference builds a graph", expected="no graph")
        sampled = [event for event in got["events"] if event[0] == "sample"]
        assert_close(sampled, [("sample", True, False)] * 2, **SAME, label="sample, of the policy, its train mode")
        once = sum(event[1] for event in got["events"] if event[0] == "policy" and not event[3])
        assert_true(once == 13, "rows through the policy without a graph: old_logp, once", expected=13, got=once)


@check("train", points=3, needs="test_train_goes_through_one_batch_in_epochs")
def test_train_asks_and_tells_the_controller(attempt, reference, rng):
    """each update uses the coefficient as it is then, and afterwards tells the rollouts' KL per row and their number"""
    given = setting(rng, [rollouts(rng, 6), rollouts(rng, 9), rollouts(rng, 7)], lr=2.0)
    got, want = train_alike(attempt, reference, given)
    told, wanted = ([event for event in seen["events"] if event[0] == "kl"] for seen in (got, want))
    assert_close(told, wanted, rtol=1e-7, atol=1e-9, exact_type=True, label="controller.update's kl and n")


@check("train", points=3, trained=True)
def test_train_raises_the_true_score(attempt, reference, rng):
    """at kl_coef = 0.05 a transformer policy, which begins near 0.4, ends with a true score of 2 of 4 or more"""
    seed = int(rng.integers(2**31))
    score, _ = reference.run("examined", seed, attempt.run("sampled", seed, 0.05, 16))
    assert_true(score >= 2, "the returned policy's true score on fresh rollouts", expected="≥ 2", got=score)


@check("train", points=2, trained=True)
def test_train_weighs_score_against_kl(attempt, reference, rng):
    """at kl_coef = 0.5 a training gains 0.18 or more in true score − 0.5·KL, which drift would cost"""
    seed = int(rng.integers(2**31))
    score, kl = reference.run("examined", seed, attempt.run("sampled", seed, 0.5, 16))
    start, _ = reference.run("examined", seed, None)
    told = f"true score {score:.2f} after {start:.2f}, KL {kl:.2f}: the gain in true score − 0.5·KL"
    assert_true(score - kl / 2 - start >= 0.18, told, expected="≥ 0.18", got=score - kl / 2 - start)


@check("control", points=4)
def test_controller_steers_towards_the_target(attempt, reference, rng):
    """value changes by the relative error, at most 20 %, times n / horizon; each controller for itself"""
    for horizon, size in ((1000, 1.0), (64, 1e-5)):
        target, init = dyadic(rng, 2, 8), size * dyadic(rng, 0.05, 0.5)
        controller, other = (attempt.AdaptiveKLController(init, target, horizon) for _ in range(2))
        twin = reference.AdaptiveKLController(init, target, horizon)
        for factor, n in (
            (1.0625, 32),
            (0.9375, 17),
            (3.0, 8),
            (0.1, 64),
            (-0.5, 5),
            (1.0, 64),
            (1e4, 1),
            (1.125, 3000),
        ):
            assert_true(controller.update(factor * target, n) is None, "update returned something", expected=None)
            twin.update(factor * target, n)
            assert_close(controller.get("value"), twin.get("value"), **EXACT, label=f"value after kl = {factor}·target")
        assert_close(other.get("value"), init, **SAME, label="value of a controller that was never updated")


@check("stop", points=3, needs="test_train_goes_through_one_batch_in_epochs")
def test_train_stops_its_epochs_at_the_target(attempt, reference, rng):
    """above 1.5·target_kl a minibatch takes no step, the rest of the update is skipped, and the next one goes on"""
    batches = [rollouts(rng, 9), rollouts(rng, 8), rollouts(rng, 7)]
    for target_kl in (1e-12, 1e-3, 0.02, 1e3):
        train_alike(attempt, reference, setting(rng, batches, epochs=4, minibatch=4, target_kl=target_kl, lr=2.0))
    given = setting(rng, batches[:1], lr=2.0)  # in two steps: the mean is half of the second one's
    drift = 2 * trained(reference, given)["history"][0]["approx_kl"]
    for share in (1.25, 1.75):
        train_alike(attempt, reference, given | {"cfg": given["cfg"] | {"target_kl": drift / share}})
    limit = {"cfg": given["cfg"] | {"target_kl": 0.0}}
    steps = trained(attempt, given | limit)["history"][0].get("steps")
    assert_true(steps in (0, 1), "a target_kl of 0.0 is a limit: steps of two", expected="1 (or 0)", got=steps)
    ids, mask = batches[0]
    sure = torch.full((VOCAB, VOCAB), -torch.inf, dtype=F64)
    sure[:, 0] = 1.0  # a token without alternative, whose log-probability is and stays 0
    certain = given | limit | {"rollouts": [(0 * ids, mask)], "table": sure, "anchor": sure}
    steps = trained(attempt, certain)["history"][0].get("steps")
    assert_true(steps == 2, "an approx_kl of 0.0 is not above a target_kl of 0.0: steps of two", expected=2, got=steps)
