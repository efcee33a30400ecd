"""The hidden checks. Sizes differ wherever a mix-up of axes would hide among equal ones; upstream gradients are random.

What tells formulas apart begins with equal sizes: there a forgotten transpose gives a wrong number to look at, not a
shape error.
"""

import numpy as np

from grader.checking import assert_close, assert_equal, assert_inputs_unchanged, assert_true, check, fetch, keep

EXACT = {"rtol": 1e-9, "atol": 1e-11}
# Logits of 1e4 carry their own rounding of 2e-12 into every probability, and keys of 200 multiply it.
LARGE = {"rtol": 1e-7, "atol": 1e-7}

# (B, H, Tq, Tk, d, dv)
EQUAL = (2, 3, 4, 4, 4, 4)
DIFFERENT = (2, 3, 5, 7, 4, 6)
# A mask of one, two or three axes fits the wrong axes too.
SQUARE = (6, 6, 6, 6, 2, 3)
ONE_QUERY = (1, 2, 1, 3, 1, 2)
# With more channels than one the gradients of q and k would be rounding errors here, not 0.
ONE_KEY = (2, 3, 5, 1, 4, 1)
ALL_ONE = (1, 1, 1, 1, 1, 1)
# So many elements that a forward pass for each of them does not end in time.
LONG = (1, 2, 128, 128, 32, 32)

GRADIENTS = ("dq", "dk", "dv")
LAYER = ("dx", "dw_q", "dw_k", "dw_v", "dw_o")


def qkv(rng, shape):
    """Random queries, keys and values."""
    b, h, tq, tk, d, dv = shape
    sizes = {"q": (b, h, tq, d), "k": (b, h, tk, d), "v": (b, h, tk, dv)}
    return {name: rng.normal(size=size) for name, size in sizes.items()}


def strided_qkv(rng, shape):
    """The same, stored as [B, T, H, channels]: what splitting heads leaves, not contiguous."""
    return {name: np.ascontiguousarray(x.swapaxes(1, 2)).swapaxes(1, 2) for name, x in qkv(rng, shape).items()}


def upstream(rng, inputs):
    """A random gradient with respect to out."""
    return rng.normal(size=(*inputs["q"].shape[:3], inputs["v"].shape[3]))


def open_mask(rng, size):
    """A random mask in which every query sees the first key and none sees the last."""
    mask = rng.random(size) < 0.6
    mask[..., 0] = True
    mask[..., -1] = False
    return mask


def masked_cases(rng):
    """Inputs with a mask of every shape, where each query sees a key; the last have a huge value at a hidden key."""
    sizes = {
        DIFFERENT: ((5, 7), (7,), (3, 1, 7), (2, 1, 1, 7), (1, 3, 5, 7), (2, 3, 5, 7)),
        SQUARE: ((6,), (6, 6), (6, 6, 6)),
        ONE_QUERY: ((3,), (1, 3)),
    }
    for shape in sizes:
        for size in sizes[shape]:
            yield qkv(rng, shape) | {"mask": open_mask(rng, size)}
    huge = qkv(rng, DIFFERENT) | {"mask": open_mask(rng, (5, 7))}
    huge["v"][:, :, -1] = 1e30
    yield huge


def closed_cases(rng):
    """Inputs with a mask under which some queries see no key."""
    rows = open_mask(rng, (5, 7))
    rows[0] = False
    items = open_mask(rng, DIFFERENT[:4])
    items[-1] = items[..., 0, :] = False
    column = np.arange(5)[:, None] % 2 == 0
    yield qkv(rng, ONE_KEY) | {"mask": column}
    for mask in (rows, items, column, np.array([[False]])):
        yield qkv(rng, DIFFERENT) | {"mask": mask}


def large_cases(rng):
    """Inputs with scores of ±1e4: without a mask, and with one that hides the key of by far the largest score."""
    for mask in (None, open_mask(rng, (5, 7))):
        inputs = qkv(rng, DIFFERENT) | {"mask": mask}
        # The last channel of q and k adds a constant to all scores of a query.
        inputs["q"][..., -1] = 100.0 * rng.choice([-1.0, 1.0], size=(2, 3, 5))
        inputs["k"][..., -1] = 100.0 * np.sqrt(4)
        if mask is not None:
            inputs["k"][:, :, -1, -1] *= 2
        yield inputs


def output(module, inputs):
    """out alone: the cache stays over there, whatever it is."""
    return keep(module.attention_forward)(**inputs).get(0)


def backward(module, inputs, dout):
    """(dq, dk, dv) of a forward and a backward pass."""
    pair = keep(module.attention_forward)(**inputs)
    return module.attention_backward(dout, pair.get(1, keep=True))


def sizes_of(inputs):
    """`q [2, 3, 5, 4], k …`: what a call that takes a cache does not show."""
    return ", ".join(f"{name} {list(x.shape)}" for name, x in inputs.items() if x is not None)


def by_name(got, names):
    """The items of a tuple that should have these."""
    wanted = f"({', '.join(names)})"
    is_one = type(got) is tuple and len(got) == len(names)
    assert_true(is_one, f"it returns a plain tuple {wanted}", expected=wanted, got=f"of type {type(got).__name__}")
    return dict(zip(names, got, strict=True))


def assert_named(got, want, names=GRADIENTS, *, about="", only=None, tolerance=EXACT):
    """Each item under its name; `about` says what the call does not show."""
    got, want = by_name(got, names), dict(zip(names, want, strict=True))
    for name in only or names:
        assert_close(got[name], want[name], label=name + about, **tolerance)


@check("softmax", points=5)
def test_softmax_runs_along_the_axis(attempt, reference, rng):
    """softmax sums to 1 along `axis`, the last one by default, and leaves x as it was"""
    for shape, axis in (((4, 4), {}), ((3, 5), {}), ((7,), {}), ((2, 3, 5), {"axis": 0}), ((2, 3, 5), {"axis": 1})):
        x = rng.normal(size=shape)
        assert_close(assert_inputs_unchanged(attempt.softmax, x, **axis), reference.softmax(x, **axis), **EXACT)


@check("softmax", points=5)
def test_softmax_stays_finite_at_large_logits(attempt, reference, rng):
    """softmax is exact for logits of ±1e4, for rows of very different size, and for a row of one entry, on any axis"""
    x = rng.normal(size=(4, 6)) + np.array([[0.0], [1e4], [-1e4], [0.0]])
    x[3] = [1e4, -1e4, 1e4, 0.0, -1e4, 1e4]
    for logits, axis in ((x, -1), (x[::2, ::-2], -1), (x[:, :1], -1), (x.T, 0)):
        assert_close(attempt.softmax(logits, axis=axis), reference.softmax(logits, axis=axis), **EXACT)
    small = rng.normal(size=(2, 3)) - np.array([0.0, 100.0, 300.0])
    assert_close(attempt.softmax(small), reference.softmax(small), rtol=1e-9, atol=0)


@check("softmax_backward", points=14)
def test_softmax_backward_is_the_full_jacobian_product(attempt, reference, rng):
    """softmax_backward applies the whole Jacobian of each row to a random dy, for any number of axes; both stay"""
    pairs = []
    for shape in ((4, 4), (3, 5), (2, 3, 5), (2, 3, 5, 7), (5,), (3, 1)):
        pairs.append((rng.normal(size=shape), reference.softmax(3 * rng.normal(size=shape))))
    dy, y = pairs[1]
    for pair in (*pairs, (np.asfortranarray(dy), y), (rng.normal(size=(3, 10))[:, ::2], np.asfortranarray(y))):
        got = assert_inputs_unchanged(attempt.softmax_backward, *pair)
        assert_close(got, reference.softmax_backward(*pair), **EXACT)


@check("attention_forward", points=5)
def test_attention_forward_at_all_sizes(attempt, reference, rng):
    """out is softmax(q kᵀ/√d) v where all sizes differ, at length 1, and for inputs that are not contiguous"""
    for make, shape in ((qkv, EQUAL), (strided_qkv, DIFFERENT), (qkv, ONE_QUERY), (qkv, ONE_KEY), (qkv, ALL_ONE)):
        inputs = make(rng, shape)
        pair = assert_inputs_unchanged(keep(attempt.attention_forward), **inputs)
        assert_true(pair.type_name == "tuple", "it returns a tuple (out, cache)", got=f"of type {pair.type_name}")
        assert_close(pair.get(0), output(reference, inputs), label="out", **EXACT)


@check("attention_forward", points=8, needs="test_attention_forward_at_all_sizes")
def test_mask_true_keeps_and_broadcasts(attempt, reference, rng):
    """True in the mask, of any shape that broadcasts, lets a query see a key; scores of ±1e4 are exact, hidden too"""
    cases = [(inputs, EXACT) for inputs in masked_cases(rng)] + [(inputs, LARGE) for inputs in large_cases(rng)]
    for inputs, tolerance in cases:
        out = assert_inputs_unchanged(keep(attempt.attention_forward), **inputs).get(0)
        assert_close(out, output(reference, inputs), label="out", **tolerance)


@check("attention_forward", points=3, needs="test_mask_true_keeps_and_broadcasts")
def test_query_without_a_key_gives_zero(attempt, reference, rng):
    """a query that sees no key has out = 0, not NaN and not the mean of v; the others are as ever"""
    for inputs in closed_cases(rng):
        out = assert_inputs_unchanged(keep(attempt.attention_forward), **inputs).get(0)
        assert_close(out, output(reference, inputs), label="out", **EXACT)


def assert_one_gradient(attempt, reference, rng, name):
    inputs = qkv(rng, EQUAL)
    dout = upstream(rng, inputs)
    assert_named(backward(attempt, inputs, dout), backward(reference, inputs, dout), only=[name])


@check("attention_backward", points=4, needs="test_attention_forward_at_all_sizes")
def test_dv(attempt, reference, rng):
    """dv is right where all sizes are equal"""
    assert_one_gradient(attempt, reference, rng, "dv")


@check("attention_backward", points=4, needs="test_attention_forward_at_all_sizes")
def test_dq(attempt, reference, rng):
    """dq is right where all sizes are equal"""
    assert_one_gradient(attempt, reference, rng, "dq")


@check("attention_backward", points=4, needs="test_dq")
def test_dk(attempt, reference, rng):
    """dk is right where all sizes are equal"""
    assert_one_gradient(attempt, reference, rng, "dk")


@check("attention_backward", points=6, needs="test_dk")
def test_gradients_at_all_sizes(attempt, reference, rng):
    """all three are right where sizes differ, at length 1 and 128, under every mask, and for scores of ±1e4"""
    shapes = ((strided_qkv, DIFFERENT), (qkv, ONE_QUERY), (qkv, ONE_KEY), (qkv, ALL_ONE), (qkv, LONG))
    cases = [(make(rng, shape), EXACT) for make, shape in shapes]
    cases += [(inputs, EXACT) for inputs in masked_cases(rng)] + [(inputs, LARGE) for inputs in large_cases(rng)]
    for inputs, tolerance in cases:
        dout = upstream(rng, inputs)
        want, about = backward(reference, inputs, dout), f" for {sizes_of(inputs)}"
        assert_named(backward(attempt, inputs, dout), want, about=about, tolerance=tolerance)


@check("attention_backward", points=4, needs="test_query_without_a_key_gives_zero")
def test_query_without_a_key_has_zero_gradients(attempt, rng):
    """a query that sees no key has dq = 0 and adds nothing to dk and dv: without it they are the same"""
    for inputs in (case for case in closed_cases(rng) if case["mask"].ndim == 2):
        dout, about = upstream(rng, inputs), f" for {sizes_of(inputs)}"
        got = backward(attempt, inputs, dout)
        want = [np.zeros_like(inputs[name]) for name in "qkv"]
        seen = inputs["mask"].any(axis=-1)
        if seen.any():
            others = inputs | {"q": inputs["q"][:, :, seen], "mask": inputs["mask"][seen]}
            want[0][:, :, seen], *want[1:] = by_name(backward(attempt, others, dout[:, :, seen]), GRADIENTS).values()
            assert_true(bool(np.any(want[2])), "dv is 0 for queries that do see keys")
        assert_named(got, want, about=about)


def assert_cache_is_left(forward, backward, inputs, other, truth, names):
    """Two backward passes with one cache, of which `truth` gives what is right, leave each other and dout alone."""
    pair = keep(forward)(**inputs)
    # The output itself is the first dout: it is over there, where what happens to it can be seen.
    dout, cache, out = pair.get(0, keep=True), pair.get(1, keep=True), pair.get(0)
    first, want = keep(backward)(dout, cache), truth(out)
    assert_named(fetch(first), want, names, about=" where the upstream gradient is the output")
    assert_close(fetch(dout), out, label="the upstream gradient, modified", **EXACT)
    assert_named(backward(other, cache), truth(other), names, about=" of a second call with the same cache")
    assert_named(fetch(first), want, names, about=" of the first call, overwritten by the second")


@check("attention_backward", points=3, needs="test_gradients_at_all_sizes")
def test_attention_backward_leaves_dout_and_its_cache(attempt, reference, rng):
    """attention_backward leaves dout as it was; a second call with the same cache is right; the first result stays"""
    inputs = qkv(rng, DIFFERENT) | {"mask": open_mask(rng, (5, 7))}
    passes, other = (attempt.attention_forward, attempt.attention_backward), upstream(rng, inputs)
    assert_cache_is_left(*passes, inputs, other, lambda dout: backward(reference, inputs, dout), GRADIENTS)


@check("attention_backward", points=3, needs="test_gradients_at_all_sizes")
def test_several_caches_are_alive_at_once(attempt, reference, rng):
    """each backward pass belongs to the forward pass of its cache, however many came after; earlier results stay"""
    cases = [qkv(rng, DIFFERENT) | {"mask": open_mask(rng, (5, 7))} for _ in range(2)]
    pairs = [keep(attempt.attention_forward)(**inputs) for inputs in cases]
    for which, pair, inputs in zip(("first", "second"), pairs, cases, strict=True):
        dout, about = upstream(rng, inputs), f" of the {which} of two forward passes, after both"
        assert_close(pair.get(0), output(reference, inputs), label=f"out{about}", **EXACT)
        got = attempt.attention_backward(dout, pair.get(1, keep=True))
        assert_named(got, backward(reference, inputs, dout), about=about)


@check("gradcheck", points=4)
def test_numerical_grad_is_the_central_difference(attempt, rng):
    """numerical_grad is (f(x + h·e) − f(x − h·e))/2h: two calls of f per element, on float64 arrays of x's shape"""
    x, c, h = rng.uniform(1.5, 2.5, size=(2, 3, 2)), rng.normal(size=(2, 3, 2)), 0.1
    seen = []

    def cubic(z):
        seen.append(z)
        return float((c * z**3).sum() + z.sum() ** 2)

    # On c·x³ the central difference is off by exactly c·h², a one-sided one by c·(3xh + h²). The square of the sum
    # couples the elements: one that stays moved shows in the others.
    want = c * (3 * x**2 + h**2) + 2 * x.sum()
    assert_close(assert_inputs_unchanged(attempt.numerical_grad, cubic, x, h=h), want, **EXACT)
    alike = all(isinstance(z, np.ndarray) and z.shape == x.shape and z.dtype == x.dtype for z in seen)
    assert_true(alike, "f takes float64 arrays of x's shape")
    assert_equal(len(seen), 2 * x.size, label="calls of f")


@check("gradcheck", points=3, needs="test_numerical_grad_is_the_central_difference")
def test_numerical_grad_is_accurate_by_default(attempt, rng):
    """with the default h the error stays below 1e-6: x of float64, float32 or integers, contiguous or not, as it was"""
    a, b = rng.normal(size=(6, 6)), rng.normal(size=6)

    def quadratic(z):
        flat = z.reshape(-1)
        return float(flat @ a @ flat / 2 + b @ flat + 3000.0)

    integers = rng.integers(-3, 4, size=(3, 2))
    floats = (rng.normal(size=(2, 3)), rng.normal(size=(3, 2)).T, rng.normal(size=6))
    for x in (*floats, integers, integers.astype(np.int32), floats[0].astype(np.float32)):
        want = ((a + a.T) @ x.reshape(-1).astype(np.float64) / 2 + b).reshape(x.shape)
        assert_close(assert_inputs_unchanged(attempt.numerical_grad, quadratic, x), want, rtol=0, atol=1e-6)


@check("gradcheck", points=2, needs="test_numerical_grad_is_accurate_by_default")
def test_numerical_grad_never_moves_the_caller_s_x(attempt, rng):
    """x stays as it is even while numerical_grad runs: f(z) = Σ z·x, which reads x, has the gradient x"""
    c = rng.normal(size=5)
    # A gradient serves as x: it is an array over there, and so is its method `dot`, which is f.
    x = keep(attempt.numerical_grad)(lambda z: float(c @ z), rng.normal(size=5))
    assert_close(fetch(x), c, rtol=0, atol=1e-6)
    got = attempt.numerical_grad(x.get("dot", keep=True), x)
    assert_close(got, c, label="the gradient of f(z) = Σ z·x, which reads the caller's x", rtol=0, atol=1e-6)


@check("gradcheck", points=3)
def test_rel_error(attempt, reference, rng):
    """rel_error is the largest |a − n|/max(1e-8, |a| + |n|): 0 where both are 0, 1 for opposite signs, NaN for NaN"""
    a = rng.normal(size=(3, 4))
    a[0, 0], a[0, 1] = -1.0, 1.0
    near, tiny, absent = a * (1 + 1e-6 * rng.random(a.shape)), 1e-12 * rng.random(a.shape), np.zeros_like(a)
    broken = np.where(np.arange(12).reshape(3, 4) == 5, np.nan, a)
    deep = rng.normal(size=(2, 2, 2, 3))
    last = deep + np.eye(24)[-1].reshape(deep.shape)
    pairs = ((a, near), (near[0], a[0]), (tiny, absent), (a, -near), (absent, absent), (a, broken), (deep, last))
    for pair in pairs:
        got = assert_inputs_unchanged(attempt.rel_error, *pair)
        assert_close(got, reference.rel_error(*pair), rtol=1e-9, atol=0)


def layer_case(rng, b, t, width, h, d, dv, mask=None):
    """mha_forward's arguments, and dy."""
    sizes = {"w_q": (width, h * d), "w_k": (width, h * d), "w_v": (width, h * dv), "w_o": (h * dv, width)}
    weights = {name: rng.normal(size=size) / np.sqrt(size[0]) for name, size in sizes.items()}
    x, dy = rng.normal(size=(2, b, t, width))
    return {"x": x, **weights, "n_heads": h, "mask": mask}, dy


def layer_backward(module, inputs, dy):
    pair = keep(module.mha_forward)(**inputs)
    return module.mha_backward(dy, pair.get(1, keep=True))


@check("projections", points=8, needs="test_gradients_at_all_sizes")
def test_layer_gradients(attempt, reference, rng):
    """dx sums what comes back through q, k and v, each dw over batch and time, heads in order; widths differ or not"""
    causal = np.tri(5, dtype=bool)
    for sizes, mask in (((2, 6, 6, 2, 3, 3), None), ((2, 5, 7, 3, 4, 6), causal), ((3, 4, 5, 1, 2, 3), None)):
        inputs, dy = layer_case(rng, *sizes, mask)
        got, want = (layer_backward(module, inputs, dy) for module in (attempt, reference))
        assert_named(got, want, LAYER, about=" for B={}, T={}, D={}, H={}, d={}, dv={}".format(*sizes))


@check("projections", points=2, needs="test_layer_gradients")
def test_mha_backward_leaves_what_it_reads(attempt, reference, rng):
    """mha_backward leaves dy, x and the weights as they were: a second call with the same cache is right too"""
    inputs, other = layer_case(rng, 2, 5, 7, 3, 4, 6)
    passes = attempt.mha_forward, attempt.mha_backward
    assert_cache_is_left(*passes, inputs, other, lambda dy: layer_backward(reference, inputs, dy), LAYER)


@check("recompute", points=2)
def test_lse_of_every_query(attempt, reference, rng):
    """lse is the natural logsumexp of the scaled, masked scores: any mask, exact at ±1e4, −inf where no key is seen"""
    for inputs in (qkv(rng, EQUAL), *masked_cases(rng), *closed_cases(rng), *large_cases(rng)):
        got = assert_inputs_unchanged(attempt.attention_forward_lse, **inputs)
        assert_named(got, reference.attention_forward_lse(**inputs), ("out", "lse"), tolerance=LARGE)


def saved_for_backward(reference, rng, inputs):
    """The arguments of attention_backward_lse."""
    out, lse = reference.attention_forward_lse(**inputs)
    return {"dout": upstream(rng, inputs), **inputs, "out": out, "lse": lse}


@check("recompute", points=4)
def test_backward_from_lse(attempt, reference, rng):
    """from (out, lse) come the gradients of attention_backward: any mask, 0 where no key is seen, scores of ±1e4"""
    cases = [(inputs, EXACT) for inputs in (qkv(rng, EQUAL), qkv(rng, DIFFERENT))]
    cases += [(inputs, EXACT) for inputs in (*masked_cases(rng), *closed_cases(rng))]
    for inputs, tolerance in cases + [(inputs, LARGE) for inputs in large_cases(rng)]:
        saved = saved_for_backward(reference, rng, inputs)
        got = assert_inputs_unchanged(attempt.attention_backward_lse, **saved)
        assert_named(got, reference.attention_backward_lse(**saved), tolerance=tolerance)


@check("recompute", points=4, needs="test_backward_from_lse")
def test_key_blocks_give_their_share(attempt, reference, rng):
    """a block of keys with the whole row's out and lse gives its exact share, 0 where lse = −inf, mask or not"""
    for mask in (np.tri(5, 7, dtype=bool), open_mask(rng, (5, 7)), None):
        saved = saved_for_backward(reference, rng, qkv(rng, DIFFERENT) | {"mask": mask})
        weightless = saved | {"out": saved["out"].copy(), "lse": saved["lse"].copy()}
        weightless["out"][:, :, 1], weightless["lse"][:, :, 1] = 0.0, -np.inf
        for block in (slice(0, 2), slice(2, 3), slice(3, 7), slice(0, 7)):
            keys = {"k": saved["k"][:, :, block], "v": saved["v"][:, :, block]}
            keys["mask"] = None if mask is None else mask[:, block]
            inputs = (weightless if block == slice(0, 7) else saved) | keys
            got, want = (module.attention_backward_lse(**inputs) for module in (attempt, reference))
            assert_named(got, want, about=f" of the keys {block.start} to {block.stop - 1}")
