"""The hidden checks. Sizes differ wherever a mix-up of axes would hide among equal ones; upstream gradients are random.

Each check begins with equal sizes: there a forgotten transpose gives a wrong number to look at, not a shape error.
"""

import numpy as np

from grader.checking import assert_close, assert_equal, assert_inputs_unchanged, assert_true, check, keep

EXACT = {"rtol": 1e-9, "atol": 1e-11}
# Logits of 1e4 carry their own rounding of 2e-12 into every probability, and keys of 200 multiply it.
LARGE = {"rtol": 1e-7, "atol": 1e-7}

# (B, H, Tq, Tk, d, dv)
EQUAL = (2, 3, 4, 4, 4, 4)
DIFFERENT = (2, 3, 5, 7, 4, 6)
ONE_WIDTH = (2, 3, 5, 7, 4, 4)
ONE_QUERY = (1, 2, 1, 3, 1, 2)
ALL_ONE = (1, 1, 1, 1, 1, 1)


def qkv(rng, shape):
    """Random queries, keys and values."""
    b, h, tq, tk, d, dv = shape
    sizes = {"q": (b, h, tq, d), "k": (b, h, tk, d), "v": (b, h, tk, dv)}
    return {name: rng.normal(size=size) for name, size in sizes.items()}


def strided_qkv(rng, shape):
    """The same, stored as [B, T, H, channels]: what splitting heads leaves, not contiguous."""
    return {name: np.ascontiguousarray(x.swapaxes(1, 2)).swapaxes(1, 2) for name, x in qkv(rng, shape).items()}


def large_qkv(rng, shape):
    """Logits of ±1e4 plus the usual ones: the last channel of q and k adds a constant to all logits of a query."""
    inputs = qkv(rng, shape)
    d = shape[4]
    inputs["q"][..., -1] = 100.0 * rng.choice([-1.0, 1.0], size=inputs["q"].shape[:-1])
    inputs["k"][..., -1] = 100.0 * np.sqrt(d)
    return inputs


def upstream(rng, shape):
    b, h, tq, _, _, dv = shape
    return rng.normal(size=(b, h, tq, dv))


def open_mask(rng, size):
    """A random mask in which every query sees the first key and none sees the last."""
    mask = rng.random(size) < 0.6
    mask[..., 0] = True
    mask[..., -1] = False
    return mask


def closed_mask(rng, size):
    """A random mask whose first query sees no key; nor does anything in the last item of the first axis."""
    mask = open_mask(rng, size)
    mask[..., 0, :] = False
    mask[-1] = False
    return mask


def output(module, inputs):
    """out alone: the cache stays in the worker, whatever it is."""
    return keep(module.attention_forward)(**inputs).get(0)


def backward_cases(rng):
    """(inputs, dout, tolerance): equal sizes, different ones without and with a mask, length 1, large logits."""
    yield qkv(rng, EQUAL), upstream(rng, EQUAL), EXACT
    yield strided_qkv(rng, DIFFERENT), upstream(rng, DIFFERENT), EXACT
    for size in ((5, 7), (2, 1, 1, 7)):
        yield qkv(rng, DIFFERENT) | {"mask": open_mask(rng, size)}, upstream(rng, DIFFERENT), EXACT
    for shape in (ONE_QUERY, ALL_ONE):
        yield qkv(rng, shape), upstream(rng, shape), EXACT
    yield large_qkv(rng, DIFFERENT), upstream(rng, DIFFERENT), LARGE


@check("softmax", points=5)
def test_softmax_runs_along_the_axis(attempt, reference, rng):
    """softmax sums to 1 along `axis`, the last one by default, and leaves x as it was"""
    for shape, axis in (((4, 4), {}), ((3, 5), {}), ((7,), {}), ((2, 3, 5), {"axis": 0}), ((2, 3, 5), {"axis": 1})):
        x = rng.normal(size=shape)
        assert_close(assert_inputs_unchanged(attempt.softmax, x, **axis), reference.softmax(x, **axis), **EXACT)


@check("softmax", points=5)
def test_softmax_stays_finite_at_large_logits(attempt, reference, rng):
    """softmax is exact for logits of ±1e4, for rows of very different size, and for a row of one entry"""
    x = rng.normal(size=(4, 6)) + np.array([[0.0], [1e4], [-1e4], [0.0]])
    x[3] = [1e4, -1e4, 1e4, 0.0, -1e4, 1e4]
    for logits in (x, x[::2, ::-2], x[:, :1]):
        assert_close(attempt.softmax(logits), reference.softmax(logits), **EXACT)


@check("softmax_backward", points=10)
def test_softmax_backward_is_the_full_jacobian_product(attempt, reference, rng):
    """softmax_backward applies the whole Jacobian of each row to a random dy, for any number of axes"""
    for shape in ((4, 4), (3, 5), (2, 3, 5, 7), (5,)):
        y, dy = reference.softmax(3 * rng.normal(size=shape)), rng.normal(size=shape)
        assert_close(attempt.softmax_backward(dy, y), reference.softmax_backward(dy, y), **EXACT)


@check("softmax_backward", points=4)
def test_softmax_backward_leaves_dy_and_y(attempt, reference, rng):
    """softmax_backward modifies neither input, contiguous or not"""
    y, dy = reference.softmax(rng.normal(size=(3, 5))), rng.normal(size=(3, 5))
    for pair in ((dy, y), (np.asfortranarray(dy), y), (rng.normal(size=(3, 10))[:, ::2], np.asfortranarray(y))):
        got = assert_inputs_unchanged(attempt.softmax_backward, *pair)
        assert_close(got, reference.softmax_backward(*pair), **EXACT)


@check("attention_forward", points=5)
def test_attention_forward_at_all_sizes(attempt, reference, rng):
    """out is softmax(q kᵀ/√d) v where all sizes differ, at length 1, and for inputs that are not contiguous"""
    for make, shape in ((qkv, EQUAL), (strided_qkv, DIFFERENT), (qkv, ONE_QUERY), (qkv, ALL_ONE)):
        inputs = make(rng, shape)
        out = assert_inputs_unchanged(keep(attempt.attention_forward), **inputs).get(0)
        assert_close(out, output(reference, inputs), label="out", **EXACT)


@check("attention_forward", points=5)
def test_mask_true_keeps_and_broadcasts(attempt, reference, rng):
    """a True in the mask lets a query see a key; every shape that broadcasts to [B, H, Tq, Tk] works"""
    for size in ((5, 7), (7,), (3, 1, 7), (2, 1, 1, 7), (1, 3, 5, 7), (2, 3, 5, 7)):
        inputs = qkv(rng, ONE_WIDTH) | {"mask": open_mask(rng, size)}
        assert_close(output(attempt, inputs), output(reference, inputs), label="out", **EXACT)


@check("attention_forward", points=3)
def test_attention_forward_stays_finite_at_large_logits(attempt, reference, rng):
    """out is exact for scores of ±1e4, and where a hidden key has by far the largest score"""
    seen = large_qkv(rng, ONE_WIDTH)
    hidden = large_qkv(rng, ONE_WIDTH) | {"mask": open_mask(rng, (5, 7))}
    hidden["k"][:, :, -1, -1] *= 2
    for inputs in (seen, hidden):
        assert_close(output(attempt, inputs), output(reference, inputs), label="out", **LARGE)


@check("attention_forward", points=3)
def test_query_without_a_key_gives_zero(attempt, reference, rng):
    """a query that sees no key has out = 0, not NaN and not the mean of v; the others are as ever"""
    inputs = qkv(rng, ONE_WIDTH) | {"mask": closed_mask(rng, (5, 7))}
    out = assert_inputs_unchanged(keep(attempt.attention_forward), **inputs).get(0)
    assert_close(out, output(reference, inputs), label="out", **EXACT)


def assert_gradients(attempt, reference, rng, name):
    for inputs, dout, tolerance in backward_cases(rng):
        got, want = (module.run("forward_then_backward", [name], inputs, dout) for module in (attempt, reference))
        assert_close(got, want, **tolerance)


@check("attention_backward", points=6, needs="test_attention_forward_at_all_sizes")
def test_dv(attempt, reference, rng):
    """dv is right at all sizes, with and without a mask"""
    assert_gradients(attempt, reference, rng, "dv")


@check("attention_backward", points=6, needs="test_attention_forward_at_all_sizes")
def test_dq(attempt, reference, rng):
    """dq is right at all sizes, with and without a mask"""
    assert_gradients(attempt, reference, rng, "dq")


@check("attention_backward", points=6, needs="test_attention_forward_at_all_sizes")
def test_dk(attempt, reference, rng):
    """dk is right at all sizes, with and without a mask"""
    assert_gradients(attempt, reference, rng, "dk")


@check("attention_backward", points=6, needs="test_query_without_a_key_gives_zero")
def test_query_without_a_key_has_zero_gradients(attempt, reference, rng):
    """a query that sees no key has dq = 0 and adds nothing to dk and dv; no gradient is NaN"""
    inputs = qkv(rng, DIFFERENT) | {"mask": closed_mask(rng, DIFFERENT[:4])}
    args = ["dq", "dk", "dv"], inputs, upstream(rng, DIFFERENT)
    assert_close(attempt.run("forward_then_backward", *args), reference.run("forward_then_backward", *args), **EXACT)


@check("attention_backward", points=4, needs="test_dq")
def test_attention_backward_leaves_dout_and_its_cache(attempt, reference, rng):
    """attention_backward modifies neither dout nor q, k, v, and a second call with the same cache is right too"""
    inputs = qkv(rng, DIFFERENT) | {"mask": open_mask(rng, (5, 7))}
    douts = [upstream(rng, DIFFERENT), upstream(rng, DIFFERENT)]
    got, want = (module.run("forward_then_backward_twice", inputs, douts) for module in (attempt, reference))
    labels = (
        "the first call",
        "the second call, with the same cache",
        "q, k, v and mask afterwards",
        "dout afterwards",
    )
    for label, mine, theirs in zip(labels, got, want, strict=True):
        assert_close(mine, theirs, label=label, **EXACT)


@check("gradcheck", points=4)
def test_numerical_grad_is_the_central_difference(attempt, rng):
    """numerical_grad is (f(x + h·e) − f(x − h·e))/2h: two calls of f per element, on float64 arrays of x's shape"""
    x, c, h = rng.uniform(1.5, 2.5, size=(2, 3, 2)), rng.normal(size=(2, 3, 2)), 0.1
    seen = []

    def cubic(z):
        seen.append(z)
        return float((c * z**3).sum())

    # On a cubic the central difference is off by exactly h², a one-sided one by 3xh + h².
    assert_close(assert_inputs_unchanged(attempt.numerical_grad, cubic, x, h=h), c * (3 * x**2 + h**2), **EXACT)
    alike = all(isinstance(z, np.ndarray) and z.shape == x.shape and z.dtype == x.dtype for z in seen)
    assert_true(alike, "f takes float64 arrays of x's shape")
    assert_equal(len(seen), 2 * x.size, label="calls of f")


@check("gradcheck", points=4)
def test_numerical_grad_is_accurate_by_default(attempt, rng):
    """with the default h the error stays below 1e-6, on x of floats or integers, contiguous or not, left as it was"""
    a, b = rng.normal(size=(6, 6)), rng.normal(size=6)

    def quadratic(z):
        flat = z.reshape(-1)
        return float(flat @ a @ flat / 2 + b @ flat + 3000.0)

    for x in (rng.normal(size=(2, 3)), rng.normal(size=(3, 2)).T, rng.normal(size=6), rng.integers(-3, 4, size=(3, 2))):
        want = ((a + a.T) @ x.reshape(-1) / 2 + b).reshape(x.shape)
        assert_close(assert_inputs_unchanged(attempt.numerical_grad, quadratic, x), want, rtol=0, atol=1e-6)


@check("gradcheck", points=4)
def test_rel_error(attempt, reference, rng):
    """rel_error is the largest |a − n|/max(1e-8, |a| + |n|): 0 where both are 0, 1 for opposite signs, NaN for NaN"""
    a = rng.normal(size=(3, 4))
    near, tiny, absent = a * (1 + 1e-6 * rng.random(a.shape)), 1e-12 * rng.random(a.shape), np.zeros_like(a)
    broken = np.where(np.arange(12).reshape(3, 4) == 5, np.nan, a)
    for pair in ((a, near), (near[0], a[0]), (tiny, absent), (a, -near), (absent, absent), (a, broken)):
        assert_close(attempt.rel_error(*pair), reference.rel_error(*pair), rtol=1e-9, atol=0)


def layer_cases(rng):
    """(mha_forward's arguments, dy): equal widths, then B, T, D, H, d, dv = 2, 5, 7, 3, 4, 6 under a causal mask."""
    for b, t, width, h, d, dv, mask in ((2, 6, 6, 2, 3, 3, None), (2, 5, 7, 3, 4, 6, np.tri(5, dtype=bool))):
        sizes = {"w_q": (width, h * d), "w_k": (width, h * d), "w_v": (width, h * dv), "w_o": (h * dv, width)}
        weights = {name: rng.normal(size=size) / np.sqrt(size[0]) for name, size in sizes.items()}
        x, dy = rng.normal(size=(2, b, t, width))
        yield {"x": x, **weights, "n_heads": h, "mask": mask}, dy


def assert_layer_gradients(attempt, reference, rng, names):
    for inputs, dy in layer_cases(rng):
        got, want = (module.run("mha_forward_then_backward", names, inputs, dy) for module in (attempt, reference))
        assert_close(got, want, **EXACT)


@check("projections", points=5, needs="test_dq")
def test_weight_gradients(attempt, reference, rng):
    """dw_q, dw_k, dw_v and dw_o are right: heads merged in their order, summed over batch and time"""
    assert_layer_gradients(attempt, reference, rng, ["dw_q", "dw_k", "dw_v", "dw_o"])


@check("projections", points=5, needs="test_dq")
def test_dx_sums_the_three_paths(attempt, reference, rng):
    """dx is the sum of what comes back through q, k and v"""
    assert_layer_gradients(attempt, reference, rng, ["dx"])


@check("recompute", points=3)
def test_lse_of_every_query(attempt, reference, rng):
    """lse is the natural logsumexp of the scaled, masked scores: exact at ±1e4, −inf for a query that sees no key"""
    mask = {"mask": closed_mask(rng, DIFFERENT[:4])}
    for inputs in (qkv(rng, EQUAL), qkv(rng, DIFFERENT) | mask, large_qkv(rng, DIFFERENT)):
        got, want = attempt.attention_forward_lse(**inputs), reference.attention_forward_lse(**inputs)
        assert_close(got, want, label="(out, lse)", **LARGE)


@check("recompute", points=3)
def test_backward_from_lse(attempt, reference, rng):
    """the gradients from (out, lse) are those of attention_backward, with 0 where a query sees no key"""
    mask = {"mask": closed_mask(rng, DIFFERENT[:4])}
    for shape, inputs in ((EQUAL, qkv(rng, EQUAL)), (DIFFERENT, qkv(rng, DIFFERENT) | mask)):
        out, lse = reference.attention_forward_lse(**inputs)
        saved = {"dout": upstream(rng, shape), **inputs, "out": out, "lse": lse}
        got = assert_inputs_unchanged(attempt.attention_backward_lse, **saved)
        assert_close(got, reference.attention_backward_lse(**saved), label="(dq, dk, dv)", **EXACT)


@check("recompute", points=4)
def test_key_blocks_give_their_share(attempt, reference, rng):
    """called on a block of keys with the whole row's out and lse, it returns that block's exact share"""
    inputs = qkv(rng, DIFFERENT) | {"mask": open_mask(rng, (5, 7))}
    out, lse = reference.attention_forward_lse(**inputs)
    saved = {"dout": upstream(rng, DIFFERENT), "q": inputs["q"], "out": out, "lse": lse}
    for block in (slice(0, 2), slice(2, 7)):
        keys = {"k": inputs["k"][:, :, block], "v": inputs["v"][:, :, block], "mask": inputs["mask"][:, block]}
        got = attempt.attention_backward_lse(**saved, **keys)
        assert_close(got, reference.attention_backward_lse(**saved, **keys), label="(dq, dk, dv)", **EXACT)
