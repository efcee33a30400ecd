"""The hidden checks. All sizes differ, chunks are ragged, upstream gradients random; memory and time are read outside.

What is right in float64 to 1e-9 is exact: an approximation, or a sum in a narrower type, is not.
"""

import math

import torch

from grader.checking import (
    assert_close,
    assert_inputs_unchanged,
    assert_raises,
    assert_true,
    check,
    cpu_seconds,
    gradients,
    peak_bytes,
)

F32, F64 = torch.float32, torch.float64
EXACT = {"rtol": 1e-9, "atol": 1e-11}
SINGLE = {"rtol": 1e-5, "atol": 1e-6}
# Scores of 1e4 carry their own rounding of 2e-12 into every weight.
LARGE = {"rtol": 1e-7, "atol": 1e-9}
FAR = {"rtol": 1e-4, "atol": 1e-4}  # those of 1e10 one of 2e-6
INF = math.inf

# (B, H, Tq, Tk, d, dv)
DIFFERENT = (2, 3, 5, 7, 4, 6)
SQUARE = (2, 3, 6, 6, 4, 5)
FEW_QUERIES = (2, 3, 5, 9, 4, 6)  # as many as in DIFFERENT, for more keys
FEW_KEYS = (2, 3, 7, 4, 5, 2)
ONE_QUERY = (1, 2, 1, 5, 3, 2)
ONE_KEY = (2, 3, 5, 1, 4, 1)
ALL_ONE = (1, 1, 1, 1, 1, 1)
CHUNKS = (1, 3, 5, 1000)


def qkv(rng, sizes, dtype=F64):
    """Random q, k, v."""
    b, h, tq, tk, d, dv = sizes
    shapes = {"q": (tq, d), "k": (tk, d), "v": (tk, dv)}
    return {name: rng.tensor(b, h, *shape, dtype=dtype) for name, shape in shapes.items()}


def strided_qkv(rng, sizes, dtype=F64):
    """The same, q and v stored as [B, T, H, channels] and k as [B, H, channels, T]: not contiguous."""
    stored, inputs = {"q": (1, 2), "k": (2, 3), "v": (1, 2)}, qkv(rng, sizes, dtype)
    return {name: x.transpose(*stored[name]).contiguous().transpose(*stored[name]) for name, x in inputs.items()}


def with_offsets(rng, sizes, query, key):
    """q, k, v whose last channel adds query[i]·key[j] to the score of i and j."""
    inputs = qkv(rng, sizes)
    inputs["q"][..., -1] = math.sqrt(sizes[4]) * torch.as_tensor(query, dtype=F64)
    inputs["k"][..., -1] = torch.as_tensor(key, dtype=F64)
    return inputs


def open_mask(rng, *shape):
    """A random mask in which every query sees the last key and none sees the first."""
    mask = torch.from_numpy(rng.random(shape) < 0.6)
    mask[..., -1] = True
    mask[..., 0] = False
    return mask


def assert_pair(got, want, *, about="", lse=None, **tolerance):
    """(out, lse), or (o, lse); the tolerance of lse may be another."""
    is_pair = type(got) is tuple and len(got) == 2
    assert_true(is_pair, "it returns a plain tuple of two", expected="(out, lse)", got=f"of type {type(got).__name__}")
    assert_close(got[0], want[0], label="out" + about, **tolerance)
    assert_close(got[1], want[1], label="lse" + about, **(lse or tolerance))


def assert_attention(attempt, reference, inputs, chunks, tolerance=EXACT, **options):
    """Both results for all these chunk sizes, and no input modified."""
    want = reference.chunked_attention(**inputs, chunk_size=max(chunks), **options)
    for size in chunks:
        got = assert_inputs_unchanged(attempt.chunked_attention, **inputs, chunk_size=size, **options)
        assert_pair(got, want, about=f" for chunk_size={size}", **tolerance)


@check("logsumexp", points=5)
def test_logsumexp_of_ragged_chunks(attempt, reference, rng):
    """streaming_logsumexp of a list or tuple of chunks of any widths, in float32 and float64, which it leaves alone"""
    for shape, widths in (((), [3, 1, 4]), ((4,), [2, 2, 2]), ((2, 3), [1, 5, 2, 1]), ((3, 1), [6]), ((1,), [1, 1])):
        x = 3 * rng.tensor(*shape, sum(widths), dtype=F64)
        chunks = x.split(widths, -1)
        for given in (chunks, list(chunks)):
            assert_close(assert_inputs_unchanged(attempt.streaming_logsumexp, given), x.logsumexp(-1), **EXACT)
        single = [chunk.to(F32) for chunk in chunks]
        assert_close(attempt.streaming_logsumexp(single), reference.streaming_logsumexp(single), **SINGLE)
    assert_raises(ValueError, attempt.streaming_logsumexp, [])


@check("logsumexp", points=3, needs="test_logsumexp_of_ragged_chunks")
def test_logsumexp_of_extreme_values(attempt, rng):
    """it is exact for entries of ±1e4, whether the larger chunks come first or last"""
    for offsets in ((1e4, 0.0, -1e4), (-1e4, 0.0, 1e4), (-1e4, -1e4 - 3, -1e4 + 2), (1e4, 1e4, 1e4), (-900.0, -800.0)):
        chunks = [rng.tensor(2, 3, width, dtype=F64) + offset for width, offset in enumerate(offsets, 1)]
        assert_close(attempt.streaming_logsumexp(chunks), torch.cat(chunks, -1).logsumexp(-1), rtol=1e-13, atol=1e-11)


@check("logsumexp", points=3, needs="test_logsumexp_of_ragged_chunks")
def test_logsumexp_of_minus_infinity(attempt, rng):
    """chunks of nothing but −inf, first, last or all of them, count as nothing and make no NaN"""
    for hidden in ((True, False, False), (False, True, True), (True, True, False), (True, True, True)):
        chunks = [rng.tensor(3, 4, dtype=F64) - 50 for _ in hidden]
        for chunk, all_hidden in zip(chunks, hidden, strict=True):
            chunk[1, 2] = -INF
            chunk[2 if all_hidden else 1, :3] = -INF
            chunk[0] = -INF if all_hidden else chunk[0]
            chunk[2] = -INF if all(hidden) else chunk[2]
        assert_close(attempt.streaming_logsumexp(chunks), torch.cat(chunks, -1).logsumexp(-1), **EXACT)


@check("logsumexp", points=3, needs="test_logsumexp_of_ragged_chunks")
def test_logsumexp_streams(attempt, reference):
    """chunks come from a generator, read once; with 64 of them the memory is that of at most 20"""
    for sizes in ((3, 4, 5), (3, 4, 1), (128, 256, 64)):
        stream, want = (module.run("stream_of", *sizes) for module in (attempt, reference))
        assert_close(stream(), want(), **SINGLE)
    held = peak_bytes(stream) / (4 * 128 * 256)
    assert_true(held <= 20, "too much memory: are all chunks kept?", expected="≤ 20 chunks", got=f"{held:.1f} chunks")
    assert_raises(ValueError, attempt.run("stream_of", 3, 4, 0))


@check("attention", points=5)
def test_attention_in_chunks_that_divide(attempt, reference, rng):
    """out is softmax(q kᵀ/√d) v and lse the logsumexp of the scaled scores, in one chunk and in several equal ones"""
    for sizes, chunks in (((2, 3, 4, 6, 4, 4), (6, 3, 2)), ((1, 2, 3, 8, 2, 5), (8, 4, 2, 1))):
        assert_attention(attempt, reference, qkv(rng, sizes), chunks)


@check("attention", points=6, needs="test_attention_in_chunks_that_divide")
def test_chunks_may_be_ragged(attempt, reference, rng):
    """the result is the same for every chunk_size, dividing Tk or not, above it too, at all sizes; 0 is a ValueError"""
    for sizes in (DIFFERENT, ONE_QUERY, ONE_KEY, ALL_ONE):
        assert_attention(attempt, reference, qkv(rng, sizes), CHUNKS)
    for sizes in (DIFFERENT, FEW_KEYS):
        assert_attention(attempt, reference, strided_qkv(rng, sizes), CHUNKS)
    for size in (0, -1, -3):
        assert_raises(ValueError, attempt.chunked_attention, **qkv(rng, DIFFERENT), chunk_size=size)


@check("attention", points=4, needs="test_attention_in_chunks_that_divide")
def test_attention_at_extreme_scores(attempt, reference, rng):
    """both are exact for scores of ±1e4: rising and falling from chunk to chunk, huge, and all far below 0"""
    rise, signs = torch.linspace(-1.0, 1.0, 7), torch.tensor([1e4, -1e4, 1.0, 0.0, 300.0])
    for query, key in ((1e4, rise), (1e4, -rise), (1e4, 1.0), (1e4, -1.0), (1e6, rise - 2), (signs, 1.0)):
        assert_attention(attempt, reference, with_offsets(rng, DIFFERENT, query, key), (1, 3, 7), LARGE)


def half_cases(rng):
    """Many keys, and scores beyond the largest float16, each with what out may be off by."""
    many, far = qkv(rng, (1, 2, 3, 301, 4, 5)), qkv(rng, (1, 2, 3, 9, 4, 5))
    # Whole numbers, whose products and sums are exact in float32; the last channel adds 40,000 to all scores, so that
    # an lse in float32 is exact to 0.002 only, and so is what is normalised by it.
    far |= {name: far[name].round() for name in "qk"}
    far["q"][..., -1], far["k"][..., -1] = 320.0, 250.0
    for dtype, ulp in ((torch.float16, 1e-3), (torch.bfloat16, 8e-3)):
        for inputs, rtol in ((many, ulp), (far, 0.02)):
            inputs = inputs | {"v": 20_000 + 5_000 * inputs["v"]}  # a sum of them exceeds float16
            yield {name: x.to(dtype) for name, x in inputs.items()}, {"rtol": rtol, "atol": 1e-6}


@check("attention", points=3, needs="test_chunks_may_be_ragged")
def test_attention_keeps_dtypes(attempt, reference, rng):
    """float32 and half inputs: out in q's dtype, lse in float32; half ones are computed in float32 and rounded once"""
    assert_attention(attempt, reference, qkv(rng, DIFFERENT, F32), CHUNKS, SINGLE)
    for inputs, tolerance in half_cases(rng):
        for size in (5, 100):
            got, want = (module.chunked_attention(**inputs, chunk_size=size) for module in (attempt, reference))
            assert_pair(got, want, lse=SINGLE, **tolerance)


@check("attention", points=2, needs="test_chunks_may_be_ragged")
def test_attention_remembers_nothing(attempt, reference, rng):
    """a second call with other content in the same tensors is right, and leaves the first result alone"""
    first, second = (tuple(qkv(rng, DIFFERENT).values()) for _ in range(2))
    got = attempt.run("attend_twice", "chunked_attention", first, second, {"chunk_size": 3})
    for which, pair, inputs in zip(("first", "second"), got, (first, second), strict=True):
        assert_pair(pair, reference.chunked_attention(*inputs, chunk_size=3), about=f" of the {which} call", **EXACT)


def assert_lean(attempt, reference, probe, sizes, chunk_size, causal, most=0.5):
    """Its results are right, and a call's peak is at most this share of what the float32 scores would take."""
    few = (sizes[0], 2 * chunk_size, sizes[2])
    (short, _), (step, want) = (
        [module.run(probe, size, chunk_size, causal) for module in (attempt, reference)] for size in (few, sizes)
    )
    peak_bytes(short)  # what is used for the first time comes in
    share = peak_bytes(step) / (4 * sizes[0] * sizes[1])
    want()
    assert_close(attempt.run("result_of", step), reference.run("result_of", want), **SINGLE)
    told = "too much memory, for one of size Tq × Tk: what is made or kept?"
    assert_true(share <= most, told, expected=f"≤ {most} times the scores' bytes", got=f"{share:.2f} times")


# Whatever is of size Tq × c or Tq × d takes 64 KiB or more, so that it is mapped: see `_filler` in probes.py.
@check("attention", points=5, needs="test_chunks_may_be_ragged")
def test_attention_never_holds_the_scores(attempt, reference):
    """the peak memory is at most half of what the score matrix takes: for many queries, and for one alone"""
    assert_lean(attempt, reference, "forward_of", (2048, 512, 8), 16, False)
    assert_lean(attempt, reference, "forward_of", (1, 2**19, 1), 2**14, False)


def least_cpu(module, inputs):
    """The least CPU seconds of three calls."""
    return min(cpu_seconds(module.chunked_attention, **inputs, chunk_size=4) for _ in range(3))


@check("attention", points=2, needs="test_chunks_may_be_ragged")
def test_attention_loops_over_chunks_alone(attempt, reference, rng):
    """it takes at most 4 times the CPU time of a plain loop over chunks: none over queries, heads or batch"""
    confined = reference.confined()
    for sizes in ((1, 1, 32, 160, 4, 4), (20, 20, 1, 160, 2, 2)):
        inputs = qkv(rng, sizes, F32)
        assert_attention(attempt, reference, inputs, (4,), SINGLE)
        ratio = least_cpu(attempt, inputs) / least_cpu(confined, inputs)
        assert_true(ratio <= 4, "too slow: loop over chunks alone", expected="≤ 4×", got=f"{ratio:.1f}×")


@check("causal", points=4, needs="test_chunks_may_be_ragged")
def test_causal_square(attempt, reference, rng):
    """with Tq = Tk query i sees the keys up to i, itself included, in every chunk"""
    for sizes in (SQUARE, ALL_ONE):
        assert_attention(attempt, reference, qkv(rng, sizes), CHUNKS, causal=True)


@check("causal", points=6, needs="test_causal_square")
def test_causal_with_fewer_queries(attempt, reference, rng):
    """with Tq < Tk the last query sees all keys, the first those up to Tk − Tq; no Tq × Tk mask is made"""
    for sizes in (DIFFERENT, FEW_QUERIES, ONE_QUERY):
        assert_attention(attempt, reference, strided_qkv(rng, sizes), CHUNKS, causal=True)
    for key in (torch.linspace(-1, 1, 7), -1.0, torch.linspace(-3, -1, 7)):
        assert_attention(attempt, reference, with_offsets(rng, DIFFERENT, 1e4, key), (1, 3, 7), LARGE, causal=True)
    assert_lean(attempt, reference, "forward_of", (1024, 1536, 8), 32, True, 0.25)  # that of a bool mask


@check("causal", points=5, needs="test_causal_square")
def test_causal_with_more_queries(attempt, reference, rng):
    """with Tq > Tk the first Tq − Tk queries see no key: out 0 and lse −inf, not NaN"""
    for sizes in (FEW_KEYS, ONE_KEY):
        assert_attention(attempt, reference, qkv(rng, sizes), CHUNKS, causal=True)
        assert_attention(attempt, reference, qkv(rng, sizes, F32), (2,), SINGLE, causal=True)


@check("mask", points=4, needs="test_chunks_may_be_ragged")
def test_mask_true_keeps_and_broadcasts(attempt, reference, rng):
    """a True lets a query see a key; every shape that broadcasts to [B, H, Tq, Tk] works, cut into chunks"""
    masks = [open_mask(rng, *shape) for shape in ((7,), (5, 7), (3, 1, 7), (2, 1, 1, 7), (1, 3, 5, 7), (2, 3, 5, 7))]
    column = torch.tensor([True, False, True, True, False])[:, None]
    for mask in (*masks, column, column.repeat(3, 1, 1), torch.tensor([True]), torch.tensor([[False]])):
        assert_attention(attempt, reference, qkv(rng, DIFFERENT), CHUNKS, mask=mask)


@check("mask", points=6, needs="test_mask_true_keeps_and_broadcasts")
def test_chunks_and_queries_may_be_hidden(attempt, reference, rng):
    """left padding: where the first chunks are hidden, later ones count in full; with no key at all: out 0, lse −inf"""
    left = torch.arange(7) >= torch.tensor([0, 3, 7, 5, 6])[:, None]
    items = torch.arange(7) >= torch.tensor([6, 2])[:, None, None, None]
    for mask in (left, left.flip(1), left & items, torch.zeros(7, dtype=torch.bool)):
        assert_attention(attempt, reference, strided_qkv(rng, DIFFERENT), CHUNKS, mask=mask)
        assert_attention(attempt, reference, qkv(rng, DIFFERENT, F32), (3,), SINGLE, mask=mask)
        below = with_offsets(rng, DIFFERENT, 1e10, -1.0)
        assert_attention(attempt, reference, below, (1, 3), FAR, mask=mask)


@check("mask", points=4, needs="test_chunks_and_queries_may_be_hidden")
def test_mask_and_causal_together(attempt, reference, rng):
    """with causal=True a key is seen only where both allow it; hidden keys may have the largest scores and values"""
    for sizes in (DIFFERENT, FEW_KEYS, SQUARE):
        hidden = qkv(rng, sizes)
        for mask in (open_mask(rng, *sizes[2:4]), open_mask(rng, sizes[0], 1, 1, sizes[3])):
            hidden["k"][:, :, 0] *= 1e4
            hidden["v"][:, :, 0] = 1e30
            assert_attention(attempt, reference, hidden, CHUNKS, mask=mask, causal=True)


def partial(module, inputs, start, stop):
    """The attention over the keys from start to stop."""
    k, v = (inputs[name][:, :, start:stop] for name in "kv")
    return module.chunked_attention(inputs["q"], k, v, chunk_size=100)


@check("merge", points=4)
def test_merged_partials_are_the_whole(attempt, reference, rng):
    """the results over two disjoint sets of keys merge to that over both, in either order, and go on merging"""
    for cut, dtype, tolerance in ((3, F64, EXACT), (1, F64, EXACT), (6, F32, SINGLE)):
        inputs = qkv(rng, (2, 3, 5, 9, 4, 6), dtype)
        first, second, third = (partial(reference, inputs, *span) for span in ((0, cut), (cut, 7), (7, 9)))
        both = partial(reference, inputs, 0, 7)
        for parts in ((first, second), (second, first)):
            merged = assert_inputs_unchanged(attempt.merge_partials, *parts[0], *parts[1])
            assert_pair(merged, both, **tolerance)
        assert_pair(attempt.merge_partials(*third, *merged), partial(reference, inputs, 0, 9), **tolerance)
    for shape in ((), (1,), (4,)):
        o1, o2, lse1, lse2 = (rng.tensor(*size, dtype=F64) for size in ((*shape, 3), (*shape, 3), shape, shape))
        assert_pair(attempt.merge_partials(o1, lse1, o2, lse2), reference.merge_partials(o1, lse1, o2, lse2), **EXACT)


@check("merge", points=3, needs="test_merged_partials_are_the_whole")
def test_merge_at_extreme_lse(attempt, reference, rng):
    """lse of ±1e4, alike or far apart, is merged exactly"""
    offsets = torch.tensor([[1e4, 1e4], [-1e4, -1e4], [1e4, -1e4], [-1e4, 1e4], [700.0, 750.0], [0.0, -800.0]]).T
    o1, o2 = rng.tensor(2, 3, 6, 4, dtype=F64)
    lse1, lse2 = rng.tensor(2, 3, 6, dtype=F64) + offsets[:, None]
    assert_pair(attempt.merge_partials(o1, lse1, o2, lse2), reference.merge_partials(o1, lse1, o2, lse2), **EXACT)


@check("merge", points=4, needs="test_merged_partials_are_the_whole")
def test_merge_with_a_part_that_saw_nothing(attempt, reference, rng):
    """beside lse = −inf the other part is the result, whatever that o holds; where both are −inf: 0 and −inf"""
    for dtype, tolerance in ((F64, EXACT), (F32, SINGLE)):
        o1, o2 = rng.tensor(2, 3, 5, 4, dtype=dtype)
        lse1, lse2 = rng.tensor(2, 3, 5, dtype=dtype)
        lse1[:, 0] = lse1[0, 1] = lse2[0, 2] = lse2[:, 3] = lse1[:, 4] = lse2[:, 4] = -INF
        got = assert_inputs_unchanged(attempt.merge_partials, o1, lse1, o2, lse2)
        assert_pair(got, reference.merge_partials(o1, lse1, o2, lse2), **tolerance)


def assert_gradients(attempt, reference, rng, inputs, chunks, tolerance=EXACT, wrt="qkv", **options):
    """out, and a random upstream gradient's way back to those of q, k and v that require one."""
    inputs = {name: x.detach().requires_grad_(name in wrt) for name, x in inputs.items()}
    upstream = rng.tensor(*inputs["q"].shape[:3], inputs["v"].shape[3], dtype=inputs["q"].dtype)

    def passes(module, size):
        kwargs = inputs | options | {"chunk_size": size}
        return gradients(module.recomputing_attention, kwargs, wrt=tuple(wrt), upstream=upstream)

    want = passes(reference, max(chunks))
    for size in chunks:
        got, about = passes(attempt, size), f" for chunk_size={size}"
        assert_close(got[0], want[0], label="out" + about, **tolerance)
        for name in wrt:
            assert_close(got[1][name], want[1][name], label=f"d{name}{about}", **tolerance)


@check("recompute", points=4, needs="test_chunks_may_be_ragged")
def test_gradients_at_all_sizes(attempt, reference, rng):
    """out and the gradients of q, k and v, of all or of some, are right for every chunk_size; 0 is a ValueError"""
    for sizes in (DIFFERENT, FEW_KEYS, ONE_KEY):
        assert_gradients(attempt, reference, rng, strided_qkv(rng, sizes), (1, 3, 7, 1000))
    assert_gradients(attempt, reference, rng, qkv(rng, ALL_ONE), (1, 2))
    assert_gradients(attempt, reference, rng, qkv(rng, DIFFERENT, F32), (3,), {"rtol": 1e-4, "atol": 1e-5})
    for wrt in ("q", "k", "v", "qv"):
        assert_gradients(attempt, reference, rng, qkv(rng, DIFFERENT), (3,), wrt=wrt)
    assert_raises(ValueError, attempt.recomputing_attention, **qkv(rng, DIFFERENT), chunk_size=0)


@check("recompute", points=4, needs="test_gradients_at_all_sizes")
def test_gradients_under_masks(attempt, reference, rng):
    """they are right under causal and under a mask, alone and together, with hidden chunks and hidden queries"""
    for sizes in (DIFFERENT, FEW_KEYS, SQUARE):
        assert_gradients(attempt, reference, rng, qkv(rng, sizes), (1, 3, 1000), causal=True)
    rows = open_mask(rng, 5, 7)
    rows[[0, 3]] = False
    for mask in (open_mask(rng, 2, 1, 1, 7), rows, rows[:, -1:], torch.zeros(7, dtype=torch.bool)):
        inputs = qkv(rng, DIFFERENT)
        assert_gradients(attempt, reference, rng, inputs, (1, 3, 1000), mask=mask)
        assert_gradients(attempt, reference, rng, inputs, (2,), mask=mask, causal=True)


@check("recompute", points=2, needs="test_gradients_under_masks")
def test_gradients_at_extreme_scores(attempt, reference, rng):
    """they are exact for scores of ±1e4, and where a hidden key has by far the largest score"""
    high, low = torch.tensor([1.0, 1, 1, -1, -1, 1, 1]), -torch.ones(7)
    for key, options in (
        (low, {}),
        (high, {}),
        (-high, {"causal": True}),
        (high.flip(0), {"mask": open_mask(rng, 5, 7)}),
    ):
        inputs = with_offsets(rng, DIFFERENT, 100.0, 100.0 * key)
        assert_gradients(attempt, reference, rng, inputs, (2, 7), {"rtol": 1e-7, "atol": 1e-7}, **options)


@check("recompute", points=4, needs="test_gradients_under_masks")
def test_graphs_keep_their_own_tensors(attempt, reference, rng):
    """several graphs at once, each walked twice; a strided upstream gradient; RuntimeError after changing an input"""
    cases, mask = [tuple(qkv(rng, DIFFERENT).values()) for _ in range(2)], open_mask(rng, 5, 7)
    douts = [rng.tensor(2, 3, 5, 6, dtype=F64) for _ in range(2)]
    plans = {
        "interleaved_gradients": (cases, douts),
        "strided_upstream": (cases[0],),
        "attend_twice": ("recomputing_attention", *cases),
    }
    for probe, args in plans.items():
        got, want = (module.run(probe, *args, {"chunk_size": 3, "mask": mask}) for module in (attempt, reference))
        assert_close(got, want, label=probe, **EXACT)
    for which in range(4):
        assert_raises(RuntimeError, attempt.run, "changed_in_between", (*cases[0], mask), which, {"chunk_size": 3})


@check("recompute", points=5, needs="test_gradients_under_masks")
def test_training_never_holds_the_scores(attempt, reference):
    """forward and backward pass together have a peak of at most half of what the score matrix takes"""
    assert_lean(attempt, reference, "training_of", (2048, 768, 8), 32, True)
