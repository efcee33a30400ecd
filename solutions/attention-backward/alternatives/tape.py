"""A tape: a few differentiable operations record themselves, and one sweep in reverse gives every gradient.

Nothing here is derived for attention: softmax is divided exponentials, and its gradient follows from theirs.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(eq=False, slots=True)
class Node:
    """An array, the nodes it was made from, and how its gradient becomes one for each of them."""

    value: np.ndarray
    parents: tuple["Node", ...] = ()
    vjp: Callable[[np.ndarray], Sequence[np.ndarray]] = lambda _: ()

    def __add__(self, other: "Node") -> "Node":
        return Node(self.value + other.value, (self, other), lambda g: (g, g))

    def __mul__(self, other: "Node") -> "Node":
        return Node(self.value * other.value, (self, other), lambda g: (g * other.value, g * self.value))

    def __matmul__(self, other: "Node") -> "Node":
        a, b = self.value, other.value
        return Node(a @ b, (self, other), lambda g: (g @ b.swapaxes(-1, -2), a.swapaxes(-1, -2) @ g))

    def exp(self) -> "Node":
        e = np.exp(self.value)
        return Node(e, (self,), lambda g: (g * e,))

    def reciprocal(self) -> "Node":
        r = 1.0 / self.value
        return Node(r, (self,), lambda g: (-g * r * r,))

    def sum_last(self) -> "Node":
        total = self.value.sum(axis=-1, keepdims=True)
        return Node(total, (self,), lambda g: (np.broadcast_to(g, self.value.shape),))

    def swap(self, i: int, j: int) -> "Node":
        return Node(self.value.swapaxes(i, j), (self,), lambda g: (g.swapaxes(i, j),))

    def reshape(self, *shape: int) -> "Node":
        return Node(self.value.reshape(shape), (self,), lambda g: (g.reshape(self.value.shape),))


@dataclass(frozen=True, slots=True)
class Cache:
    """What a backward pass starts from: the result, and the leaves whose gradients are wanted."""

    result: Node
    leaves: tuple[Node, ...]


def gradients(upstream: np.ndarray, cache: Cache) -> tuple[np.ndarray, ...]:
    """The gradient of each leaf, in the leaf's shape."""
    grads = {id(cache.result): upstream}
    for node in reversed(_sorted(cache.result)):
        for parent, grad in zip(node.parents, node.vjp(grads[id(node)]), strict=True):
            grads[id(parent)] = grads.get(id(parent), 0.0) + _like(parent.value, grad)
    return tuple(grads[id(leaf)] for leaf in cache.leaves)


def softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    return np.moveaxis(_softmax(Node(np.moveaxis(x, axis, -1))).value, -1, axis)


def softmax_backward(dy: np.ndarray, y: np.ndarray) -> np.ndarray:
    jacobian = y[..., :, None] * (np.eye(y.shape[-1]) - y[..., None, :])  # (..., n, n)
    return np.einsum("...i,...ij->...j", dy, jacobian)


def attention_forward(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray | None = None
) -> tuple[np.ndarray, Any]:
    leaves = Node(q), Node(k), Node(v)
    out = _attention(*leaves, mask)
    return out.value, Cache(out, leaves)


def attention_backward(dout: np.ndarray, cache: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return gradients(dout, cache)


def numerical_grad(f: Callable[[np.ndarray], float], x: np.ndarray, h: float = 1e-5) -> np.ndarray:
    flat = x.astype(np.float64).ravel()

    def moved(place: int, by: float) -> np.ndarray:
        copy = flat.copy()
        copy[place] += by
        return copy.reshape(x.shape)

    return np.array([(f(moved(i, h)) - f(moved(i, -h))) / (2 * h) for i in range(x.size)]).reshape(x.shape)


def rel_error(a: np.ndarray, n: np.ndarray) -> float:
    return (abs(a - n) / (abs(a) + abs(n)).clip(1e-8)).max()


def split_heads(x: np.ndarray, n_heads: int) -> np.ndarray:
    return _split(Node(x), n_heads).value


def merge_heads(x: np.ndarray) -> np.ndarray:
    return _merge(Node(x)).value


def mha_forward(
    x: np.ndarray,
    w_q: np.ndarray,
    w_k: np.ndarray,
    w_v: np.ndarray,
    w_o: np.ndarray,
    n_heads: int,
    mask: np.ndarray | None = None,
) -> tuple[np.ndarray, Any]:
    leaf, *weights = leaves = tuple(map(Node, (x, w_q, w_k, w_v, w_o)))
    q, k, v = (_split(leaf @ w, n_heads) for w in weights[:3])
    y = _merge(_attention(q, k, v, mask)) @ weights[3]
    return y.value, Cache(y, leaves)


def mha_backward(dy: np.ndarray, cache: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    return gradients(dy, cache)


def attention_forward_lse(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    scores = _scores(Node(q), Node(k), mask).value
    top = np.maximum(scores.max(axis=-1), -1e290)  # (B, H, Tq); below it stands only what is masked
    e = np.exp(scores - top[..., None])
    with np.errstate(divide="ignore"):
        lse = top + np.log(e.sum(axis=-1))
    out, _ = attention_forward(q, k, v, mask)
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
    # With lse and delta held constant, Σ dout·(p v) − delta·Σ p has the gradients that are wanted.
    leaves = Node(q), Node(k), Node(v)
    delta = (dout * out).sum(axis=-1, keepdims=True)
    shift = np.where(np.isneginf(lse), -1e290, -lse)  # (B, H, Tq); a row of weight 0 goes so low that it vanishes
    normaliser = Node(np.broadcast_to(shift[..., None], (*lse.shape, k.shape[2])))
    p = (_scores(*leaves[:2], mask) + normaliser).exp()
    value = (Node(dout) * (p @ leaves[2])).sum_last() + Node(-delta) * p.sum_last()
    return gradients(np.ones(value.value.shape), Cache(value, leaves))


def _sorted(result: Node) -> list[Node]:
    """All nodes below the result, each after its parents."""
    order: list[Node] = []
    seen: set[int] = set()

    def visit(node: Node) -> None:
        if id(node) not in seen:
            seen.add(id(node))
            for parent in node.parents:
                visit(parent)
            order.append(node)

    visit(result)
    return order


def _like(value: np.ndarray, grad: np.ndarray) -> np.ndarray:
    """The gradient summed over the axes along which the value was broadcast."""
    grad = grad.sum(axis=tuple(range(grad.ndim - value.ndim)))
    return grad.sum(axis=tuple(i for i, n in enumerate(value.shape) if n == 1), keepdims=True)


def _softmax(x: Node) -> Node:
    e = (x + Node(-x.value.max(axis=-1, keepdims=True))).exp()
    return e * e.sum_last().reciprocal()


def _scores(q: Node, k: Node, mask: np.ndarray | None) -> Node:
    """Scaled scores; where the mask is False a finite number so low that its exponential is 0."""
    scores = (q @ k.swap(-1, -2)) * Node(np.array(1 / math.sqrt(q.value.shape[-1])))
    if mask is None:
        return scores
    return scores * Node(np.where(mask, 1.0, 0.0)) + Node(np.where(mask, 0.0, -1e300))


def _attention(q: Node, k: Node, v: Node, mask: np.ndarray | None) -> Node:
    p = _softmax(_scores(q, k, mask))
    return (p if mask is None else p * Node(np.where(mask, 1.0, 0.0))) @ v


def _split(x: Node, n_heads: int) -> Node:
    b, t, _ = x.value.shape
    return x.reshape(b, t, n_heads, -1).swap(1, 2)


def _merge(x: Node) -> Node:
    b, _, t, _ = x.value.shape
    return x.swap(1, 2).reshape(b, t, -1)
