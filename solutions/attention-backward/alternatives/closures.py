"""Closures and einsum: each operation returns its value and its pullback; a backward pass calls pullbacks in reverse.

The cache of attention is its pullback, a function of dout: the way jax.vjp answers.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

Pullback = Callable[[np.ndarray], Any]


def softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    return np.exp(x - _logsumexp(x, axis, keepdims=True))


def softmax_backward(dy: np.ndarray, y: np.ndarray) -> np.ndarray:
    centre = np.einsum("...i,...i->...", y, dy)
    return np.einsum("...i,...i->...i", y, dy - centre[..., None])


def attention_forward(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray | None = None
) -> tuple[np.ndarray, Any]:
    scores, scores_pullback = _scale_and_compare(q, k)
    p, softmax_pullback = _softmax_over_visible(scores, mask)
    out, mix_pullback = _mix(p, v)

    def pullback(dout: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        dp, dv = mix_pullback(dout)
        return *scores_pullback(softmax_pullback(dp)), dv

    return out, pullback


def attention_backward(dout: np.ndarray, cache: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return cache(dout)


def numerical_grad(f: Callable[[np.ndarray], float], x: np.ndarray, h: float = 1e-5) -> np.ndarray:
    steps = h * np.eye(x.size).reshape(-1, *x.shape)
    differences = [f(x + step) - f(x - step) for step in steps]
    return np.array(differences).reshape(x.shape) / (2 * h)


def rel_error(a: np.ndarray, n: np.ndarray) -> float:
    size = np.abs(a) + np.abs(n)
    return float((np.abs(a - n) / np.where(size < 1e-8, 1e-8, size)).max())


def split_heads(x: np.ndarray, n_heads: int) -> np.ndarray:
    b, t, width = x.shape
    return np.einsum("bthc->bhtc", x.reshape(b, t, n_heads, width // n_heads))


def merge_heads(x: np.ndarray) -> np.ndarray:
    b, h, t, c = x.shape
    return np.einsum("bhtc->bthc", x).reshape(b, t, h * c)


def mha_forward(
    x: np.ndarray,
    w_q: np.ndarray,
    w_k: np.ndarray,
    w_v: np.ndarray,
    w_o: np.ndarray,
    n_heads: int,
    mask: np.ndarray | None = None,
) -> tuple[np.ndarray, Any]:
    projected, pullbacks = zip(*(_linear(x, w) for w in (w_q, w_k, w_v)), strict=True)
    heads, attention_pullback = attention_forward(*(split_heads(z, n_heads) for z in projected), mask)
    y, out_pullback = _linear(merge_heads(heads), w_o)

    def pullback(dy: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        dmerged, dw_o = out_pullback(dy)
        dheads = attention_pullback(split_heads(dmerged, n_heads))
        paths = [back(merge_heads(dhead)) for back, dhead in zip(pullbacks, dheads, strict=True)]
        return np.add.reduce([dx for dx, _ in paths]), *(dw for _, dw in paths), dw_o

    return y, pullback


def mha_backward(dy: np.ndarray, cache: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    return cache(dy)


def attention_forward_lse(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    scores, _ = _scale_and_compare(q, k)
    visible = _visible(scores, mask)
    top = scores.max(axis=-1, where=visible, initial=np.finfo(np.float64).min)
    total = np.exp(scores - top[..., None], where=visible, out=np.zeros_like(scores)).sum(axis=-1)
    seen = visible.any(axis=-1)
    lse = np.where(seen, top + np.log(np.where(seen, total, 1.0)), -np.inf)
    return _mix(_recomputed(scores, visible, lse), v)[0], lse


def attention_backward_lse(
    dout: np.ndarray,
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    out: np.ndarray,
    lse: np.ndarray,
    mask: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scores, scores_pullback = _scale_and_compare(q, k)
    p = _recomputed(scores, _visible(scores, mask), lse)
    dp, dv = _mix(p, v)[1](dout)
    delta = np.einsum("bhqv,bhqv->bhq", dout, out)
    return *scores_pullback(p * (dp - delta[..., None])), dv


def _logsumexp(x: np.ndarray, axis: int, *, keepdims: bool = False) -> np.ndarray:
    return np.logaddexp.reduce(x, axis=axis, keepdims=keepdims)


def _scale_and_compare(q: np.ndarray, k: np.ndarray) -> tuple[np.ndarray, Pullback]:
    """Scores [B, H, Tq, Tk]; pulls back to (dq, dk). The scale goes into the queries."""
    scale = q.shape[-1] ** -0.5
    scaled = q * scale

    def pullback(ds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return scale * np.einsum("bhqk,bhkd->bhqd", ds, k), np.einsum("bhqk,bhqd->bhkd", ds, scaled)

    return np.einsum("bhqd,bhkd->bhqk", scaled, k), pullback


def _softmax_over_visible(scores: np.ndarray, mask: np.ndarray | None) -> tuple[np.ndarray, Pullback]:
    """Probabilities [B, H, Tq, Tk], a row of zeros where nothing is visible; pulls back to the scores."""
    visible = _visible(scores, mask)
    p = softmax(np.where(visible, scores, -1e300))
    p = np.where(visible, p, 0.0)
    return p, lambda dp: softmax_backward(dp, p)


def _mix(p: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, Pullback]:
    """p @ v; pulls back to (dp, dv)."""

    def pullback(dout: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.einsum("bhqv,bhkv->bhqk", dout, v), np.einsum("bhqk,bhqv->bhkv", p, dout)

    return np.einsum("bhqk,bhkv->bhqv", p, v), pullback


def _linear(x: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, Pullback]:
    """x @ w; pulls back to (dx, dw)."""

    def pullback(dy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.einsum("bto,io->bti", dy, w), np.einsum("bti,bto->io", x, dy)

    return np.einsum("bti,io->bto", x, w), pullback


def _visible(scores: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    return np.broadcast_to(True if mask is None else mask, scores.shape)


def _recomputed(scores: np.ndarray, visible: np.ndarray, lse: np.ndarray) -> np.ndarray:
    """exp(scores − lse) where visible and lse is finite, else 0, without an overflow at what is not."""
    counts = visible & np.isfinite(lse)[..., None]
    return np.exp(scores - lse[..., None], where=counts, out=np.zeros_like(scores))
