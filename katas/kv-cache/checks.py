"""The hidden checks. Most caches are made up here: only who attends to what came in answers rightly.

`generate` and `prefill` are judged on a model that lives here and notes how it is called.
"""

from copy import deepcopy

import torch

from grader.checking import (
    assert_close,
    assert_distribution,
    assert_equal,
    assert_inputs_unchanged,
    assert_raises,
    assert_true,
    check,
    keep,
    peak_bytes,
)

F32, F64 = torch.float32, torch.float64
TOLERANCE = {F64: {"rtol": 1e-9, "atol": 1e-10}, F32: {"rtol": 1e-4, "atol": 1e-5}}
EXACT = TOLERANCE[F64]
MIB = 2**20
FED = "what the model was fed, each time with the tokens of its cache, and pad"

GPT_SIZES = {"vocab_size": 13, "n_positions": 24, "d_model": 12, "n_heads": 3, "n_layers": 2}
STATIC_SIZES = {"batch_size": 2, "n_heads": 3, "max_len": 9, "head_dim": 4}


def twins(attempt, reference, rng, name="GPT", dtype=F64, **sizes):
    """The attempt's and the reference's module of that class, with equal random weights."""
    sizes = GPT_SIZES | sizes if name == "GPT" else sizes
    shapes = {key: value.shape for key, value in getattr(reference, name)(**sizes).state_dict().items()}
    weights = {key: rng.tensor(*shape, dtype=dtype) for key, shape in shapes.items()}
    for key, weight in weights.items():
        weight *= 0.3 if weight.ndim == 1 else 1.5 * weight.shape[1] ** -0.5
        weight += 1.0 if "ln_" in key and key.endswith("weight") else 0.0
    return [side.run("loaded", name, sizes, weights) for side in (attempt, reference)]


def token_ids(rng, *shape, high=13):
    return torch.from_numpy(rng.integers(0, high, size=shape))


def pair(rng, batch, length, heads=3, head_dim=4, dtype=F64):
    """Made-up keys and values of one layer, stored so that they are not contiguous."""
    return tuple(rng.tensor(batch, length, heads, head_dim, dtype=dtype).transpose(1, 2) for _ in range(2))


def cache(rng, batch, length, dtype=F64):
    """Made-up keys and values of two layers."""
    return [pair(rng, batch, length, dtype=dtype) for _ in range(2)]


def item(got, index, what="(logits, cache)"):
    """One of the two things that a forward pass returns."""
    is_pair = type(got) is tuple and len(got) == 2
    assert_true(is_pair, f"it returns a tuple {what}", expected=what, got=f"of type {type(got).__name__}")
    return got[index]


def agree_on_layers(attempt, reference, rng, name, index, with_past):
    """One of the two results is right where all sizes differ and where some are 1, and x and past are as they were."""
    shapes = (2, 5, 7, 3, 4), (2, 1, 7, 3, 4), (3, 4, 1, 2, 3), (1, 1, 1, 1, 1), (2, 3, 0, 2, 4), (2, 6, 3, 1, 5)
    for (batch, t, p, heads, head_dim), dtype in zip(shapes, (F64, F64, F64, F64, F64, F32), strict=True):
        width = heads * head_dim
        mine, theirs = twins(attempt, reference, rng, name, dtype, d_model=width, n_heads=heads)
        x, past = rng.tensor(t, batch, width, dtype=dtype).transpose(0, 1), pair(rng, batch, p, heads, head_dim, dtype)
        args = (x, past) if with_past else (x,)
        got, want = assert_inputs_unchanged(mine, *args), theirs(*args)
        label = f"B = {batch}, T = {t}, P = {p if with_past else 0}, H = {heads}, dh = {head_dim}"
        assert_close(item(got, index, "(y, present)"), want[index], **TOLERANCE[dtype], label=label)


@check("attention", points=6)
def test_attention_without_a_cache(attempt, reference, rng):
    """without a past y is causal multi-head attention, for sizes that differ and for sizes of 1, in both dtypes"""
    agree_on_layers(attempt, reference, rng, "CausalSelfAttention", 0, with_past=False)


@check("attention", points=5)
def test_present_holds_keys_and_values(attempt, reference, rng):
    """present is a tuple (k, v) of [B, H, S, dh]: what came in, then the new keys and values with their bias"""
    for with_past in (False, True):
        agree_on_layers(attempt, reference, rng, "CausalSelfAttention", 1, with_past)


@check("attention", points=8, needs="test_attention_without_a_cache")
def test_new_tokens_see_the_past(attempt, reference, rng):
    """token i of T new ones sees all P cached keys and the new ones up to its own, for any T, and for P = 0 too"""
    agree_on_layers(attempt, reference, rng, "CausalSelfAttention", 0, with_past=True)


@check("attention", points=2, needs="test_new_tokens_see_the_past")
def test_large_scores(attempt, reference, rng):
    """scores of ±1e4, at keys that are seen and at keys that are not, give no NaN"""
    mine, theirs = twins(attempt, reference, rng, "CausalSelfAttention", d_model=12, n_heads=3)
    x, past = 70 * rng.tensor(2, 5, 12, dtype=F64), tuple(70 * part for part in pair(rng, 2, 3))
    for args in ((x,), (x, past)):
        assert_close(item(mine(*args), 0, "(y, present)"), theirs(*args)[0], rtol=1e-7, atol=1e-7)


@check("model", points=4, needs="test_attention_without_a_cache")
def test_block_is_pre_norm(attempt, reference, rng):
    """a block normalises, attends and adds, then normalises, applies its MLP with the tanh GELU, and adds"""
    agree_on_layers(attempt, reference, rng, "Block", 0, with_past=True)


@check("model", points=5, needs="test_block_is_pre_norm")
def test_logits_of_a_prompt(attempt, reference, rng):
    """without a cache the logits of all T tokens are GPT-2's: both embeddings, the blocks, ln_f, the tied matrix"""
    for layers, batch, t, dtype in ((2, 2, 5, F64), (1, 1, 1, F64), (3, 3, 24, F64), (2, 2, 7, F32)):
        mine, theirs = twins(attempt, reference, rng, dtype=dtype, n_layers=layers)
        ids = token_ids(rng, t, batch).T
        assert_close(item(assert_inputs_unchanged(mine, ids), 0), theirs(ids)[0], **TOLERANCE[dtype])


@check("model", points=5, needs="test_logits_of_a_prompt")
def test_logits_go_on_from_any_cache(attempt, reference, rng):
    """from a cache of made-up keys and values, each layer its own, the new tokens stand at positions P, P + 1, …"""
    for dtype, sizes in ((F64, ((2, 1, 7), (2, 4, 3), (1, 1, 1), (3, 1, 23))), (F32, ((2, 3, 5),))):
        mine, theirs = twins(attempt, reference, rng, dtype=dtype)
        for batch, t, p in sizes:
            ids, past = token_ids(rng, batch, t), cache(rng, batch, p, dtype)
            got = item(assert_inputs_unchanged(mine, ids, past), 0)
            assert_close(got, theirs(ids, past)[0], **TOLERANCE[dtype], label=f"T = {t}, P = {p}")


def assert_split(mine, ids, sizes, want, start=None):
    """Fed in pieces of these sizes, each with the cache of the one before, it gives the logits of one call."""
    past, label = start, f"the logits, fed in pieces of {sizes}"
    for piece, wanted in zip(ids.split(sizes, dim=1), want.split(sizes, dim=1), strict=True):
        result = keep(mine)(piece, past) if past is not None else keep(mine)(piece)
        assert_true(result.type_name == "tuple", "it returns a tuple (logits, cache)", got=result.type_name)
        assert_close(result.get(0), wanted, **EXACT, label=label)
        past = result.get(1, keep=start is None)


@check("model", points=3, needs="test_logits_go_on_from_any_cache")
def test_any_split_gives_the_same_logits(attempt, reference, rng):
    """however the tokens are split over calls, with its own caches the logits are those of one call"""
    mine, theirs = twins(attempt, reference, rng, n_layers=3)
    ids = token_ids(rng, 2, 9)
    want = theirs(ids)[0]
    for sizes in ([1] * 9, [4, 1, 3, 1], [1, 8]):
        assert_split(mine, ids, sizes, want)


@check("model", points=5, needs="test_logits_go_on_from_any_cache")
def test_two_texts_go_on_from_one_cache(attempt, reference, rng):
    """the cache is a new list of L tuples; several calls may go on from it, others in between, and it stays as it is"""
    mine, theirs = twins(attempt, reference, rng)
    prompt, other, one, two = (token_ids(rng, 2, t) for t in (4, 5, 1, 3))
    before = attempt.run("attributes", mine)
    start, want = keep(mine)(prompt), theirs(prompt)
    elsewhere = mine(other)
    for ids in (one, two, one):
        assert_close(mine(ids, start.get(1, keep=True)), theirs(ids, want[1]), **EXACT)
    assert_close(elsewhere, theirs(other), **EXACT, label="another text")
    assert_close(start.get(1), want[1], **EXACT, label="the first cache, after more calls")
    after = attempt.run("attributes", mine)
    assert_equal(set(after), set(before), label="attributes of the modules, after the calls")


@check("model", points=2, needs="test_logits_go_on_from_any_cache")
def test_positions_end(attempt, reference, rng):
    """P + T may reach n_positions; beyond it a ValueError is raised, and nothing is cropped"""
    mine, theirs = twins(attempt, reference, rng)
    for t, p in ((24, 0), (1, 23), (4, 20)):
        ids, past = token_ids(rng, 2, t), cache(rng, 2, p) if p else None
        assert_close(item(mine(ids, past), 0), theirs(ids, past)[0], **EXACT)
        assert_raises(ValueError, mine, torch.cat([ids, ids[:, :1]], dim=1), past)


@check("model", points=2, needs="test_logits_of_a_prompt")
def test_every_parameter_gets_its_gradient(attempt, reference, rng):
    """the gradient reaches every parameter through the forward pass without a cache"""
    modules, args = twins(attempt, reference, rng), (token_ids(rng, 2, 6), rng.tensor(2, 6, 13, dtype=F64))
    sides = zip((attempt, reference), modules, strict=True)
    assert_close(*(side.run("parameter_gradients", module, *args) for side, module in sides), **EXACT)


@check("model", points=1, needs="test_logits_go_on_from_any_cache")
def test_memory_of_a_step_is_linear(attempt, reference, rng):
    """one token after 4095 cached ones takes less than 6 MiB: nothing of size S × S is made"""
    mine, theirs = twins(attempt, reference, rng, dtype=F32, n_positions=4096, d_model=4, n_heads=1, n_layers=1)
    ids, past = token_ids(rng, 1, 1), [pair(rng, 1, 4095, 1, 4, F32)]
    assert_close(item(mine(ids, past), 0), theirs(ids, past)[0], **TOLERANCE[F32])
    used = peak_bytes(keep(mine), ids, past) / MIB
    assert_true(used < 6, "too much memory for one token", expected="< 6 MiB", got=f"{used:.0f} MiB")


class Script:
    """A model over here. Its logits depend on all tokens of a row, its cache is those, and it notes its calls."""

    plain = False  # is the cache a mere tensor [B, S] of these tokens?

    def __init__(self, rng, vocab=7):
        self.table, self.vocab, self.fed, self.modes = rng.tensor(61, vocab, dtype=F64), vocab, [], set()

    def __call__(self, ids, past, pad, training, graph):
        seen = ids[:, :0] if past is None else past if self.plain else past[0][0][:, 0, :, 0].long()
        self.fed.append((ids.tolist(), None if past is None else seen.tolist(), pad))
        self.modes.add((training, graph))
        seen = torch.cat([seen, ids], dim=1)
        pair = seen[:, None, :, None].double()
        return self.logits(seen)[:, -ids.shape[1] :], seen if self.plain else [(pair, pair)]

    def logits(self, seen):
        states = [torch.zeros(len(seen), dtype=torch.int64)]
        for column in seen.T:
            states.append((5 * states[-1] + 3 * column + 1) % 61)
        return self.table[torch.stack(states[1:], dim=1)]


class Successor(Script):
    """It says that the next token is the last one plus 1."""

    plain = True

    def logits(self, seen):
        return 1e4 * torch.nn.functional.one_hot((seen + 1) % self.vocab, self.vocab).double()


class Constant(Script):
    """Its last logits depend on the first token of the row alone; those before are others."""

    def logits(self, seen):
        logits = self.table[seen[:, :1].expand(seen.shape)]
        return torch.where((torch.arange(seen.shape[1]) == seen.shape[1] - 1)[:, None], logits, -3 * logits)


def generated(side, script, *args, training=True, **kwargs):
    return assert_inputs_unchanged(side.generate, side.run("scripted", script, training), *args, **kwargs)


def agree_on_tokens(attempt, reference, script, ids, count, fed=True, **kwargs):
    """The same tokens, and by the same calls of the model."""
    other = deepcopy(script)
    want = generated(reference, other, ids, count, **kwargs)
    assert_equal(generated(attempt, script, ids, count, **kwargs), want, label="the tokens")
    assert_true(bool(script.fed), "the model was never called")
    if fed:
        assert_equal(script.fed, other.fed, label=FED)


@check("generate", points=5)
def test_greedy_tokens(attempt, reference, rng):
    """with temperature 0 each new token is the one of the largest logit after all before it, row by row"""
    for batch, t, count in ((3, 4, 6), (1, 1, 5), (2, 5, 1)):
        agree_on_tokens(attempt, reference, Script(rng), token_ids(rng, batch, t, high=7), count, fed=False)


@check("generate", points=5)
def test_the_cache_is_used(attempt, reference, rng):
    """the model is fed the prompt, then each new token once with the cache of the call before, the last one never"""
    for batch, t, count in ((2, 4, 5), (3, 1, 3), (1, 6, 1)):
        agree_on_tokens(attempt, reference, Script(rng), token_ids(rng, batch, t, high=7), count)


@check("generate", points=2)
def test_without_the_cache(attempt, reference, rng):
    """with use_cache=False every call gets the whole sequence and no cache, for the same tokens"""
    script, prompt = Script(rng), token_ids(rng, 2, 3, high=7)
    for use_cache in (False, True):
        agree_on_tokens(attempt, reference, deepcopy(script), prompt, 5, fed=not use_cache, use_cache=use_cache)


@check("generate", points=5)
def test_rows_end_one_by_one(attempt, reference, rng):
    """a row that generated eos_id is filled with it while others go on; when all have ended, no call follows"""
    prompt = torch.tensor([[6, 2], [4, 5], [7, 4], [3, 6]])[rng.permutation(4)]
    settings = {"use_cache": True}, {"use_cache": False}, {"temperature": 0.5}
    for rows, count, kwargs in zip((prompt, prompt[:1], prompt), (10, 10, 3), settings, strict=True):
        agree_on_tokens(attempt, reference, Successor(rng, vocab=8), rows, count, eos_id=6, **kwargs)
    agree_on_tokens(attempt, reference, Successor(rng, vocab=8), prompt % 6, 10, eos_id=0)


@check("generate", points=3)
def test_temperature(attempt, rng):
    """above 0 each row draws on its own from softmax(logits / temperature) after the last token"""
    for temperature in (0.5, 1.0, 2.5):
        script = Constant(rng, vocab=5)
        prompt = torch.tensor([[0, 3], [1, 3]]).repeat_interleave(1500, dim=0)
        got = generated(attempt, script, prompt, 1, temperature=temperature)
        assert_equal(got[:, :-1], prompt)
        for row in (0, 1):
            probabilities = (script.table[row] / temperature).softmax(dim=-1).numpy()
            tokens = got[prompt[:, 0] == row, -1].numpy()
            assert_distribution([int((tokens == token).sum()) for token in range(5)], probabilities)


@check("generate", points=2)
def test_equal_generators_give_equal_tokens(attempt, rng):
    """equal generators give equal tokens, with and without cache; it moves on, and another one gives others"""
    script, prompt, generator = Script(rng), token_ids(rng, 8, 3, high=7), rng.torch()
    start = generator.get_state()
    kwargs = {"temperature": 1.5, "generator": generator}
    first = generated(attempt, script, prompt, 9, **kwargs)
    assert_equal(first[:, :3], prompt)
    later = generated(attempt, script, prompt, 9, **kwargs)
    assert_true(not torch.equal(first, later), "the generator stays where it was: tokens repeat in a second call")
    for use_cache in (True, False):
        generator.set_state(start)
        again = generated(attempt, script, prompt, 9, use_cache=use_cache, **kwargs)
        assert_equal(again, first, label=f"tokens of an equal generator, use_cache={use_cache}")


@check("generate", points=4)
def test_mode_and_edges(attempt, rng):
    """the model runs without a graph, in eval mode, and gets its mode back; 0 tokens need no call, bad numbers raise"""
    prompt = token_ids(rng, 2, 3, high=7)
    for training, kwargs in ((True, {}), (False, {}), (True, {"use_cache": False, "temperature": 1.0})):
        script = Script(rng)
        model = attempt.run("scripted", script, training)
        assert_equal(attempt.generate(model, prompt, 0, **kwargs), prompt)
        for args, wrong in (((prompt, -1), {}), ((prompt, 2), {"temperature": -0.5}), ((prompt[:, :0], 2), {})):
            assert_raises(ValueError, attempt.generate, model, *args, **kwargs | wrong)
        assert_equal(script.fed, [], label="calls of the model")
        assert_equal(attempt.generate(model, prompt, 3, **kwargs)[:, :3], prompt)
        assert_equal(script.modes, {(False, False)}, label="(train mode, builds a graph) of the calls")
        assert_equal(model.get("training"), training, label="train mode afterwards")
        script.modes.clear()
        keep(model)(prompt)
        assert_equal(script.modes, {(training, True)}, label="(train mode, builds a graph) of a call afterwards")


@check("prefill", points=6)
def test_chunks_follow_each_other(attempt, reference, rng):
    """the model gets chunks of chunk_size tokens in order, the rest as the last, going on from the cache given"""
    for t, chunk_size in ((7, 3), (3, 1), (4, 2), (2, 5), (1, 1)):
        script, ids, seen = Script(rng), token_ids(rng, 2, t, high=7), token_ids(rng, 2, 1, 2, 1, high=7).double()
        for cache in ({}, {"cache": [(seen, seen)]}):
            sides = {attempt: deepcopy(script), reference: deepcopy(script)}
            got, want = (
                assert_inputs_unchanged(side.prefill, side.run("scripted", own, True), ids, chunk_size, **cache)
                for side, own in sides.items()
            )
            assert_close(got, want, **EXACT)
            assert_equal(sides[attempt].fed, sides[reference].fed, label=FED)
            modes = "(train mode, builds a graph) of the calls: these are the caller's"
            assert_equal(sides[attempt].modes, sides[reference].modes, label=modes)
    for chunk_size in (0, -2):
        assert_raises(ValueError, attempt.prefill, attempt.run("scripted", script, False), ids, chunk_size)


@check("static", points=3)
def test_append_writes_behind(attempt, reference, rng):
    """append writes behind what is there and returns all that is written, in the buffers themselves and detached"""
    for dtype in (F64, F32):
        mine, theirs = (side.StaticKV(**STATIC_SIZES, dtype=dtype) for side in (attempt, reference))
        for t in (3, 1, 5):
            new = tuple(part.requires_grad_() for part in pair(rng, 2, t, dtype=dtype))
            got = assert_inputs_unchanged(mine.append, *new)
            assert_equal(got, theirs.append(*new))
            assert_true(not any(part.requires_grad for part in got), "the views require a gradient: detach k and v")
            assert_raises(ValueError, mine.append, *pair(rng, 2, 10 - mine.get("length"), dtype=dtype))
            for name in ("length", "keys", "values"):
                assert_equal(mine.get(name), theirs.get(name), label=name)


@check("static", points=2, needs="test_append_writes_behind")
def test_append_copies_no_more_than_the_new(attempt, reference, rng):
    """one token more, where keys and values take 2.5 MiB each, takes less than 1 MiB"""
    sizes = {"batch_size": 1, "n_heads": 2, "max_len": 10_000, "head_dim": 32}
    mine, theirs = attempt.StaticKV(**sizes), reference.StaticKV(**sizes)
    for t in (9_900, 1):
        new = pair(rng, 1, t, 2, 32, F32)
        view, want = keep(mine.append)(*new).get(0, keep=True), theirs.append(*new)[0]
    assert_equal(view.narrow(2, 9_897, 4), want[:, :, -4:])
    used = peak_bytes(keep(mine.append), *new) / MIB
    assert_true(used < 1, "too much memory for one token", expected="< 1 MiB", got=f"{used:.1f} MiB")


@check("static", points=3, needs="test_append_writes_behind")
def test_gpt_takes_static_caches(attempt, reference, rng):
    """with StaticKVs the logits are the same, for any split; the cache returned is a list of the same objects"""
    mine, theirs = twins(attempt, reference, rng)
    ids = token_ids(rng, 2, 9)
    want, pairs = theirs(ids)
    for sizes in ([1] * 4 + [5], [5, 1, 3]):
        static = attempt.run("static_caches", 2, STATIC_SIZES, want.detach())
        assert_split(mine, ids, sizes, want, static)
        assert_close(attempt.run("cached", static), pairs, **EXACT, label="the keys and values")
    static = attempt.run("static_caches", 2, STATIC_SIZES, want.detach())
    returned = item(mine(ids, static), 1, "(logits, cache)")
    same = type(returned) is list and len(returned) == 2 and all(x is y for x, y in zip(returned, static, strict=True))
    assert_true(same, "the cache returned is a list of the StaticKVs that came in, in their order")


@check("static", points=2, needs="test_append_writes_behind")
def test_crop_forgets_the_last(attempt, reference, rng):
    """after crop the next tokens overwrite the forgotten ones; lengths that are not there raise ValueError"""
    mine, theirs = (side.StaticKV(**STATIC_SIZES, dtype=F64) for side in (attempt, reference))
    for length, t in ((0, 6), (4, 3), (7, 1), (0, 2), (2, 7)):
        mine.crop(length)
        theirs.crop(length)
        assert_equal(mine.get("length"), length, label="length")
        new = pair(rng, 2, t)
        assert_equal(mine.append(*new), theirs.append(*new))
        for wrong in (length + t + 1, -1):
            assert_raises(ValueError, mine.crop, wrong)
        assert_equal(mine.get("length"), length + t, label="length")


@check("static", points=1, needs="test_gpt_takes_static_caches")
def test_what_does_not_fit_changes_nothing(attempt, reference, rng):
    """beyond max_len or n_positions a ValueError is raised, and the caches go on as if nothing had been tried"""
    for max_len in (9, 40):
        mine, theirs = twins(attempt, reference, rng, n_positions=12)
        most, ids = min(max_len, 12), token_ids(rng, 2, 12)
        static = attempt.run("static_caches", 2, STATIC_SIZES | {"max_len": max_len}, torch.zeros((), dtype=F64))
        keep(mine)(ids[:, : most - 2], static)
        assert_raises(ValueError, mine, ids[:, :3], static)
        got = item(mine(ids[:, most - 2 : most], static), 0)
        assert_close(got, theirs(ids[:, :most])[0][:, -2:], **EXACT)
        assert_raises(ValueError, mine, ids[:, :1], static)


@check("static", points=1)
def test_bytes_of_a_cache(attempt, reference, rng):
    """kv_cache_bytes counts keys and values of all layers, in the bytes of the dtype"""
    for dtype in (F32, F64, torch.float16, torch.bfloat16, torch.int8):
        args = [int(number) for number in rng.integers(1, 50, size=5)]
        assert_equal(attempt.kv_cache_bytes(*args, dtype), reference.kv_cache_bytes(*args, dtype))


def assert_rows(got, pad, alone, start, label):
    """From column `start` on each row's real tokens have what the row alone has, and the others finite numbers."""
    assert_true(bool(torch.isfinite(got).all()), f"{label}: NaN or ∞, padding columns included")
    for row, (count, want) in enumerate(zip(pad.tolist(), alone, strict=True)):
        stop = max(start + got.shape[1] - count, 0)
        real = got[row : row + 1, max(count - start, 0) :]
        assert_close(real, want[:, max(start - count, 0) : stop], **EXACT, label=f"{label}, row {row}, pad {count}")


@check("padding", points=4, needs="test_logits_of_a_prompt")
def test_padded_rows_are_as_if_alone(attempt, reference, rng):
    """in one call a row behind padding has the logits of the row alone, whatever stands in the padding"""
    mine, theirs = twins(attempt, reference, rng)
    for pad in (torch.tensor([2, 0, 6]), torch.tensor([0, 0]), torch.tensor([3]), torch.tensor([1])):
        ids = token_ids(rng, len(pad), 7)
        got = item(assert_inputs_unchanged(mine, ids, pad=pad), 0)
        assert_equal(list(got.shape), [len(pad), 7, 13], label="the shape of the logits")
        alone = [theirs(row[count:][None])[0] for row, count in zip(ids, pad.tolist(), strict=True)]
        assert_rows(got, pad, alone, 0, "the logits")


@check("padding", points=2, needs="test_padded_rows_are_as_if_alone")
def test_padding_with_a_cache(attempt, reference, rng):
    """the same holds for any split over calls, a first chunk of padding alone included, and for both kinds of cache"""
    mine, theirs = twins(attempt, reference, rng, n_layers=3)
    ids, pad, sizes = token_ids(rng, 3, 10), torch.tensor([4, 0, 1]), STATIC_SIZES | {"batch_size": 3, "max_len": 10}
    alone = [theirs(row[count:][None])[0] for row, count in zip(ids, pad.tolist(), strict=True)]
    for split in ([3, 5, 1, 1], [6, 1, 3]):
        for past in (None, attempt.run("static_caches", 3, sizes, torch.zeros((), dtype=F64))):
            start = 0
            for piece in ids.split(split, dim=1):
                logits, past = mine(piece, past, pad)
                assert_rows(logits, pad, alone, start, f"the logits in pieces of {split}")
                start += piece.shape[1]


@check("padding", points=2, needs="test_the_cache_is_used")
def test_generate_hands_pad_on(attempt, reference, rng):
    """generate gives pad to the model in every call, with and without cache"""
    pad, prompt = torch.tensor([1, 0, 3]), token_ids(rng, 3, 5, high=7)
    for use_cache in (True, False):
        agree_on_tokens(attempt, reference, Script(rng), prompt, 4, use_cache=use_cache, pad=pad)
