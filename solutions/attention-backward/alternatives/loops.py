"""Loops: one query of one head at a time, so that every formula stands there for a single row.

The cache is a dict. The backward pass from lse walks over the keys one by one and never holds a row of probabilities.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np


def softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    return np.apply_along_axis(_softmax_row, axis, x)


def softmax_backward(dy: np.ndarray, y: np.ndarray) -> np.ndarray:
    dx = np.empty(y.shape)
    for row in np.ndindex(y.shape[:-1]):
        dx[row] = y[row] * dy[row] - y[row] * np.dot(y[row], dy[row])
    return dx


def attention_forward(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray | None = None
) -> tuple[np.ndarray, Any]:
    out = np.zeros((*q.shape[:3], v.shape[3]))
    p = np.zeros((*q.shape[:3], k.shape[2]))
    for b, h, i, seen in _queries(q, k, mask):
        if seen.any():
            p[b, h, i, seen] = _softmax_row(k[b, h, seen] @ q[b, h, i] / math.sqrt(q.shape[3]))
        out[b, h, i] = p[b, h, i] @ v[b, h]
    return out, {"q": q, "k": k, "v": v, "p": p}


def attention_backward(dout: np.ndarray, cache: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    q, k, v, p = (cache[name] for name in "qkvp")
    dq, dk, dv = np.zeros(q.shape), np.zeros(k.shape), np.zeros(v.shape)
    for b, h, i in np.ndindex(q.shape[:3]):
        row, g = p[b, h, i], dout[b, h, i]  # (Tk,), (dv,)
        dv[b, h] += np.outer(row, g)
        ds = softmax_backward(v[b, h] @ g, row) / math.sqrt(q.shape[3])  # (Tk,)
        dq[b, h, i] = ds @ k[b, h]
        dk[b, h] += np.outer(ds, q[b, h, i])
    return dq, dk, dv


def numerical_grad(f: Callable[[np.ndarray], float], x: np.ndarray, h: float = 1e-5) -> np.ndarray:
    moved = np.array(x, dtype=np.float64)
    grad = np.zeros(moved.shape)
    places = np.nditer(moved, flags=["multi_index"], op_flags=["readwrite"])
    for value in places:
        here = float(value)
        value[...] = here + h
        above = f(moved)
        value[...] = here - h
        below = f(moved)
        value[...] = here
        grad[places.multi_index] = (above - below) / (2 * h)
    return grad


def rel_error(a: np.ndarray, n: np.ndarray) -> float:
    errors = [abs(x - y) / max(1e-8, abs(x) + abs(y)) for x, y in zip(a.flat, n.flat, strict=True)]
    return math.nan if any(map(math.isnan, errors)) else max(errors)  # max alone would pass over a NaN


def split_heads(x: np.ndarray, n_heads: int) -> np.ndarray:
    return np.stack(np.split(x, n_heads, axis=2), axis=1)


def merge_heads(x: np.ndarray) -> np.ndarray:
    return np.concatenate([x[:, head] for head in range(x.shape[1])], axis=2)


def mha_forward(
    x: np.ndarray,
    w_q: np.ndarray,
    w_k: np.ndarray,
    w_v: np.ndarray,
    w_o: np.ndarray,
    n_heads: int,
    mask: np.ndarray | None = None,
) -> tuple[np.ndarray, Any]:
    q, k, v = (split_heads(x @ w, n_heads) for w in (w_q, w_k, w_v))
    out, attention_cache = attention_forward(q, k, v, mask)
    merged = merge_heads(out)
    return merged @ w_o, (x, (w_q, w_k, w_v, w_o), merged, n_heads, attention_cache)


def mha_backward(dy: np.ndarray, cache: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    x, (w_q, w_k, w_v, w_o), merged, n_heads, attention_cache = cache
    dw_o = sum(m.T @ g for m, g in zip(merged, dy, strict=True))
    heads = attention_backward(split_heads(dy @ w_o.T, n_heads), attention_cache)
    dx, dw = np.zeros(x.shape), []
    for grad, w in zip(heads, (w_q, w_k, w_v), strict=True):
        grad = merge_heads(grad)
        dw.append(sum(item.T @ g for item, g in zip(x, grad, strict=True)))
        dx += grad @ w.T
    return dx, *dw, dw_o


def attention_forward_lse(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    out = np.zeros((*q.shape[:3], v.shape[3]))
    lse = np.full(q.shape[:3], -np.inf)
    for b, h, i, seen in _queries(q, k, mask):
        top, total, mixed = -np.inf, 0.0, np.zeros(v.shape[3])
        for j in np.flatnonzero(seen):  # the online softmax: what was summed so far is rescaled to the new maximum
            s = _score(q[b, h, i], k[b, h, j])
            new_top = max(top, s)
            fade, weight = math.exp(top - new_top), math.exp(s - new_top)
            top, total, mixed = new_top, total * fade + weight, mixed * fade + weight * v[b, h, j]
        if total:
            out[b, h, i], lse[b, h, i] = mixed / total, top + math.log(total)
    return out, lse


def attention_backward_lse(
    dout: np.ndarray,
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    out: np.ndarray,
    lse: np.ndarray,
    mask: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    dq, dk, dv = np.zeros(q.shape), np.zeros(k.shape), np.zeros(v.shape)
    for b, h, i, seen in _queries(q, k, mask):
        if lse[b, h, i] == -math.inf:
            continue
        g = dout[b, h, i]
        for j in np.flatnonzero(seen):
            p = math.exp(_score(q[b, h, i], k[b, h, j]) - lse[b, h, i])
            ds = p * (g @ (v[b, h, j] - out[b, h, i])) / math.sqrt(q.shape[3])
            dq[b, h, i] += ds * k[b, h, j]
            dk[b, h, j] += ds * q[b, h, i]
            dv[b, h, j] += p * g
    return dq, dk, dv


def _queries(q: np.ndarray, k: np.ndarray, mask: np.ndarray | None) -> Iterator[tuple[int, int, int, np.ndarray]]:
    """Batch, head and index of each query, with the keys it sees, bool [Tk]."""
    seen = np.broadcast_to(True if mask is None else mask, (*q.shape[:3], k.shape[2]))
    for b, h, i in np.ndindex(q.shape[:3]):
        yield b, h, i, seen[b, h, i]


def _softmax_row(row: np.ndarray) -> np.ndarray:
    top = max(row)
    e = np.array([math.exp(value - top) for value in row])
    return e / e.sum()


def _score(query: np.ndarray, key: np.ndarray) -> float:
    return float(query @ key) / math.sqrt(len(query))
