"""The hidden checks. Sizes differ wherever axes could be mixed up, and agree where a wrong broadcast would then pass.

Tables are made here, not by the attempt, so that a wrong angle costs the part of the angles alone.
"""

from copy import deepcopy

import numpy as np
import torch
from torch import arange

from grader.checking import (
    assert_close,
    assert_distribution,
    assert_equal,
    assert_inputs_unchanged,
    assert_raises,
    assert_true,
    check,
    cpu_seconds,
    fetch,
    gradients,
    keep,
    peak_bytes,
)

F32, F64 = torch.float32, torch.float64
SAME = {"rtol": 0, "atol": 0}
EXACT = {"rtol": 1e-9, "atol": 1e-12}
SINGLE = {"rtol": 1e-5, "atol": 1e-6}
# An angle of 64 in float32, whichever way it is computed, is off by 6e-6 or less.
ANGLES = {"rtol": 0, "atol": 2e-5}
CLOSE = {F32: SINGLE, F64: EXACT}


def integers(rng, low, high, *shape, dtype=torch.int64):
    return torch.from_numpy(rng.integers(low, high, size=shape)).to(dtype)


def tables(rng, *shape):
    """Random cos and sin, float32: of no particular angles."""
    angles = 3 * rng.tensor(*shape)
    return angles.cos().to(F32), angles.sin().to(F32)


def rope_case(rng, b, h, t, hd, dtype=F64, rows=False):
    cos, sin = tables(rng, *((b,) if rows else ()), t, hd // 2)
    return {"x": rng.tensor(b, h, t, hd, dtype=dtype), "cos": cos, "sin": sin}


def strided(x):
    """The same numbers, stored as [B, T, H, hd]: what splitting heads leaves."""
    return x.transpose(1, 2).contiguous().transpose(1, 2)


def agree(attempt, reference, name, *args, close=ANGLES, **options):
    """The attempt's function leaves its inputs and returns what the reference's does."""
    got = assert_inputs_unchanged(getattr(attempt, name), *args, **options)
    assert_close(got, getattr(reference, name)(*args, **options), label=name, **close)


def assert_far_angles(got, want):
    """At position 4095 float32 itself is off by 4e-4, at most; half precision by 1 and more."""
    worst = float((got - want).abs().max())
    assert_true(worst <= 3e-3, "far from 0 the angles are wrong", expected="within 0.003", got=f"off by {worst:.2g}")


def assert_new_each_time(function, *args, entry=None):
    """What the caller writes into a result does not come back in the next one."""
    first = keep(function)(*args)
    tensor = first if entry is None else first.get(entry, keep=True)
    before = fetch(tensor)
    tensor.mul_(0.0)
    again = function(*args)
    assert_equal(again if entry is None else again[entry], before, label="after the caller wrote into the first result")


@check("sinusoidal", points=5)
def test_sin_and_cos_alternate(attempt, reference):
    """column 2i is sin(p·base^(−2i/d)), column 2i + 1 its cos, from position 0, for any base"""
    for length, d, options in ((5, 8, {}), (9, 4, {"base": 100.0}), (1, 2, {}), (64, 12, {"base": 500.0}), (3, 2, {})):
        agree(attempt, reference, "sinusoidal_positions", length, d, **options)


@check("sinusoidal", points=2)
def test_odd_widths(attempt, reference):
    """an odd d ends with a sin; d = 1 and length 0 work too"""
    for length, d, base in ((6, 5, 10000.0), (4, 7, 30.0), (4, 1, 10000.0), (9, 3, 100.0), (0, 5, 10.0), (0, 4, 10.0)):
        agree(attempt, reference, "sinusoidal_positions", length, d, base)


@check("sinusoidal", points=4)
def test_add_positions(attempt, reference, rng):
    """x plus the rows from start on, unscaled, the same for each row of the batch, in x's dtype"""
    for shape, dtype in (((2, 5, 6), F32), ((4, 4, 4), F32), ((3, 1, 7), F64), ((1, 6, 2), F64), ((5, 3, 9), F32)):
        x = (1e6 if dtype is F64 else 1.0) * rng.tensor(*shape, dtype=dtype)  # in float32 it would lose digits
        for options in ({}, {"start": 3}, {"start": 40, "base": 50.0}, {"start": 40, "base": 7.0}):
            for stored in (x, x.mT.contiguous().mT):
                agree(attempt, reference, "add_positions", stored, **options)


@check("sinusoidal", points=3, needs="test_sin_and_cos_alternate")
def test_sinusoidal_tables_stay_apart(attempt, reference):
    """far rows, up to 6000, keep their angles; a table is new each time, whatever was asked before"""
    cases = [(4096, 16, 10000.0), (6, 8, 10000.0), (6, 8, 20.0), (4, 8, 20.0), (6, 4, 20.0), (6, 8, 10000.0)]
    for case in cases:
        got, want = attempt.sinusoidal_positions(*case), reference.sinusoidal_positions(*case)
        assert_close(got[:64], want[:64], **ANGLES)
        assert_equal(got.shape, want.shape)
        assert_far_angles(got, want)
    far = (torch.zeros(1, 3, 8), 6000)
    assert_far_angles(attempt.add_positions(*far), reference.add_positions(*far))
    assert_new_each_time(attempt.sinusoidal_positions, 6, 8)


@check("tables", points=6)
def test_angles_of_each_pair(attempt, reference, rng):
    """cos and sin of m·base^(−2i/hd) for i < hd/2, in this order, each [..., T, hd/2]"""
    for shape, head_dim, options in (((5,), 8, {}), ((2, 7), 6, {"base": 100.0}), ((3,), 2, {}), ((1,), 4, {})):
        agree(attempt, reference, "rope_cos_sin", integers(rng, 0, 64, *shape), head_dim, **options)
    agree(attempt, reference, "rope_cos_sin", arange(64), 12, base=500000.0)


@check("tables", points=4)
def test_any_positions(attempt, reference, rng):
    """positions in any order, negative, fractional, of every dtype, with any number of axes or none at all"""
    for positions in (
        integers(rng, -60, 60, 6),
        integers(rng, -60, 60, 2, 3, 4, dtype=torch.int32),
        60 * rng.tensor(5, dtype=F32).tanh(),
        60 * rng.tensor(3, 5, dtype=F64).tanh(),
        arange(30, 40).view(2, 5).T,
        arange(0, 20, 3).flip(0),
        torch.zeros(0, dtype=torch.int64),
        torch.zeros(2, 0),
    ):
        agree(attempt, reference, "rope_cos_sin", positions, 8, base=200.0)


@check("tables", points=4, needs="test_angles_of_each_pair")
def test_far_positions(attempt, reference, rng):
    """at position 4095 the angles are still those of float32; a table is new each time, whatever was asked before"""
    for positions in (arange(4000, 4096), -integers(rng, 4000, 4096, 2, 9).to(torch.int32)):
        for options in ({}, {"base": 100.0}, {"base": 500000.0}):
            got, want = (module.rope_cos_sin(positions, 16, **options) for module in (attempt, reference))
            assert_equal([x.shape for x in got], [x.shape for x in want])
            assert_far_angles(torch.stack(got), torch.stack(want))
    for entry in (0, 1):
        assert_new_each_time(attempt.rope_cos_sin, arange(6), 8, entry=entry)
    # A table serves as positions, as it is over there and can change between two calls.
    moving = keep(attempt.rope_cos_sin)(arange(6), 8).get(0, keep=True)
    for _ in range(2):
        assert_close(attempt.rope_cos_sin(moving, 8), reference.rope_cos_sin(fetch(moving), 8), **ANGLES)
        moving.add_(7.0)


@check("tables", points=1)
def test_odd_head_dims_are_refused(attempt):
    """an odd head_dim raises ValueError"""
    for head_dim in (1, 3, 7):
        assert_raises(ValueError, attempt.rope_cos_sin, arange(4), head_dim)


def turns_alike(attempt, reference, case):
    agree(attempt, reference, "apply_rope", **case, close=CLOSE[case["x"].dtype])


@check("rope", points=8)
def test_halves_are_turned(attempt, reference, rng):
    """pair i is the channels (i, i + hd/2), and becomes (a·cos − b·sin, a·sin + b·cos)"""
    for sizes in ((1, 1, 2, 4), (2, 3, 5, 8), (3, 4, 1, 6), (2, 1, 7, 2)):
        turns_alike(attempt, reference, rope_case(rng, *sizes, dtype=F32))
        turns_alike(attempt, reference, rope_case(rng, *sizes))


@check("rope", points=4, needs="test_halves_are_turned")
def test_tables_belong_to_the_time_axis(attempt, reference, rng):
    """the table's rows are positions, also where H = T or B = T; x may be non-contiguous, and stays as it was"""
    for sizes in ((2, 5, 5, 4), (5, 2, 5, 4), (4, 4, 4, 8), (2, 4, 3, 8)):
        case = rope_case(rng, *sizes)
        turns_alike(attempt, reference, case | {"x": strided(case["x"])})
        turned = {name: case[name].T.contiguous().T for name in ("cos", "sin")}
        turns_alike(attempt, reference, case | turned | {"x": case["x"].mT.contiguous().mT})


@check("rope", points=4, needs="test_halves_are_turned")
def test_gradient_turns_back(attempt, reference, rng):
    """the gradient of x is the upstream gradient turned the other way"""
    for sizes in ((2, 3, 5, 8), (3, 3, 4, 6)):
        case, twin = rope_case(rng, *sizes), deepcopy(rng)
        _, got = gradients(attempt.apply_rope, case, wrt=("x",), upstream=rng)
        _, want = gradients(reference.apply_rope, case, wrt=("x",), upstream=twin)
        assert_close(got["x"], want["x"], label="gradient of x", **EXACT)


@check("rope", points=4, needs="test_halves_are_turned")
def test_half_precision_is_rounded_once(attempt, reference, rng):
    """a float16 or bfloat16 x comes back as such, as exact as that dtype allows: the tables keep their digits"""
    # Numbers of so few bits that float32 makes no error, whatever the order of operations, and of too many for x's
    # dtype.
    for dtype, bits in ((torch.bfloat16, 7), (torch.float16, 10)):
        x = integers(rng, 2**bits, 2 ** (bits + 1), 2, 3, 5, 8) * (2 * integers(rng, 0, 2, 2, 3, 5, 8) - 1)
        cos, sin = ((2 * integers(rng, 1024, 2048, 5, 4) + 1).to(F32) / 4096 for _ in range(2))
        case = {"x": (x / 2**bits).to(dtype), "cos": cos, "sin": sin}
        agree(attempt, reference, "apply_rope", **case, close=SAME)


def seconds(function, case):
    return min(cpu_seconds(keep(function), **case) for _ in range(3))


@check("rope", points=4, needs="test_halves_are_turned")
def test_rope_is_vectorised(attempt, reference, rng):
    """at T = 4096 it takes no more than 10 times the CPU time of one array expression, and 20 MiB"""
    case = rope_case(rng, 1, 1, 4096, 64, dtype=F32)
    confined = reference.confined()
    turns_alike(attempt, reference, case)
    confined.apply_rope(**case)
    ratio = seconds(attempt.apply_rope, case) / seconds(confined.apply_rope, case)
    assert_true(ratio <= 10, "too slow: turn all positions at once", expected="≤ 10×", got=f"{ratio:.0f}×")
    mib = peak_bytes(keep(attempt.apply_rope), **case) / 2**20
    assert_true(mib <= 20, "too much memory: no matrix for each position", expected="≤ 20 MiB", got=f"{mib:.0f} MiB")


def distinct_logits(rng, rows, size, dtype=F64):
    """Logits in random order, 0.3 or more apart."""
    ranks = rng.permuted(np.tile(np.arange(size), (rows, 1)), axis=1)
    return torch.from_numpy(ranks * 0.5 + rng.uniform(0, 0.2, size=ranks.shape)).to(dtype)


@check("decoding", points=4)
def test_greedy_takes_the_lowest_of_equals(attempt, reference, rng):
    """greedy is the id of the largest logit of each row, int64; of equal ones the lowest; −inf never"""
    tied = torch.tensor([[1.0, 3.0, 3.0, 3.0], [0.0, 0.0, 0.0, 0.0], [-2.0, -5.0, -9.0, -2.0]])
    masked = distinct_logits(rng, 5, 6).masked_fill(integers(rng, 0, 2, 5, 6, dtype=torch.bool), -torch.inf)
    masked[:, 2] = -3.0
    square = distinct_logits(rng, 4, 4)
    long_row = torch.zeros(1, 300)
    long_row[0, [17, 211]] = 1.0
    near = 1.0 + 1e-12 * distinct_logits(rng, 3, 7)
    plain = (distinct_logits(rng, 3, 7, F32), square, square.T, -1e4 * square, square[:, :1])
    for logits in (*plain, tied, masked, near, 1e-30 * square, long_row):
        agree(attempt, reference, "greedy", logits, close=SAME)


@check("decoding", points=5)
def test_temperature_divides(attempt, reference, rng):
    """temperature_probs is softmax(logits / t) along the last axis, in the logits' dtype; −inf has probability 0"""
    for rows, size, dtype in ((3, 7, F64), (4, 4, F32), (1, 5, F64), (6, 1, F32)):
        logits = rng.tensor(rows, size, dtype=dtype)
        logits[0, 1:3] = -torch.inf
        for t in (1.0, 0.5, 2.5, 3):
            for stored in (logits, logits.T.contiguous().T):
                agree(attempt, reference, "temperature_probs", stored, t, close=CLOSE[dtype])


@check("decoding", points=4)
def test_temperature_of_zero(attempt, reference, rng):
    """t = 0 is certain of the greedy token, of equals the lowest; a negative t raises ValueError, in sample too"""
    tied = torch.tensor([[2.0, 5.0, 5.0, -torch.inf], [0.0, 0.0, 0.0, 0.0], [-1e4, -1e4, 3.0, 3.0]])
    for logits in (distinct_logits(rng, 3, 5), distinct_logits(rng, 2, 5, F32), tied, tied.double(), tied[:, :1]):
        for t in (0, 0.0):
            agree(attempt, reference, "temperature_probs", logits, t, close=SAME)
    for t in (-1.0, -1e-3):
        assert_raises(ValueError, attempt.temperature_probs, tied, t)
        assert_raises(ValueError, attempt.sample, tied, t, rng.torch())


@check("decoding", points=3, needs="test_temperature_divides")
def test_temperature_at_both_ends(attempt, reference, rng):
    """exact for logits of ±1e4, where t is 1e-35, small, or 1e4; equals share their probability"""
    large = torch.tensor([[1e4, 9999.0, -1e4, 1e4], [-1e4, -1e4 - 1, -2e4, -torch.inf], [0.0, 1e4, 0.0, -1e4]])
    near = rng.tensor(3, 6).tanh()
    for t in (1e-35, 1e-8, 1e-3, 1.0, 1e4):
        for logits in (large, large.double(), t * near, (t * near).float(), large.double()[:, ::2]):
            agree(attempt, reference, "temperature_probs", logits, t, close=CLOSE[logits.dtype])


@check("decoding", points=4)
def test_samples_follow_the_temperature(attempt, reference, rng):
    """tokens of all rows follow temperature_probs, each row its own, independently of the row before"""
    low, high = rng.tensor(2, 60, dtype=F32).sort().values
    pair = torch.stack((low, high.flip(0)))  # the rare tokens of a row are neighbours: 12 make a bin
    pair[0, 2] = -torch.inf
    for t in (0.6, 2.5):
        tokens = assert_inputs_unchanged(attempt.sample, pair.repeat(4000, 1), t, rng.torch())
        assert_close(tokens, torch.full((8000,), 30), rtol=0, atol=30, label="ids from 0 to 59")
        first, second = reference.temperature_probs(pair.double(), t).unflatten(1, (5, 12)).sum(2)
        bins = tokens.clamp(0, 59) // 12
        counts = torch.bincount(5 * bins[0::2] + bins[1::2], minlength=25)
        both = torch.outer(first, second).flatten()
        assert_distribution(counts.numpy(), both.numpy(), label=f"pairs of neighbouring rows at t = {t}")


@check("decoding", points=3)
def test_all_chance_comes_from_the_generator(attempt, reference, rng):
    """equal generators give equal tokens, others others; a generator moves on, but not at t = 0, which is greedy"""
    logits, twin = rng.tensor(40, 9, dtype=F32), deepcopy(rng)
    one, same, other = rng.torch(), twin.torch(), rng.torch()
    first = attempt.sample(logits, 1.5, one)
    assert_equal(attempt.sample(logits, 1.5, same), first, label="the tokens of an equal generator")
    for label, generator in (("the same generator, a second time", one), ("another generator", other)):
        changed = not torch.equal(attempt.sample(logits, 1.5, generator), first)
        assert_true(changed, f"{label} draws the same 40 tokens", expected="other tokens", got="the same")
    assert_equal(attempt.sample(logits[:1], 1.5, other).shape, (1,), label="the shape for a single row")
    before = other.get_state()
    for rows in (logits, logits[:1]):
        assert_equal(attempt.sample(rows, 0, other), reference.greedy(rows), label="the tokens at t = 0")
    assert_true(torch.equal(other.get_state(), before), "the generator was drawn from at t = 0")


@check("positions", points=3)
def test_each_row_has_its_table(attempt, reference, rng):
    """apply_rope takes a table [B, T, hd/2] for each row of the batch, the same for its heads, also where B = H"""
    for sizes in ((3, 3, 4, 6), (2, 4, 5, 8), (1, 3, 4, 2), (4, 1, 1, 6), (5, 5, 5, 4)):
        for dtype in (F32, F64):
            case = rope_case(rng, *sizes, dtype=dtype, rows=True)
            turns_alike(attempt, reference, case)
            turns_alike(attempt, reference, case | {"x": strided(case["x"])})


@check("positions", points=3)
def test_positions_count_tokens(attempt, reference, rng):
    """a token's position is the number of tokens before it; padding on the left, on the right and inside has 0"""
    start, stop = integers(rng, 0, 5, 6, 1), integers(rng, 6, 10, 6, 1)
    left, both = arange(9) >= start, (arange(9) >= start) & (arange(9) < stop)
    holes, far = torch.from_numpy(rng.random((4, 4)) < 0.6), arange(3000)[None] > 1
    for mask in (left, left.flip(1), both, holes, holes.T, left & False, left | True, left[:, :1], far):
        agree(attempt, reference, "positions_from_mask", mask, close=SAME)


def attention_case(rng, b, h, tq, tk, hd, dv, dtype=F64):
    shapes = {"q": (b, h, tq, hd), "k": (b, h, tk, hd), "v": (b, h, tk, dv)}
    return {name: rng.tensor(*shape, dtype=dtype) for name, shape in shapes.items()}


@check("positions", points=5)
def test_queries_and_keys_are_turned(attempt, reference, rng):
    """rope_attention turns q and k, each by its own positions, and leaves v alone; base and mask count"""
    for sizes in ((2, 3, 5, 5, 4, 4), (2, 3, 5, 7, 4, 6), (1, 2, 1, 6, 8, 8)):
        tq, tk = sizes[2:4]
        case = attention_case(rng, *sizes) | {"q_positions": arange(tk - tq, tk) + 1, "k_positions": arange(tk)}
        causal = case["q_positions"][:, None] >= case["k_positions"]
        for options in ({}, {"mask": causal}, {"base": 10.0}, {"mask": causal[None, None], "base": 300.0}):
            agree(attempt, reference, "rope_attention", **(case | options))
    case["q_positions"] = torch.tensor([2.5])
    single = {name: value.float() if value.is_floating_point() else value for name, value in case.items()}
    agree(attempt, reference, "rope_attention", **single)


@check("positions", points=3, needs="test_queries_and_keys_are_turned")
def test_attention_at_positions_of_each_row(attempt, reference, rng):
    """positions [B, T] for queries, keys or both; masks of each row and head; large scores; gradients of q, k and v"""
    mask = arange(6) >= torch.tensor([[0], [2], [5]])
    positions = reference.positions_from_mask(mask)
    seen = mask[:, None, None]
    case = attention_case(rng, 3, 3, 6, 6, 4, 4) | {"q_positions": positions, "k_positions": positions, "mask": seen}
    agree(attempt, reference, "rope_attention", **case)
    step = {"q": case["q"][:, :, -1:], "q_positions": positions[:, -1:]}
    own = torch.from_numpy(rng.random((3, 3, 6, 6)) < 0.6) | torch.eye(6, dtype=torch.bool)
    masks = ({"mask": own}, {"mask": own[0]})
    for options in (step, {"q_positions": arange(6)}, {"k_positions": arange(3, 9), "mask": None}, *masks):
        agree(attempt, reference, "rope_attention", **(case | options))
    # Nothing is turned at position 0, so that large scores are exact.
    sharp = {"q": 1e5 * case["q"], "q_positions": 0 * positions, "k_positions": torch.zeros(6), "mask": own}
    agree(attempt, reference, "rope_attention", **(case | sharp), close=EXACT)
    twin, leaves = deepcopy(rng), ("q", "k", "v")
    _, got = gradients(attempt.rope_attention, case, wrt=leaves, upstream=rng)
    _, want = gradients(reference.rope_attention, case, wrt=leaves, upstream=twin)
    assert_close(got, want, label="gradients", rtol=0, atol=1e-4)


@check("layouts", points=3)
def test_both_orders_of_channels(attempt, reference, rng):
    """to_half_split and to_interleaved reorder the last axis, each the other's inverse, for any shape and dtype"""
    x = rng.tensor(2, 3, 8, dtype=F64)
    for case in (arange(6), x, x.mT[..., :2], rng.tensor(8, 8, dtype=F32), x.to(torch.bfloat16), x[..., :2]):
        for name in ("to_half_split", "to_interleaved"):
            agree(attempt, reference, name, case, close=SAME)


@check("layouts", points=4)
def test_projections_are_converted_head_by_head(attempt, reference, rng):
    """the rows of a projection are reordered inside each head, for any number of heads"""
    for heads, hd, d in ((2, 4, 5), (3, 6, 18), (1, 8, 3), (4, 4, 16), (5, 2, 1)):
        for dtype in (F32, F64):
            weight = rng.tensor(heads * hd, d, dtype=dtype)
            for stored in (weight, weight.T.contiguous().T):
                agree(attempt, reference, "projection_to_half_split", stored, heads, close=SAME)


@check("layouts", points=3)
def test_scaled_positions(attempt, reference, rng):
    """position m is turned like m / factor, in float32, for integer and fractional positions and factors"""
    for factor in (4, 2.5, 0.5, 1.0):
        for positions in (arange(30), integers(rng, -20, 20, 2, 5, dtype=torch.int32), 9 * rng.tensor(4, dtype=F64)):
            for options in ({}, {"base": 100.0}):
                agree(attempt, reference, "scaled_cos_sin", positions, 8, factor, **options)
    assert_raises(ValueError, attempt.scaled_cos_sin, arange(4), 5, 2.0)
