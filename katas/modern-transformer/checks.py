"""The hidden checks. Sizes differ where a mix-up of axes would hide; weights are random, those of norms too."""

from copy import deepcopy
from itertools import product
from math import comb

import numpy as np
import torch

from grader.checking import (
    assert_close,
    assert_distribution,
    assert_equal,
    assert_inputs_unchanged,
    assert_raises,
    assert_true,
    check,
    cpu_seconds,
    gradients,
    keep,
)

F32, F64, INF = torch.float32, torch.float64, torch.inf
EXACT = {"rtol": 1e-9, "atol": 1e-11}
SINGLE = {"rtol": 1e-4, "atol": 1e-4}
STEPPED = {"rtol": 1e-6, "atol": 1e-6}  # AdamW divides by small numbers: their rounding comes back enlarged
MODEL = (11, 8, 2, 2)


def strided(tensor):
    """The same values, not contiguous."""
    return tensor.transpose(0, 1).contiguous().transpose(0, 1)


def random_ids(rng, rows, length, vocab):
    return torch.from_numpy(rng.integers(0, vocab, size=(rows, length)))


def agree(attempt, reference, name, *args, close=EXACT, **kwargs):
    """The attempt's function returns what the reference's does, and modifies no input."""
    got = assert_inputs_unchanged(getattr(attempt, name), *args, **kwargs)
    assert_close(got, getattr(reference, name)(*args, **kwargs), **close)


def loaded(side, kind, sizes, weights):
    """A module of that kind with these weights, in eval mode."""
    model = getattr(side, kind)(*sizes).to(next(iter(weights.values())).dtype)
    keep(model.load_state_dict)(weights)
    return model.eval()


def random_weights(reference, rng, kind, sizes, dtype=F64):
    """By name, for a module of that kind."""
    named = getattr(reference, kind)(*sizes).state_dict().items()
    return {name: (0.6 * rng.tensor(*weight.shape) + ("norm" in name)).to(dtype) for name, weight in named}


def both(attempt, reference, rng, kind, sizes, dtype=F64):
    """The same module on both sides."""
    weights = random_weights(reference, rng, kind, sizes, dtype)
    return loaded(attempt, kind, sizes, weights), loaded(reference, kind, sizes, weights)


def assert_gradients(functions, inputs, rng, wrt):
    """One backward pass: the attempt's function and the reference's have the same value and gradients."""
    calls = zip(functions, inputs, strict=True)
    (got, grads), (want, wanted) = (gradients(f, kwargs, wrt=wrt, upstream=deepcopy(rng)) for f, kwargs in calls)
    assert_close(got, want, label="value", **EXACT)
    for name in wrt:
        assert_close(grads[name], wanted[name], label=f"gradient of {name}", **EXACT)


@check("rope", points=5)
def test_rope_rotates_neighbouring_channels(attempt, reference, rng):
    """channels 2i and 2i + 1 turn by p·base^(−2i/dh) at position p, from 0: any base, size, dtype and stride"""
    for shape in ((2, 3, 5, 4), (1, 1, 1, 2), (3, 2, 7, 6), (2, 2, 3, 8)):
        for base in ((), (100.0,), (2.0,)):
            agree(attempt, reference, "rope", rng.tensor(*shape, dtype=F64), *base)
    agree(attempt, reference, "rope", strided(rng.tensor(2, 3, 5, 4, dtype=F64)))
    agree(attempt, reference, "rope", rng.tensor(2, 3, 5, 4), close={"rtol": 1e-5, "atol": 1e-5})


@check("rope", points=3, needs="test_rope_rotates_neighbouring_channels")
def test_rope_keeps_nothing(attempt, reference, rng):
    """lengths, widths, bases and dtypes may alternate; gradients pass; an odd number of channels raises ValueError"""
    for length, width, base in ((3, 4, 100.0), (6, 4, 100.0), (4, 4, 50.0), (6, 2, 50.0), (2, 6, 50.0)):
        agree(attempt, reference, "rope", rng.tensor(1, 2, length, width), base, close=SINGLE)
        inputs = {"x": 1e3 * rng.tensor(1, 2, length, width, dtype=F64), "base": base}
        assert_gradients([attempt.rope, reference.rope], [inputs] * 2, rng, ("x",))
    assert_raises(ValueError, attempt.rope, rng.tensor(1, 2, 3, 5))


@check("block", points=6, needs="test_rope_rotates_neighbouring_channels")
def test_block_is_pre_norm_with_rope_and_swiglu(attempt, reference, rng):
    """RMSNorm before each branch, rope on q and k, SwiGLU; no dropout in eval mode, or with p_drop = 0"""
    for d_model, n_heads, p_drop in ((8, 2, 0.0), (8, 4, 0.5), (12, 2, 0.3), (6, 1, 0.0)):
        mine, right = both(attempt, reference, rng, "PreNormBlock", (d_model, n_heads, p_drop))
        for rows, length in ((2, 5), (1, 1), (3, 9)):
            x = strided(3 * rng.tensor(rows, length, d_model, dtype=F64))
            assert_close(assert_inputs_unchanged(mine.train(p_drop == 0), x), right(x), **EXACT)


@check("block", points=4, needs="test_block_is_pre_norm_with_rope_and_swiglu")
def test_block_is_causal_and_trains(attempt, reference, rng):
    """what comes later changes nothing; x and all weights get their gradients"""
    models = both(attempt, reference, rng, "PreNormBlock", (8, 2))
    x, forwards = rng.tensor(2, 6, 8, dtype=F64), [side.PreNormBlock.forward for side in (attempt, reference)]
    assert_gradients(forwards, [{"self": model, "x": x} for model in models], rng, ("self.parameters", "x"))
    for first in (1, 4, 5):
        other = torch.where(torch.arange(6)[:, None] < first, x, 100 * rng.tensor(2, 6, 8, dtype=F64))
        assert_close(models[0](other)[:, :first], models[1](x)[:, :first], label="the past", **EXACT)


def of_channels(count, p_drop, whole=0.0):
    """The probabilities that 0, 1, … of `count` channels are kept; with chance `whole` all are dropped together."""
    p = np.array([comb(count, n) * (1 - p_drop) ** n * p_drop ** (count - n) for n in range(count + 1)])
    return (1 - whole) * p + whole * (np.arange(count + 1) == 0)


def assert_kept(kept, p, label):
    """`kept` [rows, 2, channels] tells what dropout has left: the numbers of channels are independent draws from p."""
    first, second = kept.long().sum(-1).T.numpy()
    pairs = np.bincount(first * len(p) + second, minlength=len(p) ** 2)
    assert_distribution(pairs, np.outer(p, p).reshape(-1), label=label)


@check("block", points=6, needs="test_block_is_pre_norm_with_rope_and_swiglu")
def test_dropout_of_the_block(attempt, reference, rng):
    """in train mode dropout acts on the attention weights and on both branches, before they are added, nowhere else"""
    sizes, weights = (4, 2, 0.3), random_weights(reference, rng, "PreNormBlock", (4, 2))
    attends = {"out.weight": torch.eye(4, dtype=F64), "down.weight": torch.zeros(4, 12, dtype=F64)}
    transforms = {"out.weight": torch.zeros(4, 4, dtype=F64)}
    # At one position a head has one weight: if it is dropped, it takes all of the head's channels along.
    for branch, length, scale in ((attends, 1, 0.7**-2), (transforms, 2, 1 / 0.7)):
        x = rng.tensor(1, length, 4, dtype=F64)
        base = loaded(reference, "PreNormBlock", sizes, weights | branch)(x) - x
        got = loaded(attempt, "PreNormBlock", sizes, weights | branch).train()(x.expand(6000, length, 4)) - x
        kept = got.abs() > 1e-12
        assert_close(got, kept * base * scale, label="a branch, by what is kept of it", **EXACT)
        p = of_channels(2, 0.3, whole=0.3) if branch is attends else of_channels(4, 0.3)
        assert_kept(kept.view(6000, 2, -1), p, "channels kept of two heads, or at two positions")


@check("block", points=5, needs="test_block_is_pre_norm_with_rope_and_swiglu")
def test_logits_of_the_model(attempt, reference, rng):
    """embedding, every block in turn, the last norm, the head: for 1, 2 and 3 layers, in float32 too, any length"""
    for vocab, width, heads, layers in (MODEL, (5, 4, 2, 1), (7, 6, 3, 3)):
        mine, right = both(attempt, reference, rng, "Transformer", (vocab, width, heads, layers, 0.4))
        for rows, length in ((2, 6), (1, 1), (3, 17)):
            ids = strided(random_ids(rng, rows, length, vocab))
            assert_close(assert_inputs_unchanged(mine, ids), right(ids), **EXACT)
    models = both(attempt, reference, rng, "Transformer", MODEL)
    forwards = [side.Transformer.forward for side in (attempt, reference)]
    inputs = [{"self": model.train(), "ids": random_ids(deepcopy(rng), 2, 5, 11)} for model in models]
    assert_gradients(forwards, inputs, rng, ("self.parameters",))
    mine, right = both(attempt, reference, rng, "Transformer", MODEL, F32)
    assert_close(mine(ids), right(ids), **SINGLE)


@check("block", points=3, needs="test_logits_of_the_model")
def test_dropout_of_the_embedding(attempt, reference, rng):
    """in train mode the model drops channels of the embedding, each by itself, and scales the others"""
    sizes, identity = (4, 4, 1, 1, 0.4), {"head.weight": torch.eye(4, dtype=F64)}
    weights = random_weights(reference, rng, "Transformer", sizes) | identity
    weights = {name: x * (not name.endswith(("out.weight", "down.weight"))) for name, x in weights.items()}
    got = loaded(attempt, "Transformer", sizes, weights).train()(torch.full((6000, 2), 3))
    dropped = weights["tokens.weight"][3] * (got != 0) / 0.6
    want = dropped * (dropped.square().mean(-1, keepdim=True) + 1e-6).rsqrt() * weights["norm.weight"]
    assert_close(got, want, label="logits, by what is kept of the embedding", **EXACT)
    assert_kept(got != 0, of_channels(4, 0.4), "channels of the embedding at two positions")


def rows_of_logits(rng, dtype=F64):
    """Rows of different kinds: usual, flat, peaked, with ties, banned tokens, and far apart."""
    logits = 2 * rng.tensor(6, 7, dtype=F64)
    logits[1], logits[2, 4] = logits[1] / 100, 30.0
    logits[3] = torch.from_numpy(rng.permutation([2.0, 2.0, 2.0, 1.0, 1.0, 0.0, -1.0]))
    logits[4, torch.from_numpy(rng.permutation(7)[:3])] = -INF
    logits[5] = 1e4 * torch.from_numpy(rng.permutation(7) - 3.0)
    return logits.to(dtype)


@check("top_k", points=4)
def test_temperature_divides(attempt, reference, rng):
    """logits / t, exact and of their dtype; t ≤ 0 raises ValueError"""
    for dtype, t in product((F64, F32), (0.5, 1.0, 2.0, 1e-3, 7)):
        close = EXACT if dtype == F64 else {"rtol": 1e-6, "atol": 0}
        agree(attempt, reference, "temperature", strided(rows_of_logits(rng, dtype)), t, close=close)
    for t in (0.0, 0, -1.0):
        assert_raises(ValueError, attempt.temperature, rows_of_logits(rng), t)


@check("top_k", points=6)
def test_top_k_keeps_the_largest_of_each_row(attempt, reference, rng):
    """what is not below the row's k-th largest stays as it is, ties too, the rest is −inf; k ≥ V keeps all"""
    for dtype, k in product((F64, F32), (1, 2, 3, 5, 6, 7, 8, 1000)):
        agree(attempt, reference, "top_k_filter", strided(rows_of_logits(rng, dtype)), k)
    agree(attempt, reference, "top_k_filter", rng.tensor(1, 1, dtype=F64), 1)
    agree(attempt, reference, "top_k_filter", rng.tensor(3, 40, dtype=F64), 11)
    assert_raises(ValueError, attempt.top_k_filter, rows_of_logits(rng), 0)


def open_p(rng, logits, low=0.02, high=0.98):
    """A p that is nowhere near the mass of the first tokens of a row, in whatever way that is rounded."""
    masses = logits.double().softmax(-1).sort(dim=-1, descending=True).values.cumsum(-1)
    while True:
        p = float(rng.uniform(low, high))
        if (masses - p).abs().min() > 1e-5:
            return p


@check("top_p", points=6)
def test_top_p_keeps_the_smallest_set(attempt, reference, rng):
    """the most likely tokens up to and including the one that reaches p stay as they are, the rest is −inf"""
    for dtype, _ in product((F64, F32), range(8)):
        logits = strided(2 * rng.tensor(5, 7, dtype=dtype))
        agree(attempt, reference, "top_p_filter", logits, open_p(rng, logits))
    for logits in (rng.tensor(3, size, dtype=F64) for size in (1, 2, 300)):
        agree(attempt, reference, "top_p_filter", logits, open_p(rng, logits))


@check("top_p", points=5, needs="test_top_p_keeps_the_smallest_set")
def test_top_p_of_unusual_rows(attempt, reference, rng):
    """flat, peaked, tied (the lower id first), banned and ±1e4: no row is empty, no banned token comes back"""
    for dtype, _ in product((F64, F32), range(6)):
        logits = rows_of_logits(rng, dtype)
        agree(attempt, reference, "top_p_filter", logits, open_p(rng, logits))
    for p in (0.45, 0.95, 0.01):
        agree(attempt, reference, "top_p_filter", torch.zeros(2, 30, dtype=F64), p)


@check("top_p", points=3, needs="test_top_p_keeps_the_smallest_set")
def test_top_p_at_its_ends(attempt, reference, rng):
    """p ≥ 1 keeps every token, however unlikely; p ≤ 0 the most likely one alone, the lowest id of equal ones"""
    for dtype, p in product((F64, F32), (1.0, 1, 1.5, 0.0, 0, -0.5, 1e-9)):
        agree(attempt, reference, "top_p_filter", rows_of_logits(rng, dtype), p)
    agree(attempt, reference, "top_p_filter", 3 * rng.tensor(2, 5000), 1.0)


@check("top_p", points=2, needs="test_top_p_at_its_ends")
def test_filters_return_new_tensors(attempt, reference, rng):
    """writing to what temperature and the filters return leaves the logits alone, even where all are kept"""
    for name, argument in (("temperature", 1.0), ("top_k_filter", 9), ("top_p_filter", 1.0), ("top_p_filter", 0.5)):
        logits = rng.tensor(3, 7, dtype=F64)
        copy, after = attempt.run("then_overwrite", name, logits, argument)
        assert_close(copy, getattr(reference, name)(logits, argument), **EXACT)
        assert_equal(after, logits, label=f"the logits, once the result of {name} is overwritten")


@check("top_p", points=2, needs="test_top_p_keeps_the_smallest_set")
def test_filters_loop_over_no_token(attempt, reference, rng):
    """at 8 rows of 3000 tokens both filters take at most 8 times the reference's CPU time"""
    logits, confined = rng.tensor(8, 3000, dtype=F64) / 2, reference.confined()
    for name, argument in (("top_k_filter", 2000), ("top_p_filter", open_p(rng, logits, low=0.9))):
        agree(attempt, reference, name, logits, argument)
        sides = [getattr(side, name) for side in (attempt, confined)]
        cpu_seconds(sides[1], logits, argument)  # warms up
        mine, right = (min(cpu_seconds(side, logits, argument) for _ in range(3)) for side in sides)
        assert_true(mine <= 8 * right, f"{name} takes {mine / right:.1f} times the CPU time of the reference")


@check("sample", points=5)
def test_samples_follow_the_filters_in_order(attempt, reference, rng):
    """temperature first, then top-k, then top-p on what k has left, then a draw for each row, from its own logits"""
    shares = torch.tensor([[0.30, 0.22, 0.17, 0.13, 0.10, 0.08], [0.05, 0.10, 0.10, 0.35, 0.15, 0.25]], dtype=F64)
    logits = shares[:, torch.from_numpy(rng.permutation(6))].log()
    settings = ((1.0, None, None), (0.6, None, None), (1.0, 3, None), (1.0, None, 0.62), (1.0, 4, 0.7), (2.0, 4, 0.62))
    for index, (t, k, p) in enumerate(settings):
        options = {"t": t, "k": k, "p": p, "generator": rng.torch() if index % 2 else None}
        got = assert_inputs_unchanged(attempt.sample, logits.repeat(4000, 1), **options)
        assert_equal(got.shape, (8000,), label="shape")
        want = reference.top_k_filter(logits / t, 6 if k is None else k)
        want = reference.top_p_filter(want, 1.0 if p is None else p).softmax(-1)
        for row in (0, 1):
            told = {"label": f"row {row} at t={t}, k={k}, p={p}", "alpha": 5e-8}
            assert_distribution(np.bincount(got[row::2].numpy(), minlength=6), want[row].numpy(), **told)


@check("sample", points=3)
def test_sample_at_zero_is_greedy(attempt, reference, rng):
    """t = 0 takes the largest logit of each row, the lowest id of equal ones, whatever k and p; t < 0: ValueError"""
    for dtype, options in product((F64, F32), ({}, {"k": 3, "p": 0.5}, {"p": 0.0}, {"k": 0})):
        agree(attempt, reference, "sample", rows_of_logits(rng, dtype), t=0.0, **options)
    for options in ({"t": -0.5}, {"k": 0}):
        assert_raises(ValueError, attempt.sample, rows_of_logits(rng), **options)
    logits = rows_of_logits(rng) + torch.arange(7) * 1e-3  # no ties any more
    for options in ({"k": 1}, {"p": 0.0}, {"t": 1e-12}):
        assert_equal(attempt.sample(logits, **options), logits.argmax(-1), label=f"tokens with {options}")


@check("sample", points=2)
def test_sample_draws_from_its_generator(attempt, rng):
    """equal generators give equal tokens, one generator new ones each time; torch's own is left alone"""
    first, second, before = deepcopy(rng).torch(), rng.torch(), attempt.run("random_state")
    one, other, later = (attempt.sample(torch.zeros(40, 30), 1.5, 20, 0.9, drawn) for drawn in (first, second, first))
    assert_equal(attempt.run("random_state"), before, label="the state of torch's own generator")
    assert_equal(one, other, label="tokens of an equal generator")
    assert_true(not torch.equal(one, later), "a second call with the same generator repeats the first")
    assert_true(len(one.unique()) > 5, "rows draw the same tokens")


@check("train", points=5)
def test_learning_rate_rises_and_falls(attempt, reference, rng):
    """step 0 has lr/warmup, step warmup − 1 lr, the last step final·lr; any warm-up, one step, beyond the last one"""
    for steps, warmup, options in ((10, 3, {}), (7, 0, {"final": 0.0}), (5, 5, {}), (4, 9, {}), (1, 0, {}), (3, 2, {})):
        lr = float(rng.uniform(0.01, 1))
        for step in range(steps + 3):
            agree(attempt, reference, "lr_at", step, steps, lr, warmup, **options)


def small_weights(rng):
    """Of the model of probes.py, vocabulary 6 and width 4."""
    shapes = {"words.weight": (6, 4), "norm.weight": (4,), "norm.bias": (4,), "token_mix.weight": (4, 4)}
    shapes |= {"token_mix.bias": (4,), "head.weight": (6, 4), "head.bias": (6,)}
    return {name: rng.tensor(*shape, dtype=F64) for name, shape in shapes.items()}


def small_model(side, weights, mode=True):
    """-> the model of probes.py, [(ids, in train mode, builds a graph)] of its passes"""
    told = []
    return side.run("small_model", weights, lambda *how: told.append(how)).train(mode), told


def assert_trained(attempt, reference, rng, steps, lr, warmup, grad_clip, mode=True, **options):
    """A small model ends alike, having seen the same batches. -> the modes of the attempt's passes and afterwards"""
    weights, data, seed, results = small_weights(rng), random_ids(rng, 1, 60, 6)[0], int(rng.integers(2**40)), []
    for side in (reference, attempt):
        model, told = small_model(side, weights, mode)
        before = side.run("random_state")
        losses = side.train(model, data, steps, lr, warmup, grad_clip, seed, **options)
        assert_equal(side.run("random_state"), before, label="the state of torch's own generator")
        results.append({"losses": losses, "weights": side.run("weights", model), "batches": [ids for ids, *_ in told]})
    assert_close(results[1], results[0], exact_type=True, **STEPPED)
    return [*(training for _, training, _ in told), model.get("training")]


@check("train", points=6)
def test_train_takes_clipped_adamw_steps(attempt, reference, rng):
    """each step: its learning rate, its batch's gradient alone, the global norm clipped, AdamW; losses are floats"""
    for setting in ((1, 0.05, 0, 1.0), (6, 0.1, 2, 0.3), (5, 0.02, 0, 1e6), (7, 0.1, 3, 1.5), (0, 0.1, 1, 0.5)):
        assert_trained(attempt, reference, rng, *setting)
    assert_trained(attempt, reference, rng, 4, 0.1, 1, 0.5, batch_size=3, length=7)


@check("train", points=3, needs="test_train_takes_clipped_adamw_steps")
def test_train_runs_in_train_mode(attempt, reference, rng):
    """one forward pass a step, in train mode, whatever mode the model came in, and it stays in train mode"""
    for mode in (False, True):
        told = assert_trained(attempt, reference, rng, 4, 0.05, 2, 1.0, mode)
        assert_equal(told, [True] * 5, label="training, in 4 passes and afterwards")


def markov_stream(rng, table, chains=16, length=250):
    """Tokens of an order-1 source with these transition probabilities, chain after chain."""
    total, ids = table.cumsum(-1), np.zeros((length, chains), dtype=np.int64)
    for now in range(1, length):
        ids[now] = (total[ids[now - 1]] < rng.random((chains, 1))).sum(-1).clip(max=len(table) - 1)
    return torch.from_numpy(ids.T.reshape(-1).copy())


@check("train", points=5, needs="test_train_takes_clipped_adamw_steps", trained=True)
def test_train_finds_the_markov_source(attempt, reference, rng):
    """after 60 steps on an order-1 source the cross-entropy is within 0.05 nats of the source's own entropy"""
    table = np.exp(2 * rng.standard_normal((6, 6)))
    table /= table.sum(-1, keepdims=True)
    data, model = markov_stream(rng, table), attempt.Transformer(6, 16, 2, 1)
    assert_equal(len(attempt.train(model, data, 60, 2e-2, 10, 1.0, 1, 0.1, 16, 16)), 60, label="losses")
    judged = loaded(reference, "Transformer", (6, 16, 2, 1), model.state_dict())
    ids, source = data[:1600].view(100, 16), torch.from_numpy(table)
    logq, p = judged(ids).double().log_softmax(-1), source[ids]
    excess = float((p * (p.log() - logq)).sum(-1).mean())
    assert_true(excess < 0.05, "nats above the entropy of the source", expected="< 0.05", got=excess)


@check("decay", points=4)
def test_groups_split_what_decays(attempt, reference, rng):
    """matrices decay; norms, biases and embeddings do not; each parameter once, in order, the frozen ones never"""
    for make in (lambda side: side.Transformer(5, 4, 1, 2), lambda side: small_model(side, small_weights(rng))[0]):
        got, want = (side.run("groups_by_name", make(side), 0.1) for side in (attempt, reference))
        assert_equal(got, want)


@check("decay", points=3, needs="test_groups_split_what_decays")
def test_train_decays_the_matrices(attempt, reference, rng):
    """weight_decay shrinks the weight matrices alone, by lr·weight_decay a step, at each step's learning rate"""
    assert_trained(attempt, reference, rng, 5, 0.1, 2, 1.0, weight_decay=0.3)


@check("decay", points=4)
def test_evaluate_reads_the_whole_stream(attempt, reference, rng):
    """the mean over all whole windows, as a float; in eval mode, without a graph, and the mode is restored"""
    for mode, count, length in ((True, 60, 7), (False, 24, 4), (True, 9, 9), (False, 2, 2)):
        data, weights = random_ids(rng, 1, count, 6)[0], small_weights(rng)
        model, told = small_model(attempt, weights, mode)
        got = assert_inputs_unchanged(attempt.evaluate, model, data, length)
        want = reference.evaluate(small_model(reference, weights)[0], data, length)
        assert_close(got, want, exact_type=True, **EXACT)
        assert_true(not any(mode for _, *modes in told for mode in modes), "train mode, or a graph, in a forward pass")
        assert_equal(model.get("training"), mode, label="training, afterwards")
