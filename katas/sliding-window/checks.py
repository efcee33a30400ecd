"""The hidden checks. Caches and models that live here tell what attention and `generate` do with theirs."""

from copy import deepcopy

import torch

from grader.checking import (
    assert_close,
    assert_equal,
    assert_inputs_unchanged,
    assert_raises,
    assert_true,
    check,
    fetch,
    gradients,
    keep,
    peak_bytes,
)

F32, F64 = torch.float32, torch.float64
TOLERANCE = {F64: {"rtol": 1e-9, "atol": 1e-10}, F32: {"rtol": 1e-4, "atol": 1e-5}}
EXACT = TOLERANCE[F64]
MIB = 2**20
FED = "the calls of the model, each (new tokens, tokens of its cache, whether it is in training mode)"

LAYER = {"d_model": 24, "n_heads": 4, "n_kv_heads": 2, "window": 3}
GPT = {"vocab_size": 11, **LAYER, "n_layers": 2}
# (W, the lengths of the pieces that follow each other)
STREAMS = (2, (1, 1, 1)), (4, (2, 1, 1, 1)), (4, (9, 1)), (3, (1, 6, 2, 1)), (7, (3, 3, 3)), (20, (5, 4))


def twins(attempt, reference, rng, name, sizes, dtype=F64):
    """The attempt's and the reference's module of that class, with equal random weights."""
    shapes = {key: value.shape for key, value in getattr(reference, name)(**sizes).state_dict().items()}
    weights = {key: rng.tensor(*shape, dtype=dtype) for key, shape in shapes.items()}
    for key, weight in weights.items():
        weight *= 0.3 if weight.ndim == 1 else 1.5 * weight.shape[1] ** -0.5
        weight += 1.0 if "norm" in key else 0.0
    return [side.run("loaded", name, sizes, weights) for side in (attempt, reference)]


def token_ids(rng, *shape, high=11):
    return torch.from_numpy(rng.integers(0, high, size=shape))


def pair(rng, batch, length, heads=2, head_dim=6, dtype=F64):
    """Keys and values of so many tokens, not contiguous."""
    return tuple(rng.tensor(batch, length, heads, head_dim, dtype=dtype).transpose(1, 2) for _ in range(2))


def positions(rng, count, high):
    """Distinct positions in any order."""
    return torch.from_numpy(rng.permutation(high)[:count].copy())


@check("mask", points=5)
def test_mask_is_a_band(attempt, reference, rng):
    """query i sees key j iff i − W < j ≤ i: W keys, its own included, for any positions in any order"""
    for tq, tk, window, high in ((6, 6, 3, 6), (5, 7, 2, 12), (1, 9, 4, 30), (4, 6, 5, 8)):
        args = positions(rng, tq, high), positions(rng, tk, high), window
        assert_equal(assert_inputs_unchanged(attempt.sliding_window_mask, *args), reference.sliding_window_mask(*args))
    far = 10**12 + torch.arange(5)
    assert_equal(attempt.sliding_window_mask(far[3:], far, 3), reference.sliding_window_mask(far[3:], far, 3))


@check("mask", points=5)
def test_mask_at_its_edges(attempt, reference):
    """W = 1 is the diagonal, W ≥ T the full triangle; no queries or keys give an empty mask, W < 1 a ValueError"""
    for tq, tk, window in ((5, 5, 1), (6, 6, 6), (4, 4, 50), (1, 1, 1), (0, 3, 2), (3, 0, 2)):
        args = torch.arange(tq), torch.arange(tk), window
        assert_equal(attempt.sliding_window_mask(*args), reference.sliding_window_mask(*args), label=f"W = {window}")
    for window in (0, -2):
        assert_raises(ValueError, attempt.sliding_window_mask, torch.arange(3), torch.arange(3), window)


@check("attention", points=10)
def test_attention_without_a_cache(attempt, reference, rng):
    """without a cache y is windowed attention from position 0 on; query head h uses key and value head h // (H/G)"""
    shapes = (2, 7, 3, 4, 2, 24), (1, 5, 1, 4, 1, 16), (3, 6, 6, 6, 2, 12), (2, 4, 40, 6, 3, 24), (1, 3, 2, 1, 1, 2)
    for batch, t, window, heads, groups, width in (*shapes, (2, 9, 4, 3, 3, 12)):
        dtype = F32 if t == 9 else F64
        sizes = {"d_model": width, "n_heads": heads, "n_kv_heads": groups, "window": window}
        mine, theirs = twins(attempt, reference, rng, "WindowedAttention", sizes, dtype)
        x = rng.tensor(t, batch, width, dtype=dtype).transpose(0, 1)
        label = f"T = {t}, W = {window}, H = {heads}, G = {groups}"
        assert_close(assert_inputs_unchanged(mine, x), theirs(x), **TOLERANCE[dtype], label=label)


class Script:
    """A cache over here: it adds tokens at made-up positions, may shuffle, and notes what came."""

    def __init__(self, rng, batch, seen, t, window, shuffled):
        oldest = seen - window - 2 if shuffled else seen - window + t
        near = torch.arange(max(oldest, 0), seen)
        self.positions = torch.cat([near, torch.arange(seen, seen + t)])
        order = rng.permutation(len(self.positions)) if shuffled else range(len(self.positions))
        self.order = torch.tensor([int(place) for place in order])
        self.kept, self.came = pair(rng, batch, len(near)), []

    def __call__(self, k, v):
        self.came.append((k, v))
        joined = (torch.cat([old, new.detach()], dim=2) for old, new in zip(self.kept, (k, v), strict=True))
        return *(part[:, :, self.order] for part in joined), self.positions[self.order]


def agree_with_cache(attempt, reference, rng, cases, shuffled):
    """What append gets of attention, and what that makes of the result, in all cases."""
    windows = sorted({case[3] for case in cases})
    layers = {w: twins(attempt, reference, rng, "WindowedAttention", LAYER | {"window": w}) for w in windows}
    for batch, seen, t, window in cases:
        x, script = rng.tensor(batch, t, 24, dtype=F64), Script(rng, batch, seen, t, window, shuffled)
        other, about = deepcopy(script), f" after {seen} tokens, for T = {t} and W = {window}"
        got = layers[window][0](x, attempt.run("scripted_cache", seen, script))
        want = layers[window][1](x, reference.run("scripted_cache", seen, other))
        assert_close(script.came, other.came, **EXACT, label="what append gets" + about)
        assert_close(got, want, **EXACT, label="y" + about)


@check("attention", points=6, needs="test_attention_without_a_cache")
def test_keys_are_cached_rotated(attempt, reference, rng):
    """append gets, once, keys rotated at their absolute positions from cache.seen on, and values as they are"""
    cases = (2, 7, 1, 13), (2, 5, 4, 13), (3, 0, 5, 8), (1, 10**6, 2, 8)
    agree_with_cache(attempt, reference, rng, cases, shuffled=False)


@check("attention", points=6, needs="test_keys_are_cached_rotated")
def test_visible_is_what_the_positions_say(attempt, reference, rng):
    """with a cache y attends to what append returns, in whatever order, as the positions that come with it say"""
    cases = (2, 7, 1, 3), (2, 5, 4, 3), (1, 1, 6, 2), (2, 4, 3, 9), (1, 10**6, 2, 3), (2, 4, 2, 1)
    agree_with_cache(attempt, reference, rng, (*cases, *cases[:2]), shuffled=True)


@check("attention", points=2, needs="test_attention_without_a_cache")
def test_large_scores(attempt, reference, rng):
    """scores of ±1e4, at keys that are seen and at keys that are not, give no NaN"""
    mine, theirs = twins(attempt, reference, rng, "WindowedAttention", LAYER)
    x = 60 * rng.tensor(2, 7, 24, dtype=F64)
    assert_close(mine(x), theirs(x), rtol=1e-6, atol=1e-6)


CACHE = {"batch_size": 2, "n_kv_heads": 3, "head_dim": 4}


def agree_on_streams(attempt, reference, rng, streams, *what, dtype=F64, **more):
    """After each append what it returned, or what is kept, or both, is the same on both sides."""
    for window, lengths in streams:
        caches = [side.RollingKVCache(window=window, **CACHE, dtype=dtype, **more) for side in (attempt, reference)]
        for step, t in enumerate(lengths):
            new, label = pair(rng, 2, t, 3, 4, dtype), f"with W = {window}, after appends of {lengths[: step + 1]}"
            results = [assert_inputs_unchanged(cache.append, *new) for cache in caches]
            if "returned" in what:
                assert_equal(*results, label=f"the result {label}")
            if "kept" in what:
                kept = [side.run("state", cache) for side, cache in zip((attempt, reference), caches, strict=True)]
                assert_equal(*kept, label=f"the cache {label}")


@check("cache", points=7)
def test_append_returns_kept_and_new(attempt, reference, rng):
    """append returns what was kept, then all new tokens, oldest first, with positions: also where T is above W"""
    agree_on_streams(attempt, reference, rng, STREAMS, "returned")
    agree_on_streams(attempt, reference, rng, STREAMS[3:4], "returned", dtype=F32)


@check("cache", points=6)
def test_last_tokens_are_kept(attempt, reference, rng):
    """afterwards exactly the last min(seen, W − 1) tokens are kept, oldest first, and seen counts all"""
    agree_on_streams(attempt, reference, rng, STREAMS, "kept")


@check("cache", points=3)
def test_window_of_one_keeps_nothing(attempt, reference, rng):
    """with W = 1 nothing is kept, and append returns the new tokens alone"""
    agree_on_streams(attempt, reference, rng, ((1, (1, 1, 1)), (1, (4, 1, 3))), "returned", "kept")


@check("cache", points=5, needs="test_last_tokens_are_kept")
def test_prompts_are_let_go(attempt):
    """16 caches that took 1 MiB each, piece by piece, and keep 15 tokens take under 4 MiB, without storage to spare"""
    # With one row and one head a slice is contiguous, and contiguous() gives it back as it is.
    sizes = {"window": 16, "batch_size": 1, "n_kv_heads": 1, "head_dim": 64}
    tokens, spare = attempt.run("many_filled", 2, sizes, (1, 1020, 1027))
    assert_equal(tokens, 15, label="tokens kept")
    used = peak_bytes(attempt.run, "many_filled", 16, sizes, (1, 1020, 1027)) / MIB
    told = "too much memory: does a cache hold on to what it should forget, or to the storage of it?"
    assert_true(used < 4, told, expected="< 4 MiB", got=f"{used:.0f} MiB")
    assert_equal(spare, 0, label="bytes that the storage of keys, values and positions has beyond what is kept")


@check("cache", points=3, needs="test_append_returns_kept_and_new")
def test_what_is_kept_is_detached(attempt, reference, rng):
    """what is returned carries gradients and stays as it is, what is kept does not; other caches go their own way"""
    mine, theirs, other = (side.RollingKVCache(window=4, **CACHE, dtype=F64) for side in (attempt, reference, attempt))
    new, more = (tuple(part.requires_grad_() for part in pair(rng, 2, t, 3, 4)) for t in (5, 2))
    result, want = keep(mine.append)(*new), theirs.append(*new)
    assert_equal(other.append(*more)[0], more[0])
    assert_true(not mine.get("keys").requires_grad and not mine.get("values").requires_grad, "keep detached tensors")
    assert_equal(mine.append(*more), theirs.append(*more))
    assert_equal(fetch(result), want, label="the first result, after another append")
    layer, twin = twins(attempt, reference, rng, "WindowedAttention", LAYER)
    x, upstream = rng.tensor(2, 5, 24, dtype=F64), rng.tensor(2, 5, 24, dtype=F64)
    arguments = {"x": x, "cache": attempt.RollingKVCache(3, 2, 2, 6, dtype=F64)}
    got = gradients(layer, arguments, wrt=("x",), upstream=upstream)[1]["x"]
    assert_close(got, gradients(twin, {"x": x}, wrt=("x",), upstream=upstream)[1]["x"], **EXACT, label="gradient of x")


@check("generate", points=4, needs="test_attention_without_a_cache")
def test_logits_without_a_cache(attempt, reference, rng):
    """without a cache the logits are those of embedding, blocks, norm and head; a block is pre-norm"""
    mine, theirs = twins(attempt, reference, rng, "Block", LAYER)
    x = rng.tensor(2, 5, 24, dtype=F64)
    assert_close(assert_inputs_unchanged(mine, x), theirs(x), **EXACT, label="y of a block")
    for layers, window, dtype in ((2, 2, F64), (1, 1, F64), (1, 30, F32)):
        mine, theirs = twins(attempt, reference, rng, "WindowGPT", GPT | {"n_layers": layers, "window": window}, dtype)
        ids = token_ids(rng, 7, 2).T
        assert_close(assert_inputs_unchanged(mine, ids), theirs(ids), **TOLERANCE[dtype])


def assert_pieces(mine, ids, lengths, want, caches, label=""):
    """Fed in pieces of these lengths it gives the logits of one call, with each cache in turn."""
    for piece, wanted in zip(ids.split(lengths, dim=1), want.split(lengths, dim=1), strict=True):
        for text, cache in enumerate(caches):
            got = mine(piece.roll(text, dims=0), cache)
            assert_close(got, wanted.roll(text, dims=0), **EXACT, label=f"{label}logits, in pieces of {lengths}")


@check("generate", points=6, needs="test_logits_without_a_cache")
def test_any_pieces_as_in_one_call(attempt, reference, rng):
    """fed in pieces of any length, two texts in turn, each with its cache, the logits are those of one call"""
    for window, lengths, texts in ((3, [1, 1, 1, 4], 2), (4, [2, 3, 1, 7], 1), (1, [3, 1], 1)):
        mine, theirs = twins(attempt, reference, rng, "WindowGPT", GPT | {"window": window})
        ids = token_ids(rng, 2, sum(lengths))
        assert_pieces(mine, ids, lengths, theirs(ids), [mine.new_cache(2) for _ in range(texts)], f"W = {window}: ")


class Model:
    """A model over here. Its logits depend on all tokens of a row, its cache is a number, and it notes its calls."""

    def __init__(self, rng, vocab=7):
        self.table, self.texts, self.calls, self.graph = rng.tensor(61, vocab, dtype=F64), [], [], False

    def begin(self, batch_size):
        self.texts.append(torch.zeros(batch_size, 0, dtype=torch.int64))
        return len(self.texts) - 1

    def answer(self, ids, cache, graph, training):
        before = torch.zeros(len(ids), 0, dtype=torch.int64) if cache is None else self.texts[cache]
        text, self.graph = torch.cat([before, ids], dim=1), self.graph or graph
        self.calls.append((ids.tolist(), None if cache is None else before.tolist(), training))
        if cache is not None:
            self.texts[cache] = text
        places = torch.arange(1, text.shape[1] + 1)
        return self.table[((3 * text + 1) * places).cumsum(dim=1) % 61][:, -ids.shape[1] :]


def models(attempt, reference, rng):
    """The same model over here for both sides: (side, model, its handle) twice."""
    mine = Model(rng)
    pairs = (attempt, mine), (reference, deepcopy(mine))
    return [(side, own, side.run("scripted_model", own.begin, own.answer)) for side, own in pairs]


def agree_on_tokens(both, ids, count, **kwargs):
    """The same tokens come of the same calls of the model."""
    got, want = (assert_inputs_unchanged(side.generate, handle, ids, count, **kwargs) for side, _, handle in both)
    assert_equal(got, want, label="the tokens")
    assert_equal(*(own.calls for _, own, _ in both), label=FED)


@check("generate", points=7)
def test_every_token_is_fed_once(attempt, reference, rng):
    """the prompt is fed, then each new token once, to a cache of this call; with use_cache=False everything and None"""
    both = models(attempt, reference, rng)
    for batch, t, count in ((2, 5, 4), (2, 5, 2), (3, 1, 6), (1, 4, 1)):
        agree_on_tokens(both, token_ids(rng, batch, t, high=7), count)
    for kwargs in ({}, {"chunk_size": 2}):
        agree_on_tokens(both, token_ids(rng, 2, 5, high=7), 4, use_cache=False, **kwargs)


@check("generate", points=3)
def test_no_graph_and_nothing_to_do(attempt, reference, rng):
    """the model runs without a graph; 0 new tokens run none; negative numbers and an empty prompt raise ValueError"""
    both, prompt = models(attempt, reference, rng), token_ids(rng, 2, 3, high=7)
    _, model, handle = both[0]
    for use_cache in (True, False):
        agree_on_tokens(both, prompt, 3, use_cache=use_cache)
        assert_true(not model.graph, "the model builds a graph: generate under torch.no_grad()")
    for args in ((prompt, -1), (prompt[:, :0], 2)):
        assert_raises(ValueError, attempt.generate, handle, *args)
    agree_on_tokens(both, prompt, 0)


@check("chunks", points=7)
def test_prompts_are_fed_in_chunks(attempt, reference, rng):
    """the prompt goes in chunks of chunk_size tokens, the rest as the last, new tokens one by one; 0 is a ValueError"""
    both = models(attempt, reference, rng)
    for t, chunk_size in ((7, 3), (9, 4), (4, 4), (3, 8), (5, 1)):
        agree_on_tokens(both, token_ids(rng, 2, t, high=7), 2, chunk_size=chunk_size)
    for chunk_size, use_cache in ((0, True), (-1, True), (0, False)):
        assert_raises(ValueError, attempt.generate, both[0][2], token_ids(rng, 2, 3), 3, use_cache, chunk_size)


@check("chunks", points=3, needs="test_any_pieces_as_in_one_call")
def test_chunks_bound_the_memory(attempt, reference, rng):
    """a prompt of 1024 tokens in chunks of 128, with W = 16, takes less than 5 MiB, a token after a million under 4"""
    sizes = {"vocab_size": 5, "d_model": 4, "n_heads": 2, "n_kv_heads": 1, "n_layers": 1, "window": 16}
    mine, theirs = twins(attempt, reference, rng, "WindowGPT", sizes)
    short, long = token_ids(rng, 1, 20, high=5), token_ids(rng, 1, 1024, high=5)
    assert_equal(attempt.generate(mine, short, 2, chunk_size=8), reference.generate(theirs, short, 2))
    used = peak_bytes(attempt.generate, mine, long, 1, chunk_size=128) / MIB
    assert_true(used < 5, "too much memory for one prompt", expected="< 5 MiB", got=f"{used:.0f} MiB")
    layer, _ = twins(attempt, reference, rng, "WindowedAttention", LAYER)
    late = attempt.run("scripted_cache", 10**6, Script(rng, 1, 10**6, 1, 3, shuffled=True))
    used = peak_bytes(keep(layer), rng.tensor(1, 1, 24, dtype=F64), late) / MIB
    told = "too much memory after a million tokens: does a mask or a table go over all that were seen?"
    assert_true(used < 4, told, expected="< 4 MiB", got=f"{used:.0f} MiB")


def assert_ring(got, history, start, window):
    """The tokens within reach, each once with its own position; one older may be among them."""
    is_triple = isinstance(got, tuple) and len(got) == 3 and all(isinstance(part, torch.Tensor) for part in got)
    assert_true(is_triple, "append returns (keys, values, positions)", got=f"of type {type(got).__name__}")
    assert_equal(got[2].dtype, torch.int64, label="the dtype of positions")
    places, oldest = got[2].flatten().tolist(), max(start - window + 1, 0)
    wanted = range(oldest - (start - window in places and oldest > 0), history[0].shape[2])
    assert_equal(sorted(places), list(wanted), label="the positions, sorted")
    for name, part, whole in zip(("keys", "values"), got, history, strict=False):
        assert_equal(part, whole[:, :, places], label=f"the {name} of the positions {places}")


@check("ring", points=3)
def test_ring_writes_to_slots(attempt, reference, rng):
    """the token at position p lies in slot p mod W, and append returns all within reach with their positions"""
    for window, lengths in (*STREAMS[1:4], (1, (1, 4, 1)), (3, (3, 3, 7, 1)), (9, (5, 2))):
        mine, theirs = (side.RingKVCache(window=window, **CACHE, dtype=F64) for side in (attempt, reference))
        history, start = pair(rng, 2, 0, 3, 4), 0
        for t in lengths:
            new = tuple(part.requires_grad_() for part in pair(rng, 2, t, 3, 4))
            history = tuple(torch.cat([old, part.detach()], 2) for old, part in zip(history, new, strict=True))
            got = assert_inputs_unchanged(mine.append, *new)
            theirs.append(*new)
            assert_ring(got, history, start, window)
            start += t
            stored, want = attempt.run("state", mine), reference.run("state", theirs)
            assert_equal(stored, want, label=f"the ring for W = {window}, after {start} tokens")
            graph = any(stored[name].requires_grad for name in ("keys", "values"))
            assert_true(not graph, "the buffers require a gradient: store k.detach() and v.detach()")


@check("ring", points=2, needs="test_ring_writes_to_slots")
def test_ring_copies_only_the_new_token(attempt, rng):
    """one token more, in a ring whose 4,000 slots take 2 MiB for keys and 2 for values, takes less than 1 MiB"""
    mine = attempt.RingKVCache(window=4_000, batch_size=1, n_kv_heads=2, head_dim=64)
    (first, values), (one, value) = pair(rng, 1, 4_007, 2, 64, F32), pair(rng, 1, 1, 2, 64, F32)
    keep(mine.append)(first, values)
    view = keep(mine.append)(one, value).get(0, keep=True)
    assert_equal(view.narrow(2, 6, 3), torch.cat([first[:, :, 4_006:], one, first[:, :, 8:9]], dim=2))
    used = peak_bytes(keep(mine.append), one, value) / MIB
    assert_true(used < 1, "too much memory for one token", expected="< 1 MiB", got=f"{used:.1f} MiB")


@check("ring", points=1, needs="test_ring_writes_to_slots")
def test_model_takes_rings(attempt, reference, rng):
    """with rings as its cache the model gives the logits of one call, for any pieces"""
    for window, lengths in ((3, [1] * 5), (4, [6, 1, 5, 1])):
        mine, theirs = twins(attempt, reference, rng, "WindowGPT", GPT | {"window": window, "n_layers": 1})
        ids = token_ids(rng, 2, sum(lengths))
        sizes = {"window": window, "batch_size": 2, "n_kv_heads": 2, "head_dim": 6}
        rings = attempt.run("ring_caches", 1, sizes, torch.zeros((), dtype=F64))
        assert_pieces(mine, ids, lengths, theirs(ids), [rings], f"W = {window}: ")


@check("sinks", points=2, needs="test_mask_is_a_band")
def test_mask_shows_sinks(attempt, reference, rng):
    """the first n_sinks positions are seen by every query at or behind them, and by none before"""
    for tq, tk, window, sinks in ((7, 7, 2, 3), (5, 9, 3, 1), (4, 6, 1, 2), (5, 5, 2, 9)):
        args = positions(rng, tq, 10), positions(rng, tk, 10), window, sinks
        assert_equal(attempt.sliding_window_mask(*args), reference.sliding_window_mask(*args))


@check("sinks", points=2, needs="test_last_tokens_are_kept")
def test_cache_keeps_sinks(attempt, reference, rng):
    """the rolling cache keeps the first n_sinks tokens beside the last W − 1, each once, oldest first"""
    for sinks, streams in ((1, (*STREAMS[1:3], (1, (2, 3, 1)))), (3, STREAMS[3:4])):
        agree_on_streams(attempt, reference, rng, streams, "returned", "kept", n_sinks=sinks)


@check("sinks", points=2, needs="test_mask_shows_sinks")
def test_model_with_sinks(attempt, reference, rng):
    """a model with sinks gives the same logits with its cache, in any pieces, as in one call"""
    for window, sinks, lengths in ((2, 3, [1, 1, 2, 3]), (3, 1, [5, 1, 1])):
        sizes = GPT | {"window": window, "n_sinks": sinks, "n_layers": 1}
        mine, theirs = twins(attempt, reference, rng, "WindowGPT", sizes)
        ids = token_ids(rng, 2, sum(lengths))
        want = theirs(ids)
        assert_close(mine(ids), want, **EXACT)
        assert_pieces(mine, ids, lengths, want, [mine.new_cache(2)], f"W = {window}, {sinks} sinks: ")
