"""Known wrong solutions. Each runs in a copy of the reference's namespace, and may use its names."""

import math

import numpy as np

from grader.checking import mistake


def _over_seen(s, mask):
    keep = np.True_ if mask is None else mask
    return softmax(np.where(keep, s, np.finfo(np.float64).min)) * keep


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
    "one_maximum_for_all",
    replaces="softmax",
    caught_by="test_softmax_stays_finite_at_large_logits",
    advice="One maximum for the whole array makes 0/0 of a row far below it: take it along `axis`, with keepdims=True.",
)
def softmax(x, axis=-1):
    e = np.exp(x - x.max())
    return e / e.sum(axis=axis, keepdims=True)


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
    caught_by="test_softmax_backward_is_the_full_jacobian_product",
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
    caught_by="test_mask_true_keeps_and_broadcasts",
    advice="exp of a raw score overflows beyond 709. Call your stable softmax on the scores.",
)
def attention_forward(q, k, v, mask=None):
    e = np.exp(_masked_scores(q, k, mask))
    p = e / np.maximum(e.sum(axis=-1, keepdims=True), 1e-300)
    return p @ v, (q, k, v, p)


@mistake(
    "fill_is_not_low_enough",
    replaces="attention_forward",
    caught_by="test_mask_true_keeps_and_broadcasts",
    advice="A score may be −1e4 itself, so −1e4 hides nothing. Fill with −∞ or the lowest finite number.",
)
def attention_forward(q, k, v, mask=None):
    p = softmax(np.maximum(_masked_scores(q, k, mask), -1e4)) * (np.True_ if mask is None else mask)
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
    "zeroed_in_out_alone",
    replaces="attention_forward",
    caught_by="test_query_without_a_key_has_zero_gradients",
    advice="out was set to 0, but the cached probabilities are uniform still: the backward pass uses those. Zero them.",
)
def attention_forward(q, k, v, mask=None):
    p = softmax(np.maximum(_masked_scores(q, k, mask), -1e300))
    seen = np.broadcast_to(np.True_ if mask is None else mask, p.shape).any(axis=-1, keepdims=True)
    return np.where(seen, p @ v, 0.0), (q, k, v, p)
