"""The hidden checks. A padded batch is always compared with its rows scored alone; weights are random, biases too."""

from functools import partial

import numpy as np
import torch

from grader.checking import (
    assert_close,
    assert_equal,
    assert_inputs_unchanged,
    assert_raises,
    assert_true,
    check,
    gradients,
    keep,
)

F32, F64 = torch.float32, torch.float64
EXACT = {"rtol": 1e-9, "atol": 1e-11}
SINGLE = {"rtol": 1e-5, "atol": 1e-5}
SHARE = {"rtol": 1e-6, "atol": 0, "exact_type": True}
# Adam divides by the root of a squared gradient: the rounding of a small one comes back enlarged.
STEPPED = {"rtol": 1e-6, "atol": 1e-6}

SIZES = {"vocab": 9, "max_len": 6, "dim": 8, "heads": 2, "layers": 2}
ODD = {"vocab": 7, "max_len": 8, "dim": 9, "heads": 3, "layers": 3}
SHALLOW = {"vocab": 11, "max_len": 5, "dim": 8, "heads": 4, "layers": 1}
TOY = {"vocab": 7, "max_len": 7, "dim": 16, "heads": 2, "layers": 1}


def sequences(rng, lengths, high=9, low=0):
    """A list of token ids for each length."""
    return [[int(token) for token in rng.integers(low, high, size=length)] for length in lengths]


def padded(seqs, extra=0, fill=0):
    """The same as one batch, with `extra` columns of padding more than needed. -> ids, mask"""
    width = max(map(len, seqs)) + extra
    ids = torch.tensor([[fill] * (width - len(seq)) + seq for seq in seqs])
    return ids, torch.tensor([[False] * (width - len(seq)) + [True] * len(seq) for seq in seqs])


def strided(tensor):
    """The same values, not contiguous."""
    return tensor.mT.contiguous().mT if tensor.dim() > 1 else torch.stack([tensor, tensor], dim=-1)[..., 0]


def weights_for(rng, reference, sizes=SIZES, dtype=F64):
    """Random weights: of norms, biases, tokens and positions too, so that each of them matters."""
    shapes = {name: weight.shape for name, weight in reference.RewardModel(**sizes).state_dict().items()}
    return {name: (0.6 * rng.tensor(*shape, dtype=F64)).to(dtype) for name, shape in shapes.items()}


def scorers(attempt, reference, rng, sizes=SIZES, dtype=F64):
    """Both sides' models with the same weights. -> attempt's, and `alone(seqs)`: the reference's scores one by one"""
    weights = weights_for(rng, reference, sizes, dtype)
    judged = reference.run("loaded", sizes | {"dropout": 0.0}, weights)

    def alone(seqs):
        rows = [judged(torch.tensor([seq]), torch.ones(1, len(seq), dtype=torch.bool)) for seq in seqs]
        return torch.cat(rows).detach()

    return attempt.run("loaded", sizes, weights), alone


def scores(model, *batch):
    return model(*batch).detach()


def assert_encoded(attempt, reference, *args):
    assert_equal(assert_inputs_unchanged(attempt.encode_left, *args), reference.encode_left(*args))


@check("encode", points=5)
def test_padding_stands_on_the_left(attempt, reference, rng):
    """shorter sequences get pad_id on the left, up to the length of the longest; ids int64, mask bool"""
    for lengths, pad_id in (((3, 5, 1, 4), 0), ((2, 6), 17), ((4, 4, 4), 3), ((3,), 5), ((1,), 0), ((1, 1, 2), 9)):
        assert_encoded(attempt, reference, sequences(rng, lengths, high=50, low=20), pad_id)


@check("encode", points=4, needs="test_padding_stands_on_the_left")
def test_truncation_keeps_the_end(attempt, reference, rng):
    """of a longer sequence the last max_len tokens stay; the width is that of the longest that stays"""
    for lengths, max_len in (((7, 2, 4), 3), ((5, 3), 5), ((5, 3), 4), ((2, 3, 1), 9), ((6, 4), 1), ((8,), 2)):
        assert_encoded(attempt, reference, sequences(rng, lengths, high=50, low=20), 4, max_len)


@check("encode", points=4, needs="test_padding_stands_on_the_left")
def test_a_real_token_may_be_pad_id(attempt, reference):
    """a token equal to pad_id is real wherever it stands: the mask comes from lengths, not from ids"""
    for seqs in (
        [[5, 6, 7], [8, 2]],
        [[2**24 + 1, 5], [2**40]],
        [[2, 2, 5], [2]],
        [[5, 2, 6, 2], [2, 5]],
        [[2, 2], [2, 2]],
    ):
        assert_encoded(attempt, reference, seqs, 2)
        assert_encoded(attempt, reference, seqs, 2, 2)


@check("encode", points=3)
def test_encode_of_nothing(attempt, reference):
    """no sequence gives (0, 0), an empty one is a ValueError, and so is a max_len below 1"""
    for max_len in (None, 3):
        assert_encoded(attempt, reference, [], 0, max_len)
        assert_raises(ValueError, attempt.encode_left, [[1, 2], []], 0, max_len)
        assert_raises(ValueError, attempt.encode_left, [[]], 0, max_len)
    for seqs, max_len in (([[1, 2, 3], [4, 5]], 0), ([[1, 2, 3], [4, 5]], -1), ([], 0), ([], -2)):
        assert_raises(ValueError, attempt.encode_left, seqs, 0, max_len)


@check("model", points=5)
def test_score_of_a_text_alone(attempt, reference, rng):
    """without padding the score is head(norm(·)) at the last token of a causal pass, one number a row"""
    for sizes, dtype in ((SIZES, F64), (ODD, F64), (SHALLOW, F64), (SIZES, F32)):
        model, alone = scorers(attempt, reference, rng, sizes, dtype)
        for rows, length in ((1, 1), (3, 4), (2, 5)):
            seqs = sequences(rng, (length,) * rows, sizes["vocab"])
            got = assert_inputs_unchanged(model, *padded(seqs))
            assert_close(got.detach(), alone(seqs), **(EXACT if dtype == F64 else SINGLE))


@check("model", points=8, needs="test_score_of_a_text_alone")
def test_left_padded_rows_score_as_alone(attempt, reference, rng):
    """each row of a left-padded batch has the score it has alone, however much padding there is, beyond max_len too"""
    for sizes, dtype in ((SIZES, F64), (ODD, F64), (SHALLOW, F64), (SIZES, F32)):
        model, alone = scorers(attempt, reference, rng, sizes, dtype)
        for lengths, extra in (((2, 5, 1, 4), 0), ((5, 3), 1), ((1, 4, 4), 6), ((4, 4), 13), ((1,), 3)):
            seqs = sequences(rng, lengths, sizes["vocab"])
            got = assert_inputs_unchanged(model, *map(strided, padded(seqs, extra, fill=5)))
            label = f"rows of {lengths} tokens, {extra} more columns of padding than needed"
            assert_close(got.detach(), alone(seqs), label=label, **(EXACT if dtype == F64 else SINGLE))


@check("model", points=5, needs="test_left_padded_rows_score_as_alone")
def test_only_the_mask_says_what_is_padding(attempt, reference, rng):
    """padding may hold any number, and a real token may be that of the padding: in front, inside, at the end"""
    model, alone = scorers(attempt, reference, rng)
    for fill in (0, 3, 8, -100, -1, 9, 10**9):
        seqs = sequences(rng, (2, 5, 1, 4))
        token = fill if 0 <= fill < 9 else 0
        seqs[0][-1] = seqs[1][0] = seqs[1][2] = seqs[2][0] = seqs[3][-1] = seqs[3][-2] = token
        got = scores(model, *padded(seqs, 2, fill))
        assert_close(got, alone(seqs), label=f"padding of {fill}", **EXACT)


@check("model", points=4, needs="test_left_padded_rows_score_as_alone")
def test_scores_in_every_mode(attempt, reference, rng):
    """the same finite scores with a graph and without; dropout acts in train mode, not in eval mode; the mode stays"""
    for sizes, extra in ((SIZES, 0), (SIZES, 2), (ODD, 2), (SHALLOW, 2), (SIZES | {"dropout": 0.5}, 1)):
        model, alone = scorers(attempt, reference, rng, sizes)
        seqs = sequences(rng, (2, 5, 1, 4), sizes["vocab"])
        want = alone(seqs)
        for mode, got in attempt.run("scored_in_modes", model, *padded(seqs, extra)).items():
            if "dropout" in sizes and mode.startswith("train"):
                assert_true(not torch.equal(got[0].to(F64), want), f"{mode}: no dropout acts")
            else:
                assert_close(got, (want, mode.startswith("train")), label=f"(scores, training), {mode}", **EXACT)


@check("model", points=4, needs="test_left_padded_rows_score_as_alone")
def test_gradients_do_not_notice_padding(attempt, reference, rng):
    """every parameter gets the gradient that it gets from the rows alone"""
    for fill in (4, -100):
        weights, seqs, upstream = weights_for(rng, reference), sequences(rng, (2, 5, 1, 4)), rng.tensor(4, dtype=F64)
        model, judged = (side.run("loaded", SIZES, weights) for side in (attempt, reference))
        want = reference.run("parameter_gradients", judged, *padded(seqs), upstream)
        assert_close(attempt.run("parameter_gradients", model, *padded(seqs, 3, fill), upstream), want, **EXACT)


@check("model", points=2, needs="test_left_padded_rows_score_as_alone")
def test_nothing_is_remembered(attempt, reference, rng):
    """the same tensors with new content, the same model with new weights, and another model give other scores"""
    weights, results = [weights_for(rng, reference) for _ in range(2)], []
    # The lengths have one sum, so that not even a count of the real tokens tells the masks apart.
    one, other = padded(sequences(rng, (2, 5, 1))), padded(sequences(rng, (1, 3, 4)), 1)
    for side in (attempt, reference):
        models = [side.run("loaded", SIZES, w) for w in weights]
        again = side.run("scored_again", models[0], *one, *other, weights[1])
        results.append((*again, *(scores(model, *one) for model in models)))
    assert_close(*results, **EXACT)


@check("model", points=3)
def test_what_cannot_be_scored_is_refused(attempt, reference, rng):
    """a row that ends in padding, and one of more than max_len real tokens, is a ValueError"""
    model, alone = scorers(attempt, reference, rng)
    ids, mask = padded(sequences(rng, (3, 5, 2)))
    one_wrong = [torch.where(torch.arange(3)[:, None] == row, torch.arange(5) < row, mask) for row in range(3)]
    for wrong in (mask.flip(1), torch.zeros_like(mask), *one_wrong):
        assert_raises(ValueError, model, ids, wrong)
    for lengths in ((7,), (2, 7), (9, 3)):
        assert_raises(ValueError, model, *padded(sequences(rng, lengths)))
    seqs = sequences(rng, (6, 2))
    assert_close(scores(model, *padded(seqs, 1)), alone(seqs), **EXACT, label="6 real tokens, as many as max_len")


def pair_scores(rng, n, dtype=F64):
    return {name: 2 * rng.tensor(n, dtype=dtype) for name in ("r_pos", "r_neg")}


def far_scores(rng, n, dtype=F64):
    """Scores that are ±10⁴ apart by turns, exact in float32."""
    base = torch.from_numpy(rng.integers(-40, 40, size=n)).to(dtype) / 4
    return {"r_pos": base + 1e4 * (-1.0) ** torch.arange(n), "r_neg": base - 0.25}


def assert_loss(attempt, reference, rng, kwargs):
    """Value and both gradients are those of the reference; no input is modified."""
    close = EXACT if kwargs["r_pos"].dtype == F64 else {"rtol": 1e-5, "atol": 1e-6}
    upstream = torch.tensor(rng.uniform(1, 3) * rng.choice([-1, 1]), dtype=kwargs["r_pos"].dtype)
    (got, grads), (want, wanted) = (
        gradients(side.bt_loss, kwargs, wrt=("r_pos", "r_neg"), upstream=upstream) for side in (attempt, reference)
    )
    assert_close(got.detach(), want.detach(), label="the loss", **close)
    assert_close(grads, wanted, label="the gradients", **close)
    assert_inputs_unchanged(attempt.bt_loss, **kwargs)


@check("loss", points=5)
def test_loss_is_logistic_in_the_difference(attempt, reference, rng):
    """the loss is the mean of −log σ(r_pos − r_neg), a tensor of no dimensions, for any N and dtype"""
    for n, dtype in ((5, F64), (1, F64), (2, F64), (8, F32)):
        assert_loss(attempt, reference, rng, pair_scores(rng, n, dtype))
    assert_loss(attempt, reference, rng, {k: strided(r) for k, r in pair_scores(rng, 4).items()})


@check("loss", points=4, needs="test_loss_is_logistic_in_the_difference")
def test_margin_is_subtracted_and_center_squared(attempt, reference, rng):
    """the margin of each pair raises the bar; center weighs the mean of (r_pos + r_neg)²; alone and together"""
    for n, dtype in ((5, F64), (1, F64), (6, F32)):
        for extra in ({"margin": rng.tensor(n, dtype=dtype)}, {"center": 0.3}, {"center": 2.0}):
            assert_loss(attempt, reference, rng, pair_scores(rng, n, dtype) | extra)
        both = {"margin": rng.tensor(n, dtype=dtype).abs(), "center": 0.05}
        assert_loss(attempt, reference, rng, pair_scores(rng, n, dtype) | both)


@check("loss", points=4, needs="test_loss_is_logistic_in_the_difference")
def test_loss_stays_finite_at_large_differences(attempt, reference, rng):
    """differences of ±10⁴ give the exact loss and gradient, not inf or NaN; tiny losses keep their digits"""
    for dtype in (F64, F32):
        assert_loss(attempt, reference, rng, far_scores(rng, 4, dtype))
        assert_loss(attempt, reference, rng, far_scores(rng, 3, dtype) | {"margin": rng.tensor(3, dtype=dtype)})
    won = {"r_pos": torch.tensor([40.0, 55.5], dtype=F64), "r_neg": torch.tensor([-2.0, 1.0], dtype=F64)}
    assert_close(attempt.bt_loss(**won), reference.bt_loss(**won), rtol=1e-9, atol=0)


@check("loss", points=3)
def test_shapes_that_differ_are_refused(attempt, rng):
    """scores that are not all [N], N ≥ 1, raise ValueError, for the loss and for the accuracy: nothing broadcasts"""
    r = pair_scores(rng, 4)["r_pos"]
    pairs = [(r, r[:, None]), (r[:, None], r), (r[:, None], r[:, None]), (r, r[:1]), (r[:1], r), (r, r[:3])]
    pairs += [(r[:0], r[:0]), (r[0], r[0]), (r, r[0])]
    for function in (attempt.bt_loss, attempt.pairwise_accuracy):
        for pair in pairs:
            assert_raises(ValueError, function, *pair)
    for margin in (r[:1], r[0], r[:, None], r[:3]):
        assert_raises(ValueError, attempt.bt_loss, r, -r, margin)


@check("accuracy", points=5)
def test_accuracy_counts_strict_wins(attempt, reference, rng):
    """the share of pairs with r_pos > r_neg, a Python float; ties and NaN are misses"""
    for n, dtype in ((1, F32), (2, F64), (7, F64), (30, F32)):
        pair = {k: torch.from_numpy(rng.integers(0, 3, size=n)).to(dtype) for k in ("r_pos", "r_neg")}
        got = assert_inputs_unchanged(attempt.pairwise_accuracy, **pair)
        assert_close(got, reference.pairwise_accuracy(**pair), **SHARE)
    r, zero, nan = torch.arange(1.0, 4.0, dtype=F64), torch.zeros(3, dtype=F64), torch.full((3,), torch.nan, dtype=F64)
    for pair in (
        (zero, zero),
        (r, zero),
        (zero, r),
        (r, nan),
        (nan, r),
        (nan, nan),
        (1 / zero, r),
        (r, r - 1e-12),
        (zero + 1e-20, zero),
    ):
        assert_close(attempt.pairwise_accuracy(*pair), reference.pairwise_accuracy(*pair), **SHARE)


def told_scorer(side, table, bias, grad=None):
    """A scorer that is no RewardModel. -> the model, [(ids, mask, in train mode, builds a graph)]"""
    seen = []
    return side.run("told_scorer", table, bias, lambda *told: seen.append(told), grad), seen


def some_batches(rng, counts):
    """A list of that many pairs for each count, sequences of one to eight tokens; of three or more, one is a tie."""
    batches = [[tuple(sequences(rng, rng.integers(1, 9, size=2))) for _ in range(count)] for count in counts]
    return [[(a, b) if i != 2 else (a, a) for i, (a, b) in enumerate(pairs)] for pairs in batches]


def assert_trained(attempt, reference, rng, counts, lr, **options):
    """A tiny scorer with an old .grad ends alike: history and weights. -> what the attempt's model saw, and its mode"""
    table, bias, batches = rng.tensor(9, dtype=F64), rng.tensor(1, dtype=F64), some_batches(rng, counts)
    mode, pad_id = bool(rng.integers(2)), int(rng.integers(9))
    results = []
    for side in (reference, attempt):
        model, seen = told_scorer(side, table, bias, 3.0)
        args = {"model": model.train(mode), "batches": batches, "lr": lr, "pad_id": pad_id, **options}
        history = assert_inputs_unchanged(side.train_rm, **args)
        results.append((history, after := side.run("left_behind", model)))
        assert_equal(after["training"], mode, label="training, afterwards")
    assert_close(results[1][0], results[0][0], exact_type=True, label="history", **STEPPED)
    assert_close(results[1][1]["weights"], results[0][1]["weights"], label="weights (it had an old .grad)", **STEPPED)
    rows = [[pair[side] for side in (0, 1) for pair in pairs] for pairs in batches]
    return seen, [reference.encode_left(seqs, pad_id, options.get("max_len")) for seqs in rows]


@check("train", points=6)
def test_train_takes_adam_steps(attempt, reference, rng):
    """each step is Adam's on its own batch; loss and accuracy are floats from before it; the mode is as before"""
    for counts, lr in (((3,), 0.05), ((4, 2, 1, 5), 0.1), ((2, 3, 2), 1e-3), ((), 1.0), ((1,), 0.3)):
        assert_trained(attempt, reference, rng, counts, lr)


@check("train", points=3, needs="test_train_takes_adam_steps")
def test_train_passes_its_options_on(attempt, reference, rng):
    """center reaches the loss, max_len and pad_id the encoding"""
    for options in ({"center": 0.4}, {"max_len": 3}, {"center": 0.02, "max_len": 1}):
        assert_trained(attempt, reference, rng, (3, 4, 2), 0.05, **options)


@check("train", points=4, needs="test_train_takes_adam_steps")
def test_train_makes_one_pass_of_chosen_then_rejected(attempt, reference, rng):
    """a step is one forward pass in train mode, of the chosen rows and then the rejected ones, encoded together"""
    for options in ({}, {"max_len": 4}):
        seen, wanted = assert_trained(attempt, reference, rng, (3, 1, 4), 0.05, **options)
        assert_equal(len(seen), len(wanted), label="forward passes in 3 steps")
        for (ids, mask, training, _), (want_ids, want_mask) in zip(seen, wanted, strict=True):
            assert_equal(mask, want_mask, label="mask")
            assert_equal(ids, want_ids, label="ids")
            assert_true(training, "a forward pass runs in eval mode: no dropout would act in training")


def preferences(rng, worth, count, noisy):
    """Pairs of texts that end in EOS, the last id; the better one wins, or in noisy labels is likelier to."""
    pairs = []
    while len(pairs) < count:
        one, other = ([*seq, len(worth)] for seq in sequences(rng, rng.integers(2, 7, size=2), len(worth)))
        gap = float(worth[one[:-1]].sum() - worth[other[:-1]].sum())
        likely = 1 / (1 + np.exp(-gap)) if noisy else float(gap > 0)
        if abs(gap) > 0.1 or noisy:
            pairs.append((one, other) if rng.random() < likely else (other, one))
    return pairs


@check("train", points=6, needs="test_train_takes_adam_steps", trained=True)
def test_trained_model_prefers_the_better_text(attempt, reference, rng):
    """after 60 steps on noisy preferences the model gives the better of two new texts the higher score, 87 in 100"""
    worth = rng.permutation(np.linspace(-4, 4, 6))
    batches = [preferences(rng, worth, 64, noisy=True) for _ in range(60)]
    model = keep(attempt.RewardModel)(**TOY)
    assert_equal(len(attempt.train_rm(model, batches, lr=0.01, pad_id=6)), 60, label="steps reported")
    judged = reference.run("loaded", TOY, attempt.run("left_behind", model)["weights"])
    chosen, rejected = zip(*preferences(rng, worth, 500, noisy=False), strict=True)
    right = float((scores(judged, *padded(list(chosen))) > scores(judged, *padded(list(rejected)))).double().mean())
    assert_true(right >= 0.87, "the share of new pairs that it ranks right", expected="≥ 0.87", got=right)


@check("calibrate", points=5)
def test_calibrate_brings_the_mean_to_zero(attempt, reference, rng):
    """head.bias falls by the mean score over all sequences, in batches of any size; that mean is returned"""
    cases = ((3, 1, 5, 2, 4, 6, 1), {"batch_size": 3}), ((2, 4), {}), ((5,), {"batch_size": 1}), ((2,) * 70, {})
    for lengths, options in (*cases, ((3, 1, 7, 2, 9), {"batch_size": 4, "max_len": 2})):
        for dtype in (F64, F32):
            table, bias, seqs = rng.tensor(9, dtype=dtype), rng.tensor(1, dtype=dtype), sequences(rng, lengths)
            results = []
            for side in (attempt, reference):
                model, seen = told_scorer(side, table, bias)
                shift = assert_inputs_unchanged(side.calibrate, model=model, seqs=seqs, pad_id=4, **options)
                results.append({"the mean": shift, **side.run("left_behind", model)["weights"]})
                rows, most = [len(ids) for ids, *_ in seen], options.get("batch_size", 64)
                assert_equal(sum(rows), len(seqs), label="sequences scored")
                assert_true(all((ids[mask == 0] == 4).all() for ids, mask, *_ in seen), "padding that is not pad_id")
                assert_true(max(rows) <= most, "rows in a pass: more than batch_size", expected=most, got=max(rows))
            assert_close(*results, exact_type=True, **(EXACT if dtype == F64 else SINGLE))
    assert_raises(ValueError, attempt.calibrate, told_scorer(attempt, table, bias)[0], [], 0)


@check("calibrate", points=3, needs="test_calibrate_brings_the_mean_to_zero")
def test_calibrate_leaves_the_rest_alone(attempt, rng):
    """scored in eval mode without a graph; mode, .grad and the bias parameter itself stay what they were"""
    for mode in (True, False):
        seqs = sequences(rng, (3, 1, 4))
        model, seen = told_scorer(attempt, rng.tensor(9, dtype=F64), rng.tensor(1, dtype=F64), 2.5)
        model.train(mode)
        before = attempt.run("left_behind", model)
        assert_raises(ValueError, attempt.calibrate, model, [*seqs, []], 0, None, 3)
        assert_equal(attempt.run("left_behind", model), before, label="the model, after an empty sequence")
        seen.clear()
        attempt.calibrate(model, seqs, pad_id=0)
        after = attempt.run("left_behind", model)
        assert_equal(after["grad"], before["grad"], label=".grad, afterwards")
        assert_equal(after["training"], mode, label="training, afterwards")
        assert_true(not any(told[2] for told in seen), "a forward pass runs in train mode: dropout is on")
        assert_true(not any(told[3] for told in seen), "a forward pass builds a graph")
        for frozen in (False, True):
            kept = attempt.run("bias_kept", model, seqs, frozen)
            assert_equal(kept, (True, not frozen, True), label="(same object, requires_grad, is a leaf) of head.bias")


@check("smoothing", points=5)
def test_smoothing_mixes_both_labels(attempt, reference, rng):
    """the given label has weight 1 − ε and its opposite ε, on the same z; center is not smoothed; ±10⁴ is exact"""
    for n, dtype, epsilon in ((5, F64, 0.25), (1, F64, 0.01), (4, F32, 0.125), (3, F64, 0.49)):
        margin = {"margin": rng.tensor(n, dtype=dtype)}
        for extra in ({}, margin, margin | {"center": 0.3}):
            assert_loss(attempt, reference, rng, pair_scores(rng, n, dtype) | extra | {"label_smoothing": epsilon})
        assert_loss(attempt, reference, rng, far_scores(rng, n, dtype) | {"label_smoothing": epsilon})
    for epsilon in (0.5, 0.7, 1.0, -0.1):
        assert_raises(ValueError, partial(attempt.bt_loss, label_smoothing=epsilon), **pair_scores(rng, 3))
