"""Softmax and scaled dot-product attention with their backward passes, in NumPy alone. PROMPT.md pins the details.

split_heads, merge_heads and mha_forward are given done. Everything is float64.
Sizes: B batch, H heads, Tq queries, Tk keys, d channels of a query or key, dv channels of a value, D model width.
"""

from collections.abc import Callable
from typing import Any

import numpy as np


def softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """Softmax along one axis, stable for logits of any finite size.

    Args: x: [...] float64, finite. axis: the axis that sums to 1, of one entry or more.
    Returns: an array of x's shape. x is not modified.
    """
    raise NotImplementedError("softmax: subtract the maximum along the axis first")


def softmax_backward(dy: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The gradient of the loss with respect to x, where y = softmax(x) along the last axis.

    Args: dy: [..., n] gradient with respect to y. y: [..., n] the softmax itself, not x.
    Returns: dx [..., n]. Neither input is modified.
    """
    raise NotImplementedError("softmax_backward: sum dy·y over the last axis first")


def attention_forward(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray | None = None
) -> tuple[np.ndarray, Any]:
    """softmax(q kᵀ / √d) v (Vaswani et al. 2017, section 3.2.1), and what its backward pass needs.

    Args: q: [B, H, Tq, d]. k: [B, H, Tk, d]. v: [B, H, Tk, dv]. mask: bool, of any shape that broadcasts to
        [B, H, Tq, Tk]; True = this query sees this key; None = every query sees every key.
    Returns: (out, cache): out [B, H, Tq, dv], exactly 0 for a query that sees no key; cache: any object.
    """
    raise NotImplementedError("attention_forward: compute the scaled scores [B, H, Tq, Tk] first")


def attention_backward(dout: np.ndarray, cache: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of the loss with respect to q, k and v.

    Args: dout: [B, H, Tq, dv] gradient with respect to out. cache: what attention_forward returned; may be used again.
    Returns: (dq, dk, dv) in the shapes of q, k and v. A query that sees no key gives and gets a gradient of 0.
    """
    raise NotImplementedError("attention_backward: start with dv, the gradient of the last matrix product")


def numerical_grad(f: Callable[[np.ndarray], float], x: np.ndarray, h: float = 1e-5) -> np.ndarray:
    """Central difference (f(x + h·e) − f(x − h·e)) / 2h for each element, two calls of f per element.

    Args: f: maps a float64 array of x's shape to a float. x: one axis or more, of float64, float32 or integers,
        contiguous or not; not modified, not even in between, as f may read it. h: the step.
    Returns: float64 array of x's shape.
    """
    raise NotImplementedError("numerical_grad: loop over the indices of x and move one element at a time")


def rel_error(a: np.ndarray, n: np.ndarray) -> float:
    """The largest |a − n| / max(1e-8, |a| + |n|) over all elements; NaN if either holds a NaN.

    Args: a, n: analytic and numerical gradient, of one shape.
    Returns: a number from 0 (equal) to 1 (opposite signs, or one of them 0).
    """
    raise NotImplementedError("rel_error: compute the elementwise ratio first, then take its maximum")


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
    raise NotImplementedError("mha_backward: go back through w_o first, then split the heads")


def attention_forward_lse(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """attention_forward that keeps one number per query instead of the probabilities (Dao 2023, FlashAttention-2).

    Args: as in attention_forward.
    Returns: (out, lse): out [B, H, Tq, dv] as before; lse [B, H, Tq], the natural logsumexp of the query's scaled and
        masked scores, −inf for a query that sees no key.
    """
    raise NotImplementedError("attention_forward_lse: compute the logsumexp of each row of masked scores first")


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
    raise NotImplementedError("attention_backward_lse: recompute the probabilities from the scores and lse first")
