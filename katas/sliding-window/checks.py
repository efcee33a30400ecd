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
STREAMS = (2, (1, 1, 1)), (4, (2, 1, 1, 1)), (4, (9, 1, 1)), (3, (1, 6, 2, 1)), (7, (3, 3, 3)), (20, (5, 1, 4))


def weights(reference, rng, name, sizes, dtype=F64):
    """Random weights for that class, by name."""
    shapes = {key: value.shape for key, value in getattr(reference, name)(**sizes).state_dict().items()}
    drawn = {key: rng.tensor(*shape, dtype=dtype) for key, shape in shapes.items()}
    for key, weight in drawn.items():
        weight *= 0.3 if weight.ndim == 1 else 1.5 * weight.shape[1] ** -0.5
        weight += 1.0 if "norm" in key else 0.0
    return drawn


def twins(attempt, reference, rng, name, sizes, dtype=F64):
    """The attempt's and the reference's module of that class, with equal weights."""
    same = weights(reference, rng, name, sizes, dtype)
    return [side.run("loaded", name, sizes, same) for side in (attempt, reference)]


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


@check("attention", points=6)
def test_attention_without_a_cache(attempt, reference, rng):
    """without a cache y is windowed attention from position 0 on, for windows from 1 to beyond T, in both dtypes"""
    for batch, t, window, dtype in ((2, 7, 3, F64), (1, 5, 1, F64), (3, 6, 6, F64), (2, 4, 40, F64), (2, 9, 4, F32)):
        mine, theirs = twins(attempt, reference, rng, "WindowedAttention", LAYER | {"window": window}, dtype)
        x = rng.tensor(t, batch, 24, dtype=dtype).transpose(0, 1)
        assert_close(assert_inputs_unchanged(mine, x), theirs(x), **TOLERANCE[dtype])


@check("attention", points=4, needs="test_attention_without_a_cache")
def test_heads_share_keys_in_groups(attempt, reference, rng):
    """query head h uses key and value head h // (H/G), for one group, for several, and for G = H"""
    for heads, groups, width in ((4, 1, 16), (6, 2, 12), (6, 3, 24), (3, 3, 12), (1, 1, 2)):
        sizes = LAYER | {"d_model": width, "n_heads": heads, "n_kv_heads": groups}
        mine, theirs = twins(attempt, reference, rng, "WindowedAttention", sizes)
        x = rng.tensor(2, 5, width, dtype=F64)
        assert_close(mine(x), theirs(x), **EXACT, label=f"H = {heads}, G = {groups}")


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
    for batch, seen, t, window in cases:
        modules = twins(attempt, reference, rng, "WindowedAttention", LAYER | {"window": window})
        for text in ("", ", and of a second text"):
            x, script = rng.tensor(batch, t, 24, dtype=F64), Script(rng, batch, seen, t, window, shuffled)
            other, about = deepcopy(script), f" after {seen} tokens{text}, for T = {t} and W = {window}"
            got = modules[0](x, attempt.run("scripted_cache", seen, script))
            want = modules[1](x, reference.run("scripted_cache", seen, other))
            assert_close(script.came, other.came, **EXACT, label="what append gets" + about)
            assert_close(got, want, **EXACT, label="y" + about)


@check("attention", points=6, needs="test_attention_without_a_cache")
def test_keys_are_cached_rotated(attempt, reference, rng):
    """append gets, once, keys rotated at their absolute positions from cache.seen on, and values as they are"""
    cases = (2, 7, 1, 13), (2, 5, 4, 12), (3, 0, 5, 8), (1, 10**6, 2, 6)
    agree_with_cache(attempt, reference, rng, cases, shuffled=False)


@check("attention", points=6, needs="test_keys_are_cached_rotated")
def test_visible_is_what_the_positions_say(attempt, reference, rng):
    """with a cache y attends to what append returns, in whatever order, as the positions that come with it say"""
    cases = (2, 7, 1, 3), (2, 5, 4, 3), (1, 1, 6, 2), (2, 4, 3, 9), (1, 10**6, 2, 3), (2, 4, 2, 1)
    agree_with_cache(attempt, reference, rng, cases, shuffled=True)


@check("attention", points=2, needs="test_attention_without_a_cache")
def test_large_scores(attempt, reference, rng):
    """scores of ±1e4, at keys that are seen and at keys that are not, give no NaN"""
    mine, theirs = twins(attempt, reference, rng, "WindowedAttention", LAYER)
    x = 60 * rng.tensor(2, 7, 24, dtype=F64)
    assert_close(mine(x), theirs(x), rtol=1e-6, atol=1e-6)


CACHE = {"batch_size": 2, "n_kv_heads": 3, "head_dim": 4}


def caches(sides, window, dtype=F64, **more):
    return [side.RollingKVCache(window=window, **CACHE, dtype=dtype, **more) for side in sides]


def agree_on_streams(attempt, reference, rng, streams, look, dtype=F64, **more):
    """After each append `look(result, side, cache)` is the same on both sides."""
    for window, lengths in streams:
        sides = dict(zip((attempt, reference), caches((attempt, reference), window, dtype, **more), strict=True))
        for step, t in enumerate(lengths):
            new = pair(rng, 2, t, 3, 4, dtype)
            got, want = (look(assert_inputs_unchanged(own.append, *new), side, own) for side, own in sides.items())
            assert_equal(got, want, label=f"with W = {window}, after appends of {list(lengths[: step + 1])}")


def returned(result, _side, _cache):
    return result


def kept(_result, side, cache):
    return side.run("state", cache)


def everything(result, side, cache):
    return result, side.run("state", cache)


@check("cache", points=6)
def test_append_returns_kept_and_new(attempt, reference, rng):
    """append returns what was kept, then all new tokens, oldest first, with positions: also where T is above W"""
    agree_on_streams(attempt, reference, rng, STREAMS, returned)
    agree_on_streams(attempt, reference, rng, STREAMS[2:4], returned, dtype=F32)


@check("cache", points=5)
def test_last_tokens_are_kept(attempt, reference, rng):
    """afterwards exactly the last min(seen, W − 1) tokens are kept, oldest first, and seen counts all"""
    agree_on_streams(attempt, reference, rng, STREAMS, kept)


@check("cache", points=3)
def test_window_of_one_keeps_nothing(attempt, reference, rng):
    """with W = 1 nothing is kept, and append returns the new tokens alone"""
    agree_on_streams(attempt, reference, rng, ((1, (1, 1, 1)), (1, (4, 1, 3))), everything)


@check("cache", points=4, needs="test_last_tokens_are_kept")
def test_prompts_are_let_go(attempt):
    """40 caches that took prompts of 1 MiB and keep 15 tokens of each take under 12 MiB, without storage to spare"""
    # With one row and one head a slice is contiguous, and contiguous() gives it back as it is.
    sizes = {"window": 16, "batch_size": 1, "n_kv_heads": 1, "head_dim": 64}
    tokens, spare = attempt.run("many_prefilled", 2, sizes, 2048)
    assert_equal(tokens, 15, label="tokens kept")
    used = peak_bytes(attempt.run, "many_prefilled", 40, sizes, 2048) / MIB
    told = "too much memory: does what is kept hold on to the prompt's storage?"
    assert_true(used < 12, told, expected="< 12 MiB", got=f"{used:.0f} MiB")
    assert_equal(spare, 0, label="bytes that the storage of keys, values and positions has beyond what is kept")


@check("cache", points=3, needs="test_last_tokens_are_kept")
def test_memory_is_flat(attempt):
    """after 10,000 tokens, 20 MiB of keys and values, a cache with W = 16 takes less than 4 MiB"""
    sizes = {"window": 16, "batch_size": 1, "n_kv_heads": 4, "head_dim": 64}
    assert_equal(attempt.run("many_appended", 3, sizes, 50), 15, label="tokens kept")
    used = peak_bytes(attempt.run, "many_appended", 200, sizes, 50) / MIB
    assert_true(used < 4, "too much memory: what is not forgotten?", expected="< 4 MiB", got=f"{used:.0f} MiB")


@check("cache", points=3, needs="test_append_returns_kept_and_new")
def test_what_is_kept_is_detached(attempt, reference, rng):
    """what is returned carries gradients and stays as it is, what is kept does not; other caches go their own way"""
    mine, theirs = caches((attempt, reference), 4)
    other, _ = caches((attempt, reference), 4)
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
    for layers, window, dtype in ((2, 3, F64), (1, 1, F64), (3, 2, F64), (2, 30, F32)):
        mine, theirs = twins(attempt, reference, rng, "WindowGPT", GPT | {"n_layers": layers, "window": window}, dtype)
        ids = token_ids(rng, 7, 2).T
        assert_close(assert_inputs_unchanged(mine, ids), theirs(ids), **TOLERANCE[dtype])


def assert_pieces(mine, ids, lengths, want, cache, label=""):
    """Fed in pieces of these lengths it gives the logits of one call."""
    for piece, wanted in zip(ids.split(lengths, dim=1), want.split(lengths, dim=1), strict=True):
        assert_close(mine(piece, cache), wanted, **EXACT, label=f"{label}logits, fed in pieces of {list(lengths)}")


@check("generate", points=4, needs="test_logits_without_a_cache")
def test_token_by_token_as_in_one_call(attempt, reference, rng):
    """fed token by token, or a prompt and then tokens, the logits are those of one call"""
    for window, lengths in ((3, [1] * 5), (4, [4, 1, 1]), (3, [6, 1])):
        mine, theirs = twins(attempt, reference, rng, "WindowGPT", GPT | {"window": window})
        ids = token_ids(rng, 2, sum(lengths))
        assert_pieces(mine, ids, lengths, theirs(ids), mine.new_cache(2), f"W = {window}: ")


@check("generate", points=1, needs="test_token_by_token_as_in_one_call")
def test_two_texts_in_turn(attempt, reference, rng):
    """one model goes on with two texts in turn, each with its cache"""
    mine, theirs = twins(attempt, reference, rng, "WindowGPT", GPT)
    texts = [(ids, mine.new_cache(1), theirs(ids)) for ids in (token_ids(rng, 1, 6), token_ids(rng, 1, 4))]
    for piece in (slice(0, 3), slice(3, 4)):
        for ids, cache, want in texts:
            assert_close(mine(ids[:, piece], cache), want[:, piece], **EXACT)


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
        states = [torch.zeros(len(text), dtype=torch.int64)]
        for column in text.T:
            states.append((5 * states[-1] + 3 * column + 1) % 61)
        return self.table[torch.stack(states[1:], dim=1)][:, -ids.shape[1] :]


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


@check("generate", points=4)
def test_every_token_is_fed_once(attempt, reference, rng):
    """with its cache the model is fed the prompt, then each new token once; each call of generate has its own cache"""
    both = models(attempt, reference, rng)
    for batch, t, count in ((2, 5, 4), (2, 5, 2), (3, 1, 6), (1, 4, 1)):
        agree_on_tokens(both, token_ids(rng, batch, t, high=7), count)


@check("generate", points=2)
def test_without_the_cache(attempt, reference, rng):
    """with use_cache=False every call gets the whole sequence and None, whatever chunk_size is"""
    both = models(attempt, reference, rng)
    for kwargs in ({}, {"chunk_size": 2}):
        agree_on_tokens(both, token_ids(rng, 2, 5, high=7), 4, use_cache=False, **kwargs)


@check("generate", points=2)
def test_no_graph_and_nothing_to_do(attempt, reference, rng):
    """the model runs without a graph; 0 new tokens run none; negative numbers and an empty prompt raise ValueError"""
    both, prompt = models(attempt, reference, rng), token_ids(rng, 2, 3, high=7)
    _, model, handle = both[0]
    for use_cache in (True, False):
        agree_on_tokens(both, prompt, 3, use_cache=use_cache)
        assert_true(not model.graph, "the model builds a graph: generate under torch.no_grad()")
    agree_on_tokens(both, prompt, 0)
    calls = len(model.calls)
    for args in ((prompt, -1), (prompt[:, :0], 2)):
        assert_raises(ValueError, attempt.generate, handle, *args)
    assert_equal(len(model.calls), calls, label="calls of the model")


@check("generate", points=3, needs="test_token_by_token_as_in_one_call")
def test_generation_with_your_model(attempt, reference, rng):
    """with your own model tokens are right with and without cache, for prompts below, at and above W"""
    for window, lengths in ((4, (3, 4, 9)), (1, (4,))):
        mine, theirs = twins(attempt, reference, rng, "WindowGPT", GPT | {"window": window})
        for t in lengths:
            prompt = token_ids(rng, 2, t)
            want = reference.generate(theirs, prompt, 5)
            assert_equal(attempt.generate(mine, prompt, 5), want, label=f"W = {window}, a prompt of {t}")
    assert_equal(attempt.generate(mine, prompt, 5, use_cache=False), want)


@check("chunks", points=4)
def test_prompts_are_fed_in_chunks(attempt, reference, rng):
    """the prompt goes in chunks of chunk_size tokens, the rest as the last, new tokens one by one; 0 is a ValueError"""
    both = models(attempt, reference, rng)
    for t, chunk_size in ((7, 3), (9, 4), (4, 4), (3, 8), (5, 1)):
        prompt = token_ids(rng, 2, t, high=7)
        agree_on_tokens(both, prompt, 2, chunk_size=chunk_size)
    for chunk_size, use_cache in ((0, True), (-1, True), (0, False)):
        assert_raises(ValueError, attempt.generate, both[0][2], prompt, 3, use_cache, chunk_size)


@check("chunks", points=4, needs="test_token_by_token_as_in_one_call")
def test_any_pieces_as_in_one_call(attempt, reference, rng):
    """fed in pieces of any length, below and above W and across it, the logits are those of one call"""
    for window in (1, 2, 5):
        mine, theirs = twins(attempt, reference, rng, "WindowGPT", GPT | {"window": window})
        ids = token_ids(rng, 2, 14)
        want = theirs(ids)
        for lengths in ([3, 9, 1, 1], [6, 6, 2], [2, 5, 7]):
            assert_pieces(mine, ids, lengths, want, mine.new_cache(2), f"W = {window}: ")


@check("chunks", points=2, needs="test_any_pieces_as_in_one_call")
def test_chunks_bound_the_memory(attempt, reference, rng):
    """a prompt of 3072 tokens in chunks of 128, with W = 16, takes less than 6 MiB, a token after a million under 4"""
    sizes = {"vocab_size": 5, "d_model": 4, "n_heads": 2, "n_kv_heads": 1, "n_layers": 1, "window": 16}
    mine, theirs = twins(attempt, reference, rng, "WindowGPT", sizes)
    short, long = token_ids(rng, 1, 20, high=5), token_ids(rng, 1, 3072, high=5)
    assert_equal(attempt.generate(mine, short, 2, chunk_size=8), reference.generate(theirs, short, 2))
    used = peak_bytes(attempt.generate, mine, long, 1, chunk_size=128) / MIB
    assert_true(used < 6, "too much memory for one prompt", expected="< 6 MiB", got=f"{used:.0f} MiB")
    layer, _ = twins(attempt, reference, rng, "WindowedAttention", LAYER)
    late = attempt.run("scripted_cache", 10**6, Script(rng, 1, 10**6, 1, 3, shuffled=True))
    used = peak_bytes(keep(layer), rng.tensor(1, 1, 24, dtype=F64), late) / MIB
    told = "too much memory after a million tokens: does a mask or a table go over all that were seen?"
    assert_true(used < 4, told, expected="< 4 MiB", got=f"{used:.0f} MiB")


def assert_ring(got, history, start, window):
    """The tokens within reach, each once with its own position; one older may be among them."""
    is_triple = isinstance(got, tuple) and len(got) == 3 and all(isinstance(part, torch.Tensor) for part in got)
    assert_true(is_triple, "append returns (keys, values, positions)", got=f"of type {type(got).__name__}")
    keys, values, places = got
    assert_equal(places.dtype, torch.int64, label="the dtype of positions")
    stop = history[0].shape[2]
    wanted = list(range(max(start - window + 1, 0), stop))
    older = [start - window] if start >= window and start - window in places.tolist() else []
    assert_equal(sorted(places.flatten().tolist()), older + wanted, label="the positions, sorted")
    for name, part, whole in (("keys", keys, history[0]), ("values", values, history[1])):
        assert_equal(part, whole[:, :, places], label=f"the {name} of the positions {places.tolist()}")


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
            stored = attempt.run("state", mine)
            assert_equal(
                stored, reference.run("state", theirs), label=f"the ring for W = {window}, after {start} tokens"
            )
            graph = any(stored[name].requires_grad for name in ("keys", "values"))
            assert_true(not graph, "the buffers require a gradient: store k.detach() and v.detach()")


@check("ring", points=2, needs="test_ring_writes_to_slots")
def test_ring_copies_only_the_new_token(attempt, rng):
    """one token more, in a ring whose 10,000 slots take 5 MiB for keys and 5 for values, takes less than 2 MiB"""
    mine = attempt.RingKVCache(window=10_000, batch_size=1, n_kv_heads=2, head_dim=64)
    (first, values), (one, value) = pair(rng, 1, 10_007, 2, 64, F32), pair(rng, 1, 1, 2, 64, F32)
    keep(mine.append)(first, values)
    view = keep(mine.append)(one, value).get(0, keep=True)
    assert_equal(view.narrow(2, 6, 3), torch.cat([first[:, :, 10_006:], one, first[:, :, 8:9]], dim=2))
    used = peak_bytes(keep(mine.append), one, value) / MIB
    assert_true(used < 2, "too much memory for one token", expected="< 2 MiB", got=f"{used:.1f} MiB")


@check("ring", points=1, needs="test_ring_writes_to_slots")
def test_model_takes_rings(attempt, reference, rng):
    """with rings as its cache the model gives the logits of one call, for any pieces"""
    for window, lengths in ((3, [1] * 8), (4, [6, 1, 1, 5, 1]), (1, [3, 1, 1])):
        mine, theirs = twins(attempt, reference, rng, "WindowGPT", GPT | {"window": window})
        ids = token_ids(rng, 2, sum(lengths))
        sizes = {"window": window, "batch_size": 2, "n_kv_heads": 2, "head_dim": 6}
        rings = attempt.run("ring_caches", 2, sizes, torch.zeros((), dtype=F64))
        assert_pieces(mine, ids, lengths, theirs(ids), rings, f"W = {window}: ")


@check("sinks", points=2, needs="test_mask_is_a_band")
def test_mask_shows_sinks(attempt, reference, rng):
    """the first n_sinks positions are seen by every query at or behind them, and by none before"""
    for tq, tk, window, sinks in ((7, 7, 2, 3), (5, 9, 3, 1), (4, 6, 1, 2), (5, 5, 2, 9)):
        args = positions(rng, tq, 10), positions(rng, tk, 10), window, sinks
        assert_equal(attempt.sliding_window_mask(*args), reference.sliding_window_mask(*args))


@check("sinks", points=2, needs="test_last_tokens_are_kept")
def test_cache_keeps_sinks(attempt, reference, rng):
    """the rolling cache keeps the first n_sinks tokens beside the last W − 1, each once, oldest first"""
    agree_on_streams(attempt, reference, rng, (*STREAMS[1:3], (1, (2, 3, 1))), everything, n_sinks=1)
    agree_on_streams(attempt, reference, rng, STREAMS[2:4], everything, n_sinks=3)


@check("sinks", points=2, needs="test_mask_shows_sinks")
def test_model_with_sinks(attempt, reference, rng):
    """a model with sinks gives the same logits with its cache, in any pieces, as in one call"""
    for window, sinks, lengths in ((2, 3, [1] * 6), (3, 1, [5, 1, 3]), (1, 2, [4, 1])):
        mine, theirs = twins(attempt, reference, rng, "WindowGPT", GPT | {"window": window, "n_sinks": sinks})
        ids = token_ids(rng, 2, sum(lengths))
        want = theirs(ids)
        assert_close(mine(ids), want, **EXACT)
        assert_pieces(mine, ids, lengths, want, mine.new_cache(2), f"W = {window}, {sinks} sinks: ")
