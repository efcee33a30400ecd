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
    fetch,
    keep,
    peak_bytes,
)

F32, F64 = torch.float32, torch.float64
TOLERANCE = {F64: {"rtol": 1e-9, "atol": 1e-10}, F32: {"rtol": 1e-4, "atol": 1e-5}}
EXACT = TOLERANCE[F64]
FED = "what the model was fed, each time with the tokens of its cache, and pad"
MODES = "(train mode, builds a graph) of the calls"

GPT_SIZES = {"vocab_size": 13, "n_positions": 24, "d_model": 12, "n_heads": 3, "n_layers": 2}
STATIC_SIZES = {"batch_size": 2, "n_heads": 3, "max_len": 9, "head_dim": 4}
# (B, T, P, H, dh). The last three differ from the others in what comes before, and in no way without a past.
LAYERS = (2, 5, 7, 3, 4), (1, 1, 1, 1, 1), (2, 6, 3, 1, 5), (2, 1, 7, 3, 4), (3, 4, 1, 2, 3), (2, 3, 0, 2, 4)


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


def item(got, index, what="(logits, cache)"):
    """One of the two things that a forward pass returns."""
    is_pair = type(got) is tuple and len(got) == 2
    assert_true(is_pair, f"it returns a tuple {what}", expected=what, got=f"of type {type(got).__name__}")
    return got[index]


def agree_on_layers(attempt, reference, rng, name, index, cases=LAYERS[:3], with_past=True):
    """One of the two results is right where all sizes differ and where some are 1, and x and past are as they were."""
    for batch, t, p, heads, head_dim in cases:
        width, dtype = heads * head_dim, F32 if head_dim == 5 else F64
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
    agree_on_layers(attempt, reference, rng, "CausalSelfAttention", 1, LAYERS[:1], with_past=False)
    agree_on_layers(attempt, reference, rng, "CausalSelfAttention", 1, LAYERS)


@check("attention", points=8, needs="test_attention_without_a_cache")
def test_new_tokens_see_the_past(attempt, reference, rng):
    """token i of T new ones sees all P cached keys and the new ones up to its own, for any T, and for P = 0 too"""
    agree_on_layers(attempt, reference, rng, "CausalSelfAttention", 0, LAYERS)


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
    agree_on_layers(attempt, reference, rng, "Block", 0)


@check("model", points=5, needs="test_block_is_pre_norm")
def test_logits_of_a_prompt(attempt, reference, rng):
    """without a cache the logits of all T tokens are GPT-2's: both embeddings, the blocks, ln_f, the tied matrix"""
    for layers, batch, t, dtype in ((1, 1, 1, F64), (3, 3, 24, F64), (2, 2, 7, F32)):
        mine, theirs = twins(attempt, reference, rng, dtype=dtype, n_layers=layers)
        ids = token_ids(rng, t, batch).T
        assert_close(item(assert_inputs_unchanged(mine, ids), 0), theirs(ids)[0], **TOLERANCE[dtype])


@check("model", points=5, needs="test_logits_of_a_prompt")
def test_logits_go_on_from_any_cache(attempt, reference, rng):
    """from a cache of made-up keys and values, each layer its own, the new tokens stand at positions P, P + 1, …"""
    for dtype, sizes in ((F64, ((2, 1, 7), (2, 4, 3), (1, 1, 1), (3, 1, 23))), (F32, ((2, 3, 5),))):
        mine, theirs = twins(attempt, reference, rng, dtype=dtype)
        for batch, t, p in sizes:
            ids, past = token_ids(rng, batch, t), [pair(rng, batch, p, dtype=dtype) for _ in range(2)]
            got = item(assert_inputs_unchanged(mine, ids, past), 0)
            assert_close(got, theirs(ids, past)[0], **TOLERANCE[dtype], label=f"T = {t}, P = {p}")


def assert_pieces(mine, ids, sizes, want, past=None, pad=None):
    """In pieces, each with the cache of the one before, it gives these logits, and at padding finite ones."""
    blank = torch.arange(ids.shape[1]) < (torch.zeros(1) if pad is None else pad)[:, None]
    for piece, wanted, hidden in zip(*(whole.split(sizes, dim=1) for whole in (ids, want, blank)), strict=True):
        result, label = assert_inputs_unchanged(mine, piece, past, pad), f"the logits in pieces of {sizes}"
        logits, past = item(result, 0), result[1]
        assert_equal(list(logits.shape), list(wanted.shape), label=f"the shape of {label}")
        assert_true(bool(torch.isfinite(logits).all()), f"{label}: NaN or ∞, padding columns included")
        assert_close(logits.masked_fill(hidden[..., None], 0), wanted, **EXACT, label=label)


@check("model", points=7, needs="test_logits_go_on_from_any_cache")
def test_two_texts_go_on_from_one_cache(attempt, reference, rng):
    """with its own caches any split gives the same logits; a cache stays as it is, whatever goes on from it"""
    mine, theirs = twins(attempt, reference, rng)
    prompt, other, one, two = (token_ids(rng, 2, t) for t in (9, 5, 1, 3))
    before, want = set(attempt.run("attributes", mine)), theirs(prompt)
    assert_pieces(mine, prompt, [1, 1, 3, 4], want[0])
    start, _ = keep(mine)(prompt), mine(other)
    branches = [keep(mine)(ids, start.get(1, keep=True)) for ids in (one, two)]
    for ids, branch in zip((one, two), branches, strict=True):
        wanted = theirs(ids, want[1])
        assert_close(fetch(branch), wanted, **EXACT)
        assert_close(mine(two, branch.get(1, keep=True)), theirs(two, wanted[1]), **EXACT, label="a step further")
    assert_close(start.get(1), want[1], **EXACT, label="the first cache, after more calls")
    assert_equal(set(attempt.run("attributes", mine)), before, label="attributes of the modules, after the calls")


@check("model", points=3, needs="test_logits_go_on_from_any_cache")
def test_positions_end(attempt, reference, rng):
    """P + T may reach n_positions; beyond it a ValueError is raised, and nothing is cropped"""
    mine, theirs = twins(attempt, reference, rng)
    for t, p in ((24, 0), (1, 23), (4, 20)):
        ids, past = token_ids(rng, 2, t), [pair(rng, 2, p) for _ in range(2)] if p else None
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
    used = peak_bytes(keep(mine), ids, past) / 2**20
    assert_true(used < 6, "too much memory for one token", expected="< 6 MiB", got=f"{used:.0f} MiB")


class Script:
    """A model over here. Its logits depend on all tokens of a row, its cache is these, and it notes its calls."""

    def __init__(self, rng, vocab=7):
        self.table, self.fed, self.modes = rng.tensor(61, vocab, dtype=F64), [], set()

    def __call__(self, ids, past, pad, training, graph):
        self.fed.append((ids.tolist(), None if past is None else past.tolist(), pad))
        self.modes.add((training, graph))
        seen = ids if past is None else torch.cat([past, ids], dim=1)
        return self.logits(seen)[:, -ids.shape[1] :], seen

    def logits(self, seen):
        places = torch.arange(1, seen.shape[1] + 1)
        return self.table[((3 * seen + 1) * places).cumsum(dim=1) % 61]


class Successor(Script):
    """It says that the next token is the last one plus 1, modulo 8."""

    def logits(self, seen):
        return 1e4 * torch.eye(8, dtype=F64)[(seen + 1) % 8]


def ran(side, name, script, *args, **kwargs):
    """What that function makes of a model that does what the script says; it changes no argument."""
    return assert_inputs_unchanged(getattr(side, name), side.run("scripted", script, True), *args, **kwargs)


def agree_on_tokens(attempt, reference, script, ids, count, fed=True, **kwargs):
    """The same tokens, and by the same calls of the model."""
    other = deepcopy(script)
    want = ran(reference, "generate", other, ids, count, **kwargs)
    assert_equal(ran(attempt, "generate", script, ids, count, **kwargs), want, label="the tokens")
    if fed:
        assert_equal(script.fed, other.fed, label=FED)


@check("generate", points=5)
def test_greedy_tokens(attempt, reference, rng):
    """with temperature 0 each new token is the one of the largest logit after all before it, row by row"""
    for batch, t, count in ((3, 4, 6), (1, 1, 5), (2, 5, 1)):
        agree_on_tokens(attempt, reference, Script(rng), token_ids(rng, batch, t, high=7), count, fed=False)


@check("generate", points=7)
def test_the_cache_is_used(attempt, reference, rng):
    """a call gets the tokens that its cache has not seen, the last new one never; use_cache=False: all, and no cache"""
    for batch, t, count, use_cache in ((2, 4, 5, True), (3, 1, 3, True), (1, 6, 1, True), (2, 3, 4, False)):
        prompt = token_ids(rng, batch, t, high=7)
        agree_on_tokens(attempt, reference, Script(rng), prompt, count, use_cache=use_cache)


@check("generate", points=5)
def test_rows_end_one_by_one(attempt, reference, rng):
    """a row that generated eos_id is filled with it while others go on; when all have ended, no call follows"""
    prompt = torch.tensor([[6, 2], [4, 5], [7, 4], [3, 6]])[rng.permutation(4)]
    cases = (prompt, 10, {}), (prompt[:1], 10, {"use_cache": False}), (prompt, 3, {"temperature": 0.5})
    for rows, count, kwargs in (*cases, (prompt % 6, 10, {"eos_id": 0})):
        agree_on_tokens(attempt, reference, Successor(rng), rows, count, **{"eos_id": 6} | kwargs)


@check("generate", points=5)
def test_temperature(attempt, rng):
    """above 0 each row draws its own from softmax(logits / temperature); equal generators give equal tokens"""
    script, prompt = Script(rng, vocab=5), torch.tensor([[0, 3], [1, 3]]).repeat_interleave(1500, dim=0)
    for temperature in (0.5, 1.0, 2.5):
        got = ran(attempt, "generate", script, prompt, 1, temperature=temperature)
        assert_equal(got[:, :-1], prompt)
        want = (script.logits(prompt[::1500])[:, -1] / temperature).softmax(dim=-1)
        for tokens, probabilities in zip(got[:, -1].split(1500), want.numpy(), strict=True):
            assert_distribution([int((tokens == token).sum()) for token in range(5)], probabilities)
    generator = rng.torch()
    start, kwargs = generator.get_state(), {"temperature": 1.5, "generator": generator}
    first, later = (ran(attempt, "generate", script, prompt[::300], 6, **kwargs) for _ in range(2))
    assert_true(not torch.equal(first, later), "the generator stays where it was: tokens repeat in a second call")
    for use_cache in (True, False):
        generator.set_state(start)
        again = ran(attempt, "generate", script, prompt[::300], 6, use_cache=use_cache, **kwargs)
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
        assert_equal(script.modes, {(False, False)}, label=MODES)
        script.modes.clear()
        keep(model)(prompt)
        assert_equal(script.modes, {(training, True)}, label=f"{MODES} afterwards")


@check("prefill", points=6)
def test_chunks_follow_each_other(attempt, reference, rng):
    """the model gets chunks of chunk_size tokens in order, the rest as the last, going on from the cache given"""
    for t, chunk_size in ((7, 3), (3, 1), (4, 2), (2, 5), (1, 1)):
        script, ids, seen = Script(rng), token_ids(rng, 2, t, high=7), token_ids(rng, 2, 3, high=7)
        for cache in ({}, {"cache": seen}):
            mine, theirs = deepcopy(script), deepcopy(script)
            want = ran(reference, "prefill", theirs, ids, chunk_size, **cache)
            assert_close(ran(attempt, "prefill", mine, ids, chunk_size, **cache), want, **EXACT)
            assert_equal(mine.fed, theirs.fed, label=FED)
            assert_equal(mine.modes, theirs.modes, label=f"{MODES}: these are the caller's")
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
    used = peak_bytes(keep(mine.append), *new) / 2**20
    assert_true(used < 1, "too much memory for one token", expected="< 1 MiB", got=f"{used:.1f} MiB")


@check("static", points=4, needs="test_append_writes_behind")
def test_gpt_takes_static_caches(attempt, reference, rng):
    """StaticKVs come back themselves, with the same logits for any split; what does not fit changes nothing"""
    mine, theirs = twins(attempt, reference, rng, n_positions=12)
    ids = token_ids(rng, 2, 12)
    for max_len, sizes in ((9, [1, 1, 5]), (40, [5, 1, 4])):
        most = min(max_len, 12)
        want, pairs = theirs(ids[:, :most])
        static = attempt.run("static_caches", 2, STATIC_SIZES | {"max_len": max_len}, want.detach())
        assert_pieces(mine, ids[:, : most - 2], sizes, want[:, :-2], static)
        assert_raises(ValueError, mine, ids[:, :3], static)
        result = mine(ids[:, most - 2 : most], static)
        assert_close(item(result, 0), want[:, -2:], **EXACT, label="the logits, filled to the end")
        assert_raises(ValueError, mine, ids[:, :1], static)
        returns = "the cache returned is a list of the StaticKVs that came in, in their order"
        assert_true(type(result[1]) is list and result[1] == static, returns)
        assert_close(attempt.run("cached", static), pairs, **EXACT, label="the keys and values")


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


@check("static", points=1)
def test_bytes_of_a_cache(attempt, reference, rng):
    """kv_cache_bytes counts keys and values of all layers, in the bytes of the dtype"""
    for dtype in (F32, F64, torch.float16, torch.bfloat16, torch.int8):
        args = [int(number) for number in rng.integers(1, 50, size=5)]
        assert_equal(attempt.kv_cache_bytes(*args, dtype), reference.kv_cache_bytes(*args, dtype))


def logits_alone(theirs, ids, pad):
    """The logits of each row without its padding, and 0 at that."""
    rows = [theirs(row[None, count:])[0] for row, count in zip(ids, pad.tolist(), strict=True)]
    return torch.cat([torch.nn.functional.pad(row, (0, 0, ids.shape[1] - row.shape[1], 0)) for row in rows])


@check("padding", points=4, needs="test_logits_of_a_prompt")
def test_padded_rows_are_as_if_alone(attempt, reference, rng):
    """in one call a row behind padding has the logits of the row alone, whatever stands in the padding"""
    mine, theirs = twins(attempt, reference, rng)
    for pad in map(torch.tensor, ([2, 0, 6], [0, 0], [3], [1])):
        ids = token_ids(rng, len(pad), 7)
        assert_pieces(mine, ids, [7], logits_alone(theirs, ids, pad), pad=pad)


@check("padding", points=2, needs="test_padded_rows_are_as_if_alone")
def test_padding_with_a_cache(attempt, reference, rng):
    """the same holds for any split over calls, a first chunk of padding alone included, and for both kinds of cache"""
    mine, theirs = twins(attempt, reference, rng)
    ids, pad, sizes = token_ids(rng, 3, 10), torch.tensor([4, 0, 1]), STATIC_SIZES | {"batch_size": 3, "max_len": 10}
    want = logits_alone(theirs, ids, pad).detach()
    static = attempt.run("static_caches", 2, sizes, want)
    for split, past in (([3, 5, 1, 1], None), ([6, 1, 3], None), ([3, 1, 6], static)):
        assert_pieces(mine, ids, split, want, past, pad)


@check("padding", points=2, needs="test_the_cache_is_used")
def test_generate_hands_pad_on(attempt, reference, rng):
    """generate gives pad to the model in every call, with and without cache"""
    pad, prompt = torch.tensor([1, 0, 3]), token_ids(rng, 3, 5, high=7)
    for use_cache in (True, False):
        agree_on_tokens(attempt, reference, Script(rng), prompt, 4, use_cache=use_cache, pad=pad)
