"""Softmax and scaled dot-product attention with their backward passes, in NumPy alone.

Left out: dropout, grouped heads, half precision; everything is float64.
Sizes: B batch, H heads, Tq queries, Tk keys, d channels of a query or key, dv channels of a value, D model width.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np


def softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """Softmax along one axis, stable for logits of any finite size.

    Args: x: [...] float64, finite. axis: the axis that sums to 1, of one entry or more.
    Returns: an array of x's shape. x is not modified.
    """
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def softmax_backward(dy: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The gradient of the loss with respect to x, where y = softmax(x) along the last axis.

    Args: dy: [..., n] gradient with respect to y. y: [..., n] the softmax itself, not x.
    Returns: dx [..., n]. Neither input is modified.
    """
    return y * (dy - (dy * y).sum(axis=-1, keepdims=True))


def attention_forward(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray | None = None
) -> tuple[np.ndarray, Any]:
    """softmax(q kᵀ / √d) v (Vaswani et al. 2017, section 3.2.1), and what its backward pass needs.

    Args: q: [B, H, Tq, d]. k: [B, H, Tk, d]. v: [B, H, Tk, dv]. mask: bool, of any shape that broadcasts to
        [B, H, Tq, Tk]; True = this query sees this key; None = every query sees every key.
    Returns: (out, cache): out [B, H, Tq, dv], exactly 0 for a query that sees no key; cache: any object.
    """
    keep = np.True_ if mask is None else mask
    lowest = np.finfo(np.float64).min  # finite, so that a row without a visible key makes no NaN
    p = softmax(np.where(keep, _scores(q, k), lowest)) * keep  # (B, H, Tq, Tk)
    return p @ v, (q, k, v, p)


def attention_backward(dout: np.ndarray, cache: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of the loss with respect to q, k and v.

    Args: dout: [B, H, Tq, dv] gradient with respect to out. cache: what attention_forward returned; may be used again.
    Returns: (dq, dk, dv) in the shapes of q, k and v. A query that sees no key gives and gets a gradient of 0.
    """
    q, k, v, p = cache
    dv = _transposed(p) @ dout  # (B, H, Tk, dv)
    dp = dout @ _transposed(v)  # (B, H, Tq, Tk)
    ds = softmax_backward(dp, p) / math.sqrt(q.shape[-1])  # (B, H, Tq, Tk)
    return ds @ k, _transposed(ds) @ q, dv


def numerical_grad(f: Callable[[np.ndarray], float], x: np.ndarray, h: float = 1e-5) -> np.ndarray:
    """Central difference (f(x + h·e) − f(x − h·e)) / 2h for each element, two calls of f per element.

    Args: f: maps a float64 array of x's shape to a float. x: one axis or more, of float64, float32 or integers,
        contiguous or not; not modified, not even in between, as f may read it. h: the step.
    Returns: float64 array of x's shape.
    """
    x = np.asarray(x, dtype=np.float64)
    grad = np.empty_like(x)
    for index in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[index] = h
        grad[index] = (f(x + step) - f(x - step)) / (2 * h)
    return grad


def rel_error(a: np.ndarray, n: np.ndarray) -> float:
    """The largest |a − n| / max(1e-8, |a| + |n|) over all elements; NaN if either holds a NaN.

    Args: a, n: analytic and numerical gradient, of one shape.
    Returns: a number from 0 (equal) to 1 (opposite signs, or one of them 0).
    """
    return float(np.max(np.abs(a - n) / np.maximum(1e-8, np.abs(a) + np.abs(n))))


def split_heads(x: np.ndarray, n_heads: int) -> np.ndarray:
    """[B, T, H·c] → [B, H, T, c]: head i owns the channels i·c to (i + 1)·c."""
    b, t, _ = x.shape
    return x.reshape(b, t, n_heads, -1).swapaxes(1, 2)


def merge_heads(x: np.ndarray) -> np.ndarray:
    """[B, H, T, c] → [B, T, H·c]: the inverse of split_heads."""
    b, _, t, _ = x.shape
    return x.swapaxes(1, 2).reshape(b, t, -1)


def mha_forward(
    x: np.ndarray,
    w_q: np.ndarray,
    w_k: np.ndarray,
    w_v: np.ndarray,
    w_o: np.ndarray,
    n_heads: int,
    mask: np.ndarray | None = None,
) -> tuple[np.ndarray, Any]:
    """Multi-head self-attention without biases: project, attend per head, project back.

    Args: x: [B, T, D]. w_q, w_k: [D, H·d]. w_v: [D, H·dv]. w_o: [H·dv, D]; each is used as x @ w. mask: as in
        attention_forward.
    Returns: (y, cache): y [B, T, D].
    """
    q, k, v = (split_heads(x @ w, n_heads) for w in (w_q, w_k, w_v))  # (B, H, T, d), (B, H, T, d), (B, H, T, dv)
    out, attention_cache = attention_forward(q, k, v, mask)  # (B, H, T, dv)
    merged = merge_heads(out)  # (B, T, H·dv)
    return merged @ w_o, (x, (w_q, w_k, w_v, w_o), merged, n_heads, attention_cache)


def mha_backward(dy: np.ndarray, cache: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of the loss with respect to the input and the four weights of mha_forward.

    Args: dy: [B, T, D] gradient with respect to y. cache: what mha_forward returned; may be used again.
    Returns: (dx, dw_q, dw_k, dw_v, dw_o) in the shapes of x and the weights, summed over the batch.
    """
    x, (w_q, w_k, w_v, w_o), merged, n_heads, attention_cache = cache
    dout = split_heads(dy @ w_o.T, n_heads)  # (B, H, T, dv)
    dq, dk, dv = map(merge_heads, attention_backward(dout, attention_cache))  # (B, T, H·d), (B, T, H·d), (B, T, H·dv)
    dx = dq @ w_q.T + dk @ w_k.T + dv @ w_v.T  # (B, T, D)
    return dx, _weight_grad(x, dq), _weight_grad(x, dk), _weight_grad(x, dv), _weight_grad(merged, dy)


def attention_forward_lse(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """attention_forward that keeps one number per query instead of the probabilities (Dao 2023, FlashAttention-2).

    Args: as in attention_forward.
    Returns: (out, lse): out [B, H, Tq, dv] as before; lse [B, H, Tq], the natural logsumexp of the query's scaled and
        masked scores, −inf for a query that sees no key.
    """
    s = _masked_scores(q, k, mask)  # (B, H, Tq, Tk)
    lse = np.logaddexp.reduce(s, axis=-1)  # (B, H, Tq)
    return _probabilities(s, lse) @ v, lse


def attention_backward_lse(
    dout: np.ndarray,
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    out: np.ndarray,
    lse: np.ndarray,
    mask: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """attention_backward from recomputed probabilities exp(s − lse) and the row sums of dout·out (FlashAttention-2).

    Args: dout, out: [B, H, Tq, dv]. q, k, v, mask: as in attention_forward, or some of its keys with their values and
        mask columns. lse: [B, H, Tq]. out and lse are those of the whole row and are used as they come.
    Returns: (dq, dk, dv): for some of the keys, their share of dq, and their own dk and dv.
    """
    p = _probabilities(_masked_scores(q, k, mask), lse)  # (B, H, Tq, Tk)
    delta = (dout * out).sum(axis=-1, keepdims=True)  # (B, H, Tq, 1)
    ds = p * (dout @ _transposed(v) - delta) / math.sqrt(q.shape[-1])  # (B, H, Tq, Tk)
    return ds @ k, _transposed(ds) @ q, _transposed(p) @ dout


def _transposed(x: np.ndarray) -> np.ndarray:
    """[..., m, n] → [..., n, m]."""
    return x.swapaxes(-1, -2)


def _scores(q: np.ndarray, k: np.ndarray) -> np.ndarray:
    """Scaled dot products, [B, H, Tq, Tk]."""
    return q @ _transposed(k) / math.sqrt(q.shape[-1])


def _masked_scores(q: np.ndarray, k: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Scaled dot products, −inf where the mask is False, [B, H, Tq, Tk]."""
    return np.where(np.True_ if mask is None else mask, _scores(q, k), -np.inf)


def _probabilities(s: np.ndarray, lse: np.ndarray) -> np.ndarray:
    """exp(s − lse), and 0 in rows whose lse is −inf, where −inf − (−inf) would be NaN."""
    return np.exp(s - np.where(np.isneginf(lse), np.inf, lse)[..., None])


def _weight_grad(x: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """dw of y = x @ w: [B, T, i], [B, T, j] → [i, j], summed over batch and time."""
    return np.tensordot(x, dy, axes=((0, 1), (0, 1)))
