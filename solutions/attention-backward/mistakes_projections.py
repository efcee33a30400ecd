"""Known wrong layers around the attention, each with the advice that belongs to it."""

import numpy as np

from grader.checking import mistake


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
    "weights_not_transposed",
    replaces="mha_backward",
    caught_by="test_layer_gradients",
    advice="q = x w_q, so its term of dx is dq w_qᵀ. Where w is square a missing transpose gives no shape error.",
)
def mha_backward(dy, cache):
    flat = _merged_gradients(dy @ cache[1][3].T, cache)
    return _dx(flat, [w.T for w in cache[1]]), *_weight_grads(flat, dy, cache)


@mistake(
    "output_weight_not_transposed",
    replaces="mha_backward",
    caught_by="test_layer_gradients",
    advice="y = merged w_o, so the gradient of merged is dy w_oᵀ. Where w_o is square nothing warns of dy w_o.",
)
def mha_backward(dy, cache):
    flat = _merged_gradients(dy @ cache[1][3], cache)
    return _dx(flat, cache[1]), *_weight_grads(flat, dy, cache)


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
    "weights_averaged_over_the_batch",
    replaces="_weight_grad",
    caught_by="test_layer_gradients",
    advice="The loss's own mean is already in dy: a weight's gradient is the sum over batch and time.",
)
def _weight_grad(x, dy):
    return np.einsum("bti,btj->ij", x, dy) / len(x)


@mistake(
    "heads_fill_the_model_width",
    replaces="mha_backward",
    caught_by="test_layer_gradients",
    advice="H·d and H·dv need not be D: merged gradients are [B, T, H·d], not of x's shape. merge_heads does it.",
)
def mha_backward(dy, cache):
    heads = attention_backward(split_heads(dy @ cache[1][3].T, cache[3]), cache[4])
    flat = [head.swapaxes(1, 2).reshape(dy.shape) for head in heads]
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
