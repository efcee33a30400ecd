"""Known wrong backward passes, each with the advice that belongs to it."""

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
    "in_another_order",
    replaces="attention_backward",
    caught_by="test_dv",
    advice="These are the right gradients in the wrong order: return (dq, dk, dv).",
)
def attention_backward(dout, cache):
    return _gradients(_ds(dout, cache), dout, cache)[::-1]


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
    "dk_unscaled",
    replaces="attention_backward",
    caught_by="test_dk",
    advice="The 1/√d belongs to dk as to dq: both come from s = q kᵀ/√d. Put it into ds, once.",
)
def attention_backward(dout, cache):
    dq, dk, dv = _gradients(_ds(dout, cache), dout, cache)
    return dq, dk * math.sqrt(dq.shape[-1]), dv


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
    "gradient_scaled_by_the_value_width",
    replaces="attention_backward",
    caught_by="test_gradients_at_all_sizes",
    advice="The scale is 1/√d with d = q.shape[-1], as in the forward pass; the width of v and dout may differ.",
)
def attention_backward(dout, cache):
    ds = softmax_backward(dout @ _transposed(cache[2]), cache[3]) / math.sqrt(dout.shape[-1])
    return _gradients(ds, dout, cache)


@mistake(
    "recomputed_without_the_mask",
    replaces="attention_backward",
    caught_by="test_gradients_at_all_sizes",
    advice="The probabilities were recomputed without the mask. Cache them, or the mask, and apply it again.",
)
def attention_backward(dout, cache):
    q, k, v, _ = cache
    cache = q, k, v, softmax(_scores(q, k))
    return _gradients(_ds(dout, cache), dout, cache)


@mistake(
    "recomputed_without_the_maximum",
    replaces="attention_backward",
    caught_by="test_gradients_at_all_sizes",
    advice="The probabilities were recomputed with exp of raw scores, which overflows. Cache those of the forward.",
)
def attention_backward(dout, cache):
    q, k, v, p = cache
    e = np.exp(_scores(q, k)) * (p > 0)
    cache = q, k, v, e / np.maximum(e.sum(axis=-1, keepdims=True), 1e-300)
    return _gradients(_ds(dout, cache), dout, cache)


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
    "dout_overwritten",
    replaces="attention_backward",
    caught_by="test_attention_backward_leaves_dout_and_its_cache",
    advice="`dout *= …` changes the caller's array, which another branch may need. Make a new one.",
)
def attention_backward(dout, cache):
    gradients = _gradients(_ds(dout, cache), dout, cache)
    dout *= 1 / math.sqrt(cache[0].shape[-1])
    return gradients


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
