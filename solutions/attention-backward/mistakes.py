"""Known wrong solutions. Each runs in a copy of the reference's namespace, and may use its names."""
# ruff: noqa: F821, F811, ARG001  # the reference's names; replaced more than once; what is unused is the mistake

import math

import numpy as np

from grader.checking import mistake


def _over_seen(s, mask):
    keep = np.True_ if mask is None else mask
    return softmax(np.where(keep, s, np.finfo(np.float64).min)) * keep


def _gradients(ds, dout, cache):
    q, k, _, p = cache
    return ds @ k, _transposed(ds) @ q, _transposed(p) @ dout


def _ds(dout, cache):
    q, _, v, p = cache
    return softmax_backward(dout @ _transposed(v), p) / math.sqrt(q.shape[-1])


@mistake(
    "unstable",
    replaces="softmax",
    caught_by="test_softmax_stays_finite_at_large_logits",
    advice="exp(1e4) overflows. Subtract the maximum along the axis first: softmax does not change.",
)
def softmax(x, axis=-1):
    return np.exp(x) / np.exp(x).sum(axis=axis, keepdims=True)


@mistake(
    "axis_ignored",
    replaces="softmax",
    caught_by="test_softmax_runs_along_the_axis",
    advice="`axis` says which axis sums to 1: pass it to both max and sum.",
)
def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


@mistake(
    "diagonal_jacobian",
    replaces="softmax_backward",
    caught_by="test_softmax_backward_is_the_full_jacobian_product",
    advice="y(1 − y) is only the diagonal of the Jacobian; each output depends on every logit: y_i(δ_ij − y_j).",
)
def softmax_backward(dy, y):
    return y * (1 - y) * dy


@mistake(
    "not_centred",
    replaces="softmax_backward",
    caught_by="test_softmax_backward_is_the_full_jacobian_product",
    advice="The denominator depends on x too: subtract the row's Σ dy·y from dy before multiplying by y.",
)
def softmax_backward(dy, y):
    return y * dy


@mistake(
    "summed_over_axis_one",
    replaces="softmax_backward",
    caught_by="test_softmax_backward_is_the_full_jacobian_product",
    advice="In a matrix axis 1 is the last one, in [B, H, Tq, Tk] it is the heads: sum over axis −1.",
)
def softmax_backward(dy, y):
    return y * (dy - (dy * y).sum(axis=1, keepdims=True))


@mistake(
    "dy_overwritten",
    replaces="softmax_backward",
    caught_by="test_softmax_backward_leaves_dy_and_y",
    advice="`dy -= …` and `dy *= …` write into the caller's gradient, which may be needed again. Make a new array.",
)
def softmax_backward(dy, y):
    dy -= (dy * y).sum(axis=-1, keepdims=True)
    dy *= y
    return dy


@mistake(
    "scaled_by_the_value_width",
    replaces="attention_forward",
    caught_by="test_attention_forward_at_all_sizes",
    advice="The scores are divided by √d with d the width of a query and a key; the width of a value may differ.",
)
def attention_forward(q, k, v, mask=None):
    p = _over_seen(q @ _transposed(k) / math.sqrt(v.shape[-1]), mask)
    return p @ v, (q, k, v, p)


@mistake(
    "softmax_over_the_queries",
    replaces="attention_forward",
    caught_by="test_attention_forward_at_all_sizes",
    advice="The scores are [B, H, Tq, Tk] and each query spreads 1 over its keys: softmax runs along the last axis.",
)
def attention_forward(q, k, v, mask=None):
    p = softmax(np.maximum(_masked_scores(q, k, mask), -1e300), axis=-2)
    return p @ v, (q, k, v, p)


@mistake(
    "mask_inverted",
    replaces="attention_forward",
    caught_by="test_mask_true_keeps_and_broadcasts",
    advice="Here True keeps a key, as in F.scaled_dot_product_attention; nn.MultiheadAttention means the opposite.",
)
def attention_forward(q, k, v, mask=None):
    p = _over_seen(_scores(q, k), None if mask is None else ~mask)
    return p @ v, (q, k, v, p)


@mistake(
    "mask_of_two_axes_only",
    replaces="attention_forward",
    caught_by="test_mask_true_keeps_and_broadcasts",
    advice="The mask may have any shape that broadcasts to [B, H, Tq, Tk]; NumPy adds leading axes by itself.",
)
def attention_forward(q, k, v, mask=None):
    p = _over_seen(_scores(q, k), None if mask is None else mask[None, None])
    return p @ v, (q, k, v, p)


@mistake(
    "scores_exponentiated_directly",
    replaces="attention_forward",
    caught_by="test_attention_forward_stays_finite_at_large_logits",
    advice="exp of a raw score overflows beyond 709. Call your stable softmax on the scores.",
)
def attention_forward(q, k, v, mask=None):
    e = np.exp(_masked_scores(q, k, mask))
    p = e / np.maximum(e.sum(axis=-1, keepdims=True), 1e-300)
    return p @ v, (q, k, v, p)


@mistake(
    "hidden_row_is_the_mean",
    replaces="attention_forward",
    caught_by="test_query_without_a_key_gives_zero",
    advice="With every score at −1e9 the softmax is uniform and out the mean of v: zero the hidden probabilities too.",
)
def attention_forward(q, k, v, mask=None):
    p = softmax(np.maximum(_masked_scores(q, k, mask), -1e9))
    return p @ v, (q, k, v, p)


@mistake(
    "hidden_row_is_nan",
    replaces="attention_forward",
    caught_by="test_query_without_a_key_gives_zero",
    advice="With every score at −∞ the row's maximum is −∞ too, and −∞ − (−∞) is NaN. Such a row has out = 0.",
)
def attention_forward(q, k, v, mask=None):
    p = softmax(_masked_scores(q, k, mask))
    return p @ v, (q, k, v, p)


@mistake(
    "nan_mended_in_out_alone",
    replaces="attention_forward",
    caught_by="test_query_without_a_key_has_zero_gradients",
    advice="out was mended, but the cached probabilities still hold the NaN. Mend them before anything uses them.",
)
def attention_forward(q, k, v, mask=None):
    p = softmax(_masked_scores(q, k, mask))
    return np.nan_to_num(p) @ v, (q, k, v, p)


@mistake(
    "dv_without_transpose",
    replaces="attention_backward",
    caught_by="test_dv",
    advice="out = P v, so dv = Pᵀ dout: a value collects from the queries that saw it. The shapes tell when Tq ≠ Tk.",
)
def attention_backward(dout, cache):
    dq, dk, _ = _gradients(_ds(dout, cache), dout, cache)
    return dq, dk, cache[3] @ dout


@mistake(
    "dk_without_transpose",
    replaces="attention_backward",
    caught_by="test_dk",
    advice="s = q kᵀ/√d, so dk = dsᵀ q/√d: the sum runs over the queries. The shapes tell when Tq ≠ Tk.",
)
def attention_backward(dout, cache):
    dq, _, dv = _gradients(_ds(dout, cache), dout, cache)
    return dq, _ds(dout, cache) @ cache[0], dv


@mistake(
    "scores_not_centred",
    replaces="attention_backward",
    caught_by="test_dq",
    advice="ds = p·(dp − Σ dp·p), not p·dp: raising one score lowers the other probabilities of its row.",
)
def attention_backward(dout, cache):
    ds = cache[3] * (dout @ _transposed(cache[2])) / math.sqrt(cache[0].shape[-1])
    return _gradients(ds, dout, cache)


@mistake(
    "scale_missing",
    replaces="attention_backward",
    caught_by="test_dq",
    advice="The forward pass divides the scores by √d, so dq and dk carry 1/√d too. With d = 1 nobody sees it missing.",
)
def attention_backward(dout, cache):
    ds = softmax_backward(dout @ _transposed(cache[2]), cache[3])
    return _gradients(ds, dout, cache)


@mistake(
    "gradients_share_one_array",
    replaces="attention_backward",
    caught_by="test_dk",
    advice="`dq = dk = np.zeros(…)` is one array with two names: `+=` on one adds to the other. Make two.",
)
def attention_backward(dout, cache):
    dq = dk = np.zeros_like(cache[0])
    for total, grad in zip((dq, dk), _gradients(_ds(dout, cache), dout, cache), strict=False):
        total += grad
    return dq, dk, _transposed(cache[3]) @ dout


@mistake(
    "cache_overwritten",
    replaces="attention_backward",
    caught_by="test_attention_backward_leaves_dout_and_its_cache",
    advice="`p *= …` changes the cached probabilities, so a second backward pass is wrong. Make a new array.",
)
def attention_backward(dout, cache):
    dq, dk, dv = _gradients(_ds(dout, cache), dout, cache)
    cache[3][...] = _ds(dout, cache)
    return dq, dk, dv


@mistake(
    "one_sided",
    replaces="numerical_grad",
    caught_by="test_numerical_grad_is_the_central_difference",
    advice="(f(x + h) − f(x))/h is off by about h·f″/2; the central difference is off by h²·f‴/6. Step both ways.",
)
def numerical_grad(f, x, h=1e-5):
    steps = h * np.eye(x.size).reshape(-1, *x.shape)
    return np.array([f(x + step) - f(x * 1.0) for step in steps]).reshape(x.shape) / h


@mistake(
    "relative_step",
    replaces="numerical_grad",
    caught_by="test_numerical_grad_is_the_central_difference",
    advice="h is the step itself: it is not scaled by the size of x.",
)
def numerical_grad(f, x, h=1e-5):
    steps = [np.maximum(1, np.abs(x)) * h * unit.reshape(x.shape) for unit in np.eye(x.size)]
    return np.array([(f(x + step) - f(x - step)) / (2 * step.max()) for step in steps]).reshape(x.shape)


@mistake(
    "step_too_small",
    replaces="numerical_grad",
    caught_by="test_numerical_grad_is_accurate_by_default",
    advice="At h = 1e-10 rounding in f, about 1e-16·|f|/h, drowns the gradient. 1e-5 balances it against the h² error.",
)
def numerical_grad(f, x, h=1e-10):
    steps = h * np.eye(x.size).reshape(-1, *x.shape)
    return np.array([f(x + step) - f(x - step) for step in steps]).reshape(x.shape) / (2 * h)


@mistake(
    "float32",
    replaces="numerical_grad",
    caught_by="test_numerical_grad_is_accurate_by_default",
    advice="float32 has 7 digits: the difference of two near values keeps none of them at h = 1e-5. Check in float64.",
)
def numerical_grad(f, x, h=1e-5):
    steps = h * np.eye(x.size, dtype=np.float32).reshape(-1, *x.shape)
    x = x.astype(np.float32)
    return np.array([(f(x + step) - f(x - step)) / (2 * h) for step in steps]).reshape(x.shape)


@mistake(
    "integers_cannot_move",
    replaces="numerical_grad",
    caught_by="test_numerical_grad_is_accurate_by_default",
    advice="An array of integers cuts 1 + 1e-5 back to 1, and 1 − 1e-5 down to 0. Copy x as float64 first.",
)
def numerical_grad(f, x, h=1e-5):
    steps = (h * np.eye(x.size)).reshape(-1, *x.shape)
    above, below = ([f((x + sign * step).astype(x.dtype)) for step in steps] for sign in (1, -1))
    return (np.array(above) - below).reshape(x.shape) / (2 * h)


@mistake(
    "copy_is_moved",
    replaces="numerical_grad",
    caught_by="test_numerical_grad_is_accurate_by_default",
    advice="`ravel` copies where x is not contiguous: the copy moves, x stays. Index an array of x's own shape.",
)
def numerical_grad(f, x, h=1e-5):
    x, grad = x.astype(np.float64), np.zeros(x.size)
    flat = x.ravel()
    for i, here in enumerate(flat.copy()):
        for sign in (1, -1):
            flat[i] = here + sign * h
            grad[i] += sign * f(x) / (2 * h)
        flat[i] = here
    return grad.reshape(x.shape)


@mistake(
    "no_floor",
    replaces="rel_error",
    caught_by="test_rel_error",
    advice="Where both gradients are 0 the ratio is 0/0 = NaN. Let the denominator be at least 1e-8.",
)
def rel_error(a, n):
    return float(np.max(np.abs(a - n) / (np.abs(a) + np.abs(n))))


@mistake(
    "value_path_missing",
    replaces="mha_backward",
    caught_by="test_dx_sums_the_three_paths",
    advice="x feeds q, k and v, so dx is the sum of three terms: dq·w_qᵀ + dk·w_kᵀ + dv·w_vᵀ.",
)
def mha_backward(dy, cache):
    x, (w_q, w_k, _, w_o), merged, n_heads, inner = cache
    dq, dk, dv = map(merge_heads, attention_backward(split_heads(dy @ w_o.T, n_heads), inner))
    return dq @ w_q.T + dk @ w_k.T, *(_weight_grad(x, grad) for grad in (dq, dk, dv)), _weight_grad(merged, dy)


@mistake(
    "heads_merged_by_reshape",
    replaces="mha_backward",
    caught_by="test_weight_gradients",
    advice="[B, H, T, c] reshaped to [B, T, H·c] mixes heads and times. Swap H and T first: merge_heads does.",
)
def mha_backward(dy, cache):
    x, weights, merged, n_heads, inner = cache
    heads = attention_backward(split_heads(dy @ weights[3].T, n_heads), inner)
    flat = [head.reshape(*x.shape[:2], -1) for head in heads]
    dx = sum(grad @ w.T for grad, w in zip(flat, weights, strict=False))
    return dx, *(_weight_grad(x, grad) for grad in flat), _weight_grad(merged, dy)


@mistake(
    "weights_averaged_over_the_batch",
    replaces="_weight_grad",
    caught_by="test_weight_gradients",
    advice="The loss's own mean is already in dy: a weight's gradient is the sum over batch and time.",
)
def _weight_grad(x, dy):
    return np.einsum("bti,btj->ij", x, dy) / len(x)


@mistake(
    "lse_overflows",
    replaces="attention_forward_lse",
    caught_by="test_lse_of_every_query",
    advice="log Σ exp(s) overflows for s over 709. Use m + log Σ exp(s − m) with m the row's maximum.",
)
def attention_forward_lse(q, k, v, mask=None):
    lse = np.log(np.exp(_masked_scores(q, k, mask)).sum(axis=-1))
    return attention_forward(q, k, v, mask)[0], lse


@mistake(
    "hidden_row_minus_infinity_twice",
    replaces="attention_backward_lse",
    caught_by="test_backward_from_lse",
    advice="For a query that sees no key, s − lse is −∞ − (−∞) = NaN. Put 0 for such an lse, then exp(−∞) = 0.",
)
def attention_backward_lse(dout, q, k, v, out, lse, mask=None):
    p = np.exp(_masked_scores(q, k, mask) - lse[..., None])
    ds = p * (dout @ _transposed(v) - (dout * out).sum(axis=-1, keepdims=True)) / math.sqrt(q.shape[-1])
    return _gradients(ds, dout, (q, k, v, p))


@mistake(
    "delta_from_the_block",
    replaces="attention_backward_lse",
    caught_by="test_key_blocks_give_their_share",
    advice="Σ dp·p over some of the keys is not the row's Σ dout·out. Take delta from dout and out, which are whole.",
)
def attention_backward_lse(dout, q, k, v, out, lse, mask=None):
    cache = q, k, v, _probabilities(_masked_scores(q, k, mask), lse)
    return _gradients(_ds(dout, cache), dout, cache)
