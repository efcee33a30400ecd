"""Known wrong recomputations from the logsumexp, each with the advice that belongs to it."""

import math

import numpy as np

from grader.checking import mistake


@mistake(
    "lse_without_the_maximum",
    replaces="attention_forward_lse",
    caught_by="test_lse_of_every_query",
    advice="exp(s) is ∞ beyond 709 and 0 below −745, so this is ±∞. Use m + log Σ exp(s − m), m the row's maximum.",
)
def attention_forward_lse(q, k, v, mask=None):
    lse = np.log(np.exp(_masked_scores(q, k, mask)).sum(axis=-1))
    return attention_forward(q, k, v, mask)[0], lse


@mistake(
    "lse_unscaled",
    replaces="attention_forward_lse",
    caught_by="test_lse_of_every_query",
    advice="lse is that of the scaled scores q kᵀ/√d, the very ones that P is the softmax of.",
)
def attention_forward_lse(q, k, v, mask=None):
    lse = np.logaddexp.reduce(_masked_scores(q, k, mask) * math.sqrt(q.shape[-1]), axis=-1)
    return attention_forward(q, k, v, mask)[0], lse


@mistake(
    "lse_over_all_keys",
    replaces="attention_forward_lse",
    caught_by="test_lse_of_every_query",
    advice="This lse counts the hidden keys too: mask the scores before the logsumexp.",
)
def attention_forward_lse(q, k, v, mask=None):
    lse = np.logaddexp.reduce(_scores(q, k), axis=-1)
    return attention_forward(q, k, v, mask)[0], lse


def _pass_back(dout, q, k, v, p, delta):
    """The gradients from the probabilities p and the row sums delta."""
    ds = p * (dout @ _transposed(v) - delta) / math.sqrt(q.shape[-1])
    return ds @ k, _transposed(ds) @ q, _transposed(p) @ dout


def _delta(dout, out):
    return (dout * out).sum(axis=-1, keepdims=True)


@mistake(
    "hidden_row_minus_infinity_twice",
    replaces="attention_backward_lse",
    caught_by="test_backward_from_lse",
    advice="For a query that sees no key, s − lse is −∞ − (−∞) = NaN. Put +∞ for such an lse, then exp(−∞) = 0.",
)
def attention_backward_lse(dout, q, k, v, out, lse, mask=None):
    p = np.exp(_masked_scores(q, k, mask) - lse[..., None])
    return _pass_back(dout, q, k, v, p, _delta(dout, out))


@mistake(
    "no_delta",
    replaces="attention_backward_lse",
    caught_by="test_backward_from_lse",
    advice="ds = p·(dp − delta)/√d, not p·dp: delta, the row sum of dout·out, stands for all other keys of the row.",
)
def attention_backward_lse(dout, q, k, v, out, lse, mask=None):
    return _pass_back(dout, q, k, v, _probabilities(_masked_scores(q, k, mask), lse), 0.0)


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
    p = _probabilities(_masked_scores(q, k, mask), lse)
    return _pass_back(dout, q, k, v, p, (dout @ _transposed(v) * p).sum(axis=-1, keepdims=True))


@mistake(
    "normalised_on_the_block",
    replaces="attention_backward_lse",
    caught_by="test_key_blocks_give_their_share",
    advice="On some of the keys P does not sum to 1. Use lse as it comes: compute none anew, divide by no sum.",
)
def attention_backward_lse(dout, q, k, v, out, lse, mask=None):
    s = _masked_scores(q, k, mask)
    return _pass_back(dout, q, k, v, _probabilities(s, np.logaddexp.reduce(s, axis=-1)), _delta(dout, out))


@mistake(
    "minus_infinity_taken_for_zero",
    replaces="attention_backward_lse",
    caught_by="test_key_blocks_give_their_share",
    advice="exp(s − 0) is not 0: where lse is −∞ put +∞ in its place, and s − lse is −∞ whatever the mask says.",
)
def attention_backward_lse(dout, q, k, v, out, lse, mask=None):
    p = np.exp(_masked_scores(q, k, mask) - np.where(np.isneginf(lse), 0.0, lse)[..., None])
    return _pass_back(dout, q, k, v, p, _delta(dout, out))
