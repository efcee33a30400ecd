"""The hidden checks. Sizes differ where a mix-up of axes would hide; weights are random, of norms and biases too."""

from copy import deepcopy
from functools import partial

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

F32, F64 = torch.float32, torch.float64
EXACT = {"rtol": 1e-9, "atol": 1e-11}
SINGLE = {"rtol": 1e-5, "atol": 1e-5}
# Scores of 1e4 carry their own rounding into every weight, and values multiply it.
LARGE = {"rtol": 1e-7, "atol": 1e-7}
# AdamW divides by the root of a squared gradient: the rounding of a small one comes back enlarged.
STEPPED = {"rtol": 1e-6, "atol": 1e-6}

# (B, H, Tq, Tk, dh, dv), and below (vocab, d_model, n_heads, n_layers, max_len).
DIFFERENT, SQUARE = (2, 3, 5, 7, 4, 6), (5, 5, 5, 5, 5, 5)
MODEL = (11, 6, 2, 2, 8)


def qkv(rng, shape, dtype=F64):
    """Random queries, keys and values."""
    b, h, tq, tk, d, dv = shape
    return {name: rng.tensor(b, h, t, c, dtype=dtype) for name, t, c in (("q", tq, d), ("k", tk, d), ("v", tk, dv))}


def strided(tensor):
    """The same values, not contiguous."""
    return tensor.transpose(0, 1).contiguous().transpose(0, 1)


def random_ids(rng, rows, length, vocab):
    return torch.from_numpy(rng.integers(0, vocab, size=(rows, length)))


def open_mask(rng, *size):
    """A random mask in which every query sees the first key and none sees the last."""
    mask = torch.from_numpy(rng.random(size) < 0.6)
    mask[..., 0], mask[..., -1] = True, False
    return mask


def masked_cases(rng):
    """Inputs with a mask of every shape, where each query sees a key; the last have a huge value at a hidden key."""
    for size in ((5, 5), (5,), (5, 5, 5), (7,), (3, 1, 7), (2, 1, 1, 7), (1, 3, 5, 7), (2, 3, 5, 7), (5, 7)):
        inputs = qkv(rng, SQUARE if size[-1] == 5 else DIFFERENT) | {"mask": open_mask(rng, *size)}
        yield inputs
    inputs["v"][:, :, -1] = 1e30
    yield inputs | {"mask": open_mask(rng, 5, 7)}


def closed_cases(rng):
    """Inputs with a mask under which some queries see no key."""
    rows, items = open_mask(rng, 5, 7), open_mask(rng, 2, 3, 5, 7)
    rows[0] = items[-1] = items[..., 0, :] = False
    for mask in (rows, items, torch.arange(5)[:, None] % 2 == 0, torch.tensor([[False]])):
        for dtype in (F64, F32):
            yield qkv(rng, DIFFERENT, dtype) | {"mask": mask}


def tolerance(tensor):
    return SINGLE if tensor.dtype == F32 else EXACT


def assert_attention(attempt, reference, inputs, close=None):
    """(out, weights), as the reference has them; no input is modified."""
    want = reference.scaled_dot_product_attention(**inputs)
    got = assert_inputs_unchanged(attempt.scaled_dot_product_attention, **inputs)
    assert_true(type(got) is tuple and len(got) == 2, "it returns a tuple (out, weights)", got=type(got).__name__)
    for name, mine, right in zip(("out", "weights"), got, want, strict=True):
        assert_close(mine, right, label=name, **(close or tolerance(right)))


def loaded(side, kind, sizes, weights):
    """A module of that kind with these weights."""
    model = getattr(side, kind)(*sizes).to(next(iter(weights.values())).dtype)
    keep(model.load_state_dict)(weights)
    return model


def both(attempt, reference, rng, kind, sizes, dtype=F64):
    """The same module on both sides, with random weights."""
    weights = {
        name: (0.6 * rng.tensor(*weight.shape) + ("norm" in name)).to(dtype)
        for name, weight in getattr(reference, kind)(*sizes).state_dict().items()
    }
    return loaded(attempt, kind, sizes, weights), loaded(reference, kind, sizes, weights)


def assert_gradients(functions, inputs, rng, wrt, **output):
    """One backward pass: the attempt's function and the reference's have the same value and gradients."""
    (got, grads), (want, wanted) = (
        gradients(function, kwargs, wrt=wrt, upstream=deepcopy(rng), **output)
        for function, kwargs in zip(functions, inputs, strict=True)
    )
    assert_close(got, want, label="value", **tolerance(want))
    for name in wrt:
        assert_close(grads[name], wanted[name], label=f"gradient of {name}", **tolerance(want))


def assert_module_gradients(attempt, reference, rng, kind, sizes, inputs):
    """Of every parameter, and of x."""
    models = both(attempt, reference, rng, kind, sizes)
    forwards = [getattr(side, kind).forward for side in (attempt, reference)]
    wrt = ("self.parameters", *(name for name in inputs if name == "x"))
    assert_gradients(forwards, [{"self": model, **inputs} for model in models], rng, wrt)


@check("attention", points=5)
def test_attention_at_all_sizes(attempt, reference, rng):
    """out and weights are right where all sizes differ, at length 1, in float64 and float32, contiguous or not"""
    for shape in (SQUARE, DIFFERENT, (1, 2, 1, 3, 5, 2), (2, 1, 3, 1, 1, 4)):
        for dtype in (F64, F32):
            assert_attention(attempt, reference, qkv(rng, shape, dtype))
    assert_attention(attempt, reference, {name: strided(x) for name, x in qkv(rng, DIFFERENT).items()})


@check("attention", points=4, needs="test_attention_at_all_sizes")
def test_mask_true_keeps_and_broadcasts(attempt, reference, rng):
    """a True in the mask lets a query see a key, the weights of the keys it sees sum to 1, and any shape broadcasts"""
    for inputs in masked_cases(rng):
        assert_attention(attempt, reference, inputs)


@check("attention", points=3, needs="test_mask_true_keeps_and_broadcasts")
def test_attention_at_large_scores(attempt, reference, rng):
    """out and weights are exact for scores of ±1e4, and where a hidden key has by far the largest score"""
    for mask in (None, open_mask(rng, 5, 7)):
        inputs = qkv(rng, DIFFERENT) | {"mask": mask}
        inputs["q"][..., -1] = 100.0 * torch.from_numpy(rng.choice([-1.0, 1.0], size=(2, 3, 5)))
        inputs["k"][..., -1] = 200.0  # adds a constant of ±1e4 to all scores of a query
        if mask is not None:
            inputs["k"][:, :, -1, -1] *= 1e9  # a score of ±1e13 stays the largest where a constant is subtracted
        assert_attention(attempt, reference, inputs, LARGE)


@check("attention", points=3, needs="test_mask_true_keeps_and_broadcasts")
def test_query_without_a_key_gives_zero(attempt, reference, rng):
    """a query that sees no key has out and weights 0, not NaN and not a mean; the others are as ever"""
    for inputs in closed_cases(rng):
        assert_attention(attempt, reference, inputs)


@check("attention", points=3, needs="test_mask_true_keeps_and_broadcasts")
def test_attention_gradients(attempt, reference, rng):
    """gradients flow from out and from weights to q, k and v, finite where a query sees no key"""
    functions = [side.scaled_dot_product_attention for side in (attempt, reference)]
    for inputs in (qkv(rng, DIFFERENT), *closed_cases(rng)):
        for output, wrt in ((0, ("q", "k", "v")), (1, ("q", "k"))):
            assert_gradients(functions, [inputs] * 2, rng, wrt, output=output)


@check("attention", points=2, needs="test_attention_at_all_sizes")
def test_attention_loops_over_no_position(attempt, reference, rng):
    """1500 queries of 3 keys take at most 8 times the CPU time of two matrix products and a softmax"""
    inputs = qkv(rng, (1, 1, 1500, 3, 4, 4)) | {"mask": open_mask(rng, 1500, 3)}
    assert_attention(attempt, reference, inputs)
    sides = [keep(side.scaled_dot_product_attention) for side in (attempt, reference.confined())]
    cpu_seconds(sides[1], **inputs)
    mine, right = (min(cpu_seconds(side, **inputs) for _ in range(3)) for side in sides)
    assert_true(mine <= 8 * right, "CPU time against the reference's", expected="≤ 8", got=f"{mine / right:.1f}")


@check("heads", points=7)
def test_heads_own_neighbouring_channels(attempt, reference, rng):
    """queries, keys and values lie one after the other in qkv; head h owns the channels h·dh to (h + 1)·dh of each"""
    for d_model, n_heads in ((6, 2), (6, 3), (4, 1), (4, 4)):
        mine, right = both(attempt, reference, rng, "MultiHeadAttention", (d_model, n_heads))
        for x in (rng.tensor(1, 1, d_model, dtype=F64), rng.tensor(2, 5, d_model, dtype=F64)):
            assert_close(assert_inputs_unchanged(mine, x), right(x), **EXACT)


@check("heads", points=5, needs="test_heads_own_neighbouring_channels")
def test_attention_is_causal(attempt, reference, rng):
    """position i sees 0 to i and itself: what comes later changes no output, and gets a gradient of exactly 0"""
    mine, right = both(attempt, reference, rng, "MultiHeadAttention", (6, 2))
    x = rng.tensor(3, 7, 6, dtype=F64)
    for last in (0, 2, 5, 6):
        upstream = rng.tensor(3, 7, 6, dtype=F64) * (torch.arange(7) == last)[:, None]
        (out, got), (_, want) = (gradients(model, {"x": x}, wrt=("x",), upstream=upstream) for model in (mine, right))
        assert_close(got, want, **EXACT)
        assert_true(not got["x"][:, last + 1 :].any(), f"position {last} has a gradient to later ones")
        far = torch.where((torch.arange(7) > last)[:, None], 1e6 * rng.tensor(3, 7, 6, dtype=F64), x)
        assert_equal(mine(far)[:, : last + 1], out[:, : last + 1], label="the past, once the future is another")


@check("heads", points=4, needs="test_heads_own_neighbouring_channels")
def test_heads_gradients(attempt, reference, rng):
    """x, both weights and both biases get their gradients"""
    for sizes, rows in (((6, 2), 2), ((6, 3), 1)):
        inputs = {"x": strided(rng.tensor(rows, 5, 6, dtype=F64))}
        assert_module_gradients(attempt, reference, rng, "MultiHeadAttention", sizes, inputs)


@check("heads", points=3, needs="test_heads_own_neighbouring_channels")
def test_heads_keep_nothing(attempt, reference, rng):
    """calls of other lengths, layers, dtypes and modes in between change nothing"""
    pairs = [both(attempt, reference, rng, "MultiHeadAttention", sizes) for sizes in ((6, 2), (6, 3))]
    x = rng.tensor(2, 6, 6, dtype=F64)
    for length in (3, 6, 1, 5):
        for mine, right in pairs:
            assert_close(mine.train(length > 3)(x[:, :length]), right(x[:, :length]), **EXACT)
    for mine, right in pairs:
        assert_close(mine.float()(x.float()), right.float()(x.float()), rtol=1e-4, atol=1e-4)
        assert_close(mine.double()(x[:, :4]), right.double()(x[:, :4]), **EXACT)


@check("model", points=6, needs="test_heads_own_neighbouring_channels")
def test_block_is_pre_norm(attempt, reference, rng):
    """each branch norms its input first and is added to what is not normed; GELU is the exact one; x is not modified"""
    for sizes in ((6, 2), (4, 4)):
        mine, right = both(attempt, reference, rng, "TransformerBlock", sizes)
        for rows, length in ((2, 5), (1, 1)):
            x = 3 * rng.tensor(rows, length, sizes[0], dtype=F64)
            assert_close(assert_inputs_unchanged(mine, x), right(x), **EXACT)


@check("model", points=8, needs="test_block_is_pre_norm")
def test_logits_of_the_model(attempt, reference, rng):
    """token plus position, every block, the last norm, the head; any length up to max_len, a longer one: ValueError"""
    for sizes in (MODEL, (5, 4, 4, 1, 7), (7, 6, 3, 3, 9)):
        mine, right = both(attempt, reference, rng, "TransformerLM", sizes)
        for length in (6, sizes[-1], 1, 3):
            ids = strided(random_ids(rng, length % 3 + 1, length, sizes[0]))
            assert_close(assert_inputs_unchanged(mine.train(length > 3), ids), right(ids), **EXACT)
        assert_raises(ValueError, mine, random_ids(rng, 2, sizes[-1] + 1, sizes[0]))
    mine, right = both(attempt, reference, rng, "TransformerLM", MODEL, F32)
    assert_close(mine(ids), right(ids), rtol=2e-4, atol=2e-4)


@check("model", points=6, needs="test_logits_of_the_model")
def test_model_gradients(attempt, reference, rng):
    """every parameter of a block and of the model gets its gradient; embedding rows that were not used get 0"""
    assert_module_gradients(attempt, reference, rng, "TransformerBlock", (6, 3), {"x": rng.tensor(2, 5, 6, dtype=F64)})
    assert_module_gradients(attempt, reference, rng, "TransformerLM", MODEL, {"ids": random_ids(rng, 3, 6, 11)})


def assert_loss(attempt, reference, rng, ids, dtype=F64, size=3.0, vocab=7, **masks):
    """The loss of random logits and their gradient; no input is modified."""
    inputs = {"logits": size * strided(rng.tensor(*ids.shape, vocab, dtype=dtype)), "ids": ids, **masks}
    assert_gradients([attempt.lm_loss, reference.lm_loss], [inputs] * 2, rng, ("logits",))
    assert_inputs_unchanged(attempt.lm_loss, **inputs)


@check("train", points=5)
def test_loss_predicts_the_next_token(attempt, reference, rng):
    """the logits at t are scored on the token at t + 1; the mean over all B·(T − 1) tokens, and its gradient"""
    for rows, length, dtype, size in ((2, 5, F64, 1.0), (7, 7, F64, 1.0), (1, 2, F32, 3.0), (3, 5, F64, 1e4)):
        assert_loss(attempt, reference, rng, strided(random_ids(rng, rows, length, 7)), dtype, size)


@check("train", points=5, needs="test_loss_predicts_the_next_token")
def test_loss_counts_the_answer(attempt, reference, rng):
    """answer_mask says which tokens count, wherever they stand; one mean over the batch; 0 where none counts"""
    uneven = torch.arange(6) >= torch.tensor([1, 5, 3, 6])[:, None]  # no token of the last row, 1 of the second
    patchy = torch.from_numpy(rng.random((4, 6)) < 0.5)
    patchy[:, :4] = torch.tensor([True, False, True, False])
    first, nothing = torch.arange(6).expand(4, 6) == 0, torch.zeros(4, 6, dtype=torch.bool)
    for mask in (uneven, patchy, strided(patchy), first, nothing, ~nothing):
        assert_loss(attempt, reference, rng, random_ids(rng, 4, 6, 7), answer_mask=mask)
    for masks in ({}, {"answer_mask": torch.ones(3, 1, dtype=torch.bool)}):
        assert_loss(attempt, reference, rng, random_ids(rng, 3, 1, 7), **masks)


def batches_of(rng, count, vocab=6):
    """Batches of different lengths; of the second all tokens count, of the third none."""
    for step in range(count):
        ids = random_ids(rng, 2 + step % 2, 5 + step, vocab)
        yield ids, None if step == 1 else torch.from_numpy(rng.random(ids.shape) < (0.0 if step == 2 else 0.7))


def assert_trained(attempt, reference, rng, steps, lr, mode=True):
    """A bigram model with an old .grad ends alike. -> the attempt's modes, in its passes and after; batches left"""
    table, bias, batches = rng.tensor(6, 6, dtype=F64), rng.tensor(6, dtype=F64), list(batches_of(rng, steps + 1))
    results = []
    for side in (reference, attempt):
        modes, queue = [], list(batches)
        model = side.run("bigram_model", table, bias, modes.append).train(mode)
        losses = side.train(model=model, get_batch=partial(queue.pop, 0), steps=steps, lr=lr)
        results.append({"losses": losses, "weights": side.run("weights", model)})
    assert_close(results[1], results[0], exact_type=True, **STEPPED)
    return [*modes, model.get("training")], len(queue)


@check("train", points=7)
def test_train_takes_adamw_steps(attempt, reference, rng):
    """each step is one of AdamW with its own batch's gradient; the losses are floats, from before each update"""
    for steps, lr in ((1, 0.05), (6, 0.3), (3, 1e-3), (0, 1.0)):
        assert_trained(attempt, reference, rng, steps, lr)


@check("train", points=3, needs="test_train_takes_adamw_steps")
def test_train_asks_for_one_batch_a_step(attempt, reference, rng):
    """get_batch is called once a step; the model runs once a step, in train mode, and stays in it"""
    for mode in (False, True):
        modes, left = assert_trained(attempt, reference, rng, 4, 0.05, mode)
        assert_equal(left, 1, label="batches that were not asked for, of 5, after 4 steps")
        assert_equal(modes, [True] * 5, label="training, in the 4 passes and afterwards")


@check("train", points=5, needs="test_train_takes_adamw_steps", trained=True)
def test_train_learns_to_reverse(attempt, reference, rng):
    """after 60 steps on reversals of 3 of 8 symbols the model reverses 9 of 10 new ones, by greedy decoding"""
    draws = rng.torch()
    batches = [reference.reverse_batch(16, 3, 8, draws) for _ in range(60)]
    model = attempt.TransformerLM(9, 24, 4, 1, 7)
    assert_equal(len(attempt.train(model, iter(batches).__next__, 60, 0.015)), 60, label="losses")
    judged = loaded(reference, "TransformerLM", (9, 24, 4, 1, 7), model.state_dict())
    ids, _ = reference.reverse_batch(200, 3, 8, draws)
    solved = (reference.generate(judged, ids[:, :4], 3, 0.0) == ids).all(dim=1).double().mean()
    assert_true(bool(solved >= 0.9), "the share of new sequences that it reverses", expected="≥ 0.9", got=float(solved))


def scripted(side, logits_of, max_len=8):
    """A model in the judge's hands, which notes what it sees: -> model, [(ids, in train mode, builds a graph)]"""
    seen = []
    return side.run("scripted_model", lambda *told: seen.append(told) or logits_of(told[0]), max_len), seen


def of_last_two(table):
    """Logits that depend on a token and the one before it; at the first position, on the last token."""
    return lambda ids: table[ids, ids.roll(1, dims=1)]


@check("generate", points=5)
def test_temperature_zero_is_greedy(attempt, reference, rng):
    """at 0 each row continues with its largest logit at the last position, the lowest id of equal ones; prompt first"""
    for rows, length, count, step in ((3, 2, 5, 1.0), (1, 1, 4, 1.0), (2, 4, 1, 1.0), (2, 3, 0, 1.0), (4, 2, 6, 2e-18)):
        # A step of one rounding: neither float32 nor probabilities tell the logits apart.
        table = 0.01 + step * torch.from_numpy(rng.integers(0, 3, size=(6, 6, 6))).double()
        prompt = random_ids(rng, rows, length, 6)
        kwargs = {"ids": prompt, "max_new_tokens": count, "temperature": 0.0, "generator": rng.torch()}
        models = [scripted(side, of_last_two(table), 16)[0] for side in (attempt, reference)]
        got = assert_inputs_unchanged(attempt.generate, models[0], **kwargs)
        assert_equal(got, reference.generate(models[1], **kwargs))


@check("generate", points=4, needs="test_temperature_zero_is_greedy")
def test_generate_sees_the_last_max_len_tokens(attempt, reference, rng):
    """one forward pass of the whole batch a token, on the last max_len tokens, without a graph and in eval mode"""
    for length, mode, temperature in ((2, True, 0.0), (5, False, 1.0), (8, True, 0.0)):
        table, prompt = 3 * rng.tensor(6, 6, 6, dtype=F64), random_ids(rng, 3, length, 6)
        model, seen = scripted(attempt, of_last_two(table), max_len=5)
        ids = attempt.generate(model.train(mode), prompt, 6, temperature, rng.torch())
        assert_equal(ids[:, :length], prompt, label="prompt")
        want = [ids[:, max(0, end - 5) : end] for end in range(length, length + 6)]
        assert_equal([context for context, *_ in seen], want, label="what the model was given")
        if temperature == 0:
            assert_equal(ids, reference.generate(scripted(reference, of_last_two(table), 5)[0], prompt, 6, 0.0))
        assert_true(not any(training for _, training, _ in seen), "a forward pass runs in train mode")
        assert_true(not any(graph for *_, graph in seen), "a forward pass builds a graph")
        assert_equal(model.get("training"), mode, label="training, afterwards")


@check("generate", points=4, needs="test_temperature_zero_is_greedy")
def test_samples_follow_the_temperature(attempt, rng):
    """tokens are drawn from softmax(logits / temperature) of their own row's last position, one after the other"""
    rows, prompt = 4000, torch.arange(8000)[:, None] % 2
    for temperature, size, generator in ((0.5, 2.0, rng.torch()), (2.0, 2.0, None), (0.004, 0.004, rng.torch())):
        table = size * rng.tensor(4, 4, dtype=F64)
        model, _ = scripted(attempt, table.__getitem__)
        got = attempt.generate(model, prompt, 2, temperature, generator).numpy()
        assert_equal(got.shape, (2 * rows, 3), label="shape")
        p = torch.softmax(table / temperature, dim=-1).numpy()
        for first in (0, 1):
            pairs, want = got[first::2, 1] * 4 + got[first::2, 2], (p[first][:, None] * p).reshape(-1)
            assert_distribution(np.bincount(pairs, minlength=16), want, label=f"two tokens at {temperature}")
    for temperature, size in ((0.01, 1e4), (1e-3, 1.0), (1e4, 1e8)):  # so far apart that there is no choice
        table = size * torch.from_numpy(rng.permuted(np.tile(np.arange(4.0), (4, 1)), axis=1))
        got = attempt.generate(scripted(attempt, table.__getitem__)[0], prompt[:50], 3, temperature, rng.torch())
        assert_equal(got[:, 1:], table.argmax(dim=-1)[got[:, :-1]], label=f"at temperature {temperature}")


@check("generate", points=3, needs="test_temperature_zero_is_greedy")
def test_chance_comes_from_the_generator(attempt, rng):
    """equal generators give equal tokens, one generator new ones each time, any token; torch's own is left alone"""
    nearly_equal = rng.tensor(70, dtype=F64) / 100
    model, _ = scripted(attempt, lambda ids: nearly_equal.expand(*ids.shape, 70))
    prompt, first, second = random_ids(rng, 3, 2, 70), deepcopy(rng).torch(), rng.torch()  # equal ones
    before = attempt.run("random_state")
    one, other, later = (attempt.generate(model, prompt, 60, 1.5, drawn) for drawn in (first, second, first))
    assert_equal(attempt.run("random_state"), before, label="the state of torch's own generator")
    assert_equal(one, other, label="tokens of an equal generator")
    assert_true(len(torch.cat([one, later]).unique()) > 60, "of 70 tokens, nearly as likely, many are never drawn")
    assert_true(not torch.equal(one, later), "a second call with the same generator repeats the first")
    assert_true(not torch.equal(one[0, 2:], one[1, 2:]), "two rows draw the same tokens")
    drawn = [attempt.run("generated_by_torch", model, prompt, 60, seed) for seed in (5, None, 6, 5)]
    assert_equal(drawn[3], drawn[0], label="with generator=None, tokens of an equal state of torch's own")
    alike = any(torch.equal(drawn[0], other) for other in drawn[1:3])
    assert_true(not alike, "with generator=None, another state of torch's own generator gives the same tokens")
    assert_raises(ValueError, attempt.generate, model, prompt, 4, -0.5, rng.torch())
