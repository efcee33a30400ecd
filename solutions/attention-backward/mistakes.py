"""Known wrong solutions. Each runs in a copy of the reference's namespace, and may use its names."""

import math

import numpy as np

from grader.checking import mistake

_buffers = {}


def _over_seen(s, mask):
    keep = np.True_ if mask is None else mask
    return softmax(np.where(keep, s, np.finfo(np.float64).min)) * keep


def _gradients(ds, dout, cache):
    q, k, _, p = cache
    return ds @ k, _transposed(ds) @ q, _transposed(p) @ dout


def _ds(dout, cache):
    q, _, v, p = cache
    return softmax_backward(dout @ _transposed(v), p) / math.sqrt(q.shape[-1])


def _differences(f, x, h):
    """The central difference, made by moving the elements of x itself and putting each back."""
    grad = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        here = x[index]
        x[index] = here + h
        above = f(x)
        x[index] = here - h
        below = f(x)
        x[index] = here
        grad[index] = (above - below) / (2 * h)
    return grad


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
    "dy_overwritten",
    replaces="softmax_backward",
    caught_by="test_softmax_backward_is_the_full_jacobian_product",
    advice="`dy -= …` and `dy *= …` write into the caller's gradient, which may be needed again. Make a new array.",
)
def softmax_backward(dy, y):
    dy -= (dy * y).sum(axis=-1, keepdims=True)
    dy *= y
    return dy


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
    "hidden_key_sets_the_maximum",
    replaces="attention_forward",
    caught_by="test_mask_true_keeps_and_broadcasts",
    advice="Masked after exp, a hidden key still sets the maximum: the visible ones underflow to 0. Mask the scores.",
)
def attention_forward(q, k, v, mask=None):
    p = softmax(_scores(q, k)) * (np.True_ if mask is None else mask)
    total = p.sum(axis=-1, keepdims=True)
    p = p / np.where(total == 0, 1, total)
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
    "scale_missing",
    replaces="attention_backward",
    caught_by="test_dq",
    advice="The forward pass divides the scores by √d, so dq and dk carry 1/√d too. With d = 1 nobody sees it missing.",
)
def attention_backward(dout, cache):
    ds = softmax_backward(dout @ _transposed(cache[2]), cache[3])
    return _gradients(ds, dout, cache)


@mistake(
    "gradient_scaled_by_the_value_width",
    replaces="attention_backward",
    caught_by="test_gradients_at_all_sizes",
    advice="The scale is 1/√d with d = q.shape[-1], as in the forward pass; the width of v and dout may differ.",
)
def attention_backward(dout, cache):
    ds = softmax_backward(dout @ _transposed(cache[2]), cache[3]) / math.sqrt(dout.shape[-1])
    return _gradients(ds, dout, cache)


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
    "results_share_a_buffer",
    replaces="attention_backward",
    caught_by="test_attention_backward_leaves_dout_and_its_cache",
    advice="Every call fills the same arrays, so the second overwrote the first result. Return new ones each time.",
)
def attention_backward(dout, cache):
    for number, gradient in enumerate(_gradients(_ds(dout, cache), dout, cache)):
        _buffers.setdefault((number, gradient.shape), np.empty(gradient.shape))[...] = gradient
    return tuple(_buffers[number, x.shape] for number, x in enumerate(cache[:3]))


@mistake(
    "latest_forward_pass",
    replaces=("attention_forward", "attention_backward"),
    caught_by="test_several_caches_are_alive_at_once",
    advice="All calls keep what they need in one place, so this is the gradient of the latest. Keep it in `cache`.",
)
class LatestForwardPass:
    @staticmethod
    def attention_forward(q, k, v, mask=None):
        p = _over_seen(_scores(q, k), mask)
        _buffers["latest"] = q, k, v, p
        return p @ v, "latest"

    @staticmethod
    def attention_backward(dout, cache):
        kept = _buffers[cache]
        return _gradients(_ds(dout, kept), dout, kept)


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
    "divided_by_h",
    replaces="numerical_grad",
    caught_by="test_numerical_grad_is_the_central_difference",
    advice="From x − h to x + h the distance is 2h: every element came out twice too large.",
)
def numerical_grad(f, x, h=1e-5):
    return 2 * _differences(f, np.array(x, dtype=np.float64), h)


@mistake(
    "dtype_of_x_kept",
    replaces="numerical_grad",
    caught_by="test_numerical_grad_is_accurate_by_default",
    advice="An array of integers cuts 1 + 1e-5 back to 1, and 1 − 1e-5 down to 0. Copy x as float64 first.",
)
def numerical_grad(f, x, h=1e-5):
    return _differences(f, x.copy(), h)


@mistake(
    "caller_s_x_moved",
    replaces="numerical_grad",
    caught_by="test_numerical_grad_never_moves_the_caller_s_x",
    advice="`asarray` makes no copy of float64, so the caller's own x moves, and f may read it. Use np.array.",
)
def numerical_grad(f, x, h=1e-5):
    return _differences(f, np.asarray(x, dtype=np.float64), h)


@mistake(
    "no_floor",
    replaces="rel_error",
    caught_by="test_rel_error",
    advice="The floor of 1e-8 is missing: 1e-12 against 0 then counts as wholly wrong, and 0 against 0 is NaN.",
)
def rel_error(a, n):
    return float(np.max(np.abs(a - n) / (np.abs(a) + np.abs(n))))


@mistake(
    "nan_passed_over",
    replaces="rel_error",
    caught_by="test_rel_error",
    advice="A NaN is the worst error there is, and nanmax, fmax and Python's max pass over it. np.max keeps it.",
)
def rel_error(a, n):
    return float(np.nanmax(np.abs(a - n) / np.maximum(1e-8, np.abs(a) + np.abs(n))))


def _merged_gradients(dmerged, cache):
    """dq, dk and dv, [B, T, H·c] each."""
    return [merge_heads(grad) for grad in attention_backward(split_heads(dmerged, cache[3]), cache[4])]


def _weight_grads(flat, dy, cache):
    return (*(_weight_grad(cache[0], grad) for grad in flat), _weight_grad(cache[2], dy))


def _dx(flat, weights):
    return sum(grad @ w.T for grad, w in zip(flat, weights, strict=False))


@mistake(
    "value_path_missing",
    replaces="mha_backward",
    caught_by="test_layer_gradients",
    advice="x feeds q, k and v, so dx is the sum of three terms: dq·w_qᵀ + dk·w_kᵀ + dv·w_vᵀ.",
)
def mha_backward(dy, cache):
    flat = _merged_gradients(dy @ cache[1][3].T, cache)
    return _dx(flat, cache[1][:2]), *_weight_grads(flat, dy, cache)


@mistake(
    "heads_merged_by_reshape",
    replaces="mha_backward",
    caught_by="test_layer_gradients",
    advice="[B, H, T, c] reshaped to [B, T, H·c] mixes heads and times. Swap H and T first: merge_heads does.",
)
def mha_backward(dy, cache):
    heads = attention_backward(split_heads(dy @ cache[1][3].T, cache[3]), cache[4])
    flat = [head.reshape(*dy.shape[:2], -1) for head in heads]
    return _dx(flat, cache[1]), *_weight_grads(flat, dy, cache)


@mistake(
    "dx_written_into_dy",
    replaces="mha_backward",
    caught_by="test_mha_backward_leaves_what_it_reads",
    advice="dy is not yours to write into, though dx has its shape: a residual branch reads it too. Make a new one.",
)
def mha_backward(dy, cache):
    flat = _merged_gradients(dy @ cache[1][3].T, cache)
    grads = _weight_grads(flat, dy, cache)
    dy[...] = _dx(flat, cache[1])
    return dy, *grads


@mistake(
    "lse_without_the_maximum",
    replaces="attention_forward_lse",
    caught_by="test_lse_of_every_query",
    advice="exp(s) is ∞ beyond 709 and 0 below −745, so this is ±∞. Use m + log Σ exp(s − m), m the row's maximum.",
)
def attention_forward_lse(q, k, v, mask=None):
    lse = np.log(np.exp(_masked_scores(q, k, mask)).sum(axis=-1))
    return attention_forward(q, k, v, mask)[0], lse


def _pass_back(dout, q, k, v, p, delta):
    ds = p * (dout @ _transposed(v) - delta) / math.sqrt(q.shape[-1])
    return _gradients(ds, dout, (q, k, v, p))


def _delta(dout, out):
    return (dout * out).sum(axis=-1, keepdims=True)


@mistake(
    "masked_after_exp",
    replaces="attention_backward_lse",
    caught_by="test_backward_from_lse",
    advice="lse knows nothing of a hidden key, whose exp(s − lse) may be ∞, and ∞·0 is NaN. Mask the scores, not P.",
)
def attention_backward_lse(dout, q, k, v, out, lse, mask=None):
    p = _probabilities(_scores(q, k), lse) * (np.True_ if mask is None else mask)
    return _pass_back(dout, q, k, v, p, _delta(dout, out))


@mistake(
    "delta_from_the_block",
    replaces="attention_backward_lse",
    caught_by="test_key_blocks_give_their_share",
    advice="Σ dp·p over some of the keys is not the row's Σ dout·out. Take delta from dout and out, which are whole.",
)
def attention_backward_lse(dout, q, k, v, out, lse, mask=None):
    cache = q, k, v, _probabilities(_masked_scores(q, k, mask), lse)
    return _gradients(_ds(dout, cache), dout, cache)


@mistake(
    "minus_infinity_taken_for_zero",
    replaces="attention_backward_lse",
    caught_by="test_key_blocks_give_their_share",
    advice="exp(s − 0) is not 0: where lse is −∞ put +∞ in its place, and s − lse is −∞ whatever the mask says.",
)
def attention_backward_lse(dout, q, k, v, out, lse, mask=None):
    p = np.exp(_masked_scores(q, k, mask) - np.where(np.isneginf(lse), 0.0, lse)[..., None])
    return _pass_back(dout, q, k, v, p, _delta(dout, out))
