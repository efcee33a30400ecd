"""Guesses at the cause of a wrong array. Each is tested on every element, and only made when the values could tell."""

import math
from collections.abc import Iterator

import numpy as np

from grader.comparison.rules import Array, Rules

MAX_ELEMENTS = 1_000_000

_FLOOR = 1e-6
"""The relative error allowed to a guess, where the rules allow none."""

_FLOAT32 = 2e-6
"""The relative error of a few operations in float32."""

_TELLING = 3
"""Distinct elements, other than zero, without which a coincidence is likely."""


def guess(got: Array, want: Array, rules: Rules) -> str:
    """One clause such as `the sign is flipped`; empty when nothing fits.

    Both arrays have the same shape and are of bools, integers, float64 or complex128; the shape may be of no dimension.
    """
    if want.dtype.kind == "b":
        return "every element is inverted" if _inverted(got, want) else ""
    if got.size > MAX_ELEMENTS or not (np.isfinite(got).all() and np.isfinite(want).all()):
        return ""
    wide = np.complex128 if want.dtype.kind == "c" else np.float64
    return next(_causes(_Pair(got.astype(wide), want.astype(wide), rules)), "")


class _Pair:
    """The two arrays, and what it means that a changed one fits."""

    def __init__(self, got: Array, want: Array, rules: Rules) -> None:
        self.got, self.want = got, want
        self.rules = Rules(rtol=max(rules.rtol, _FLOOR), atol=rules.atol)

    def fits(self, got: Array, want: Array) -> bool:
        return bool((np.abs(got - want) <= self.rules.allowed(want)).all())

    def telling(self, want: Array) -> bool:
        """Whether there are enough elements that differ from zero and from each other by much more than is allowed."""
        step = 8 * float(self.rules.allowed(want).max(initial=0.0))
        distinct = np.unique(np.round(want / step)) if step else want
        return int(np.count_nonzero(distinct)) >= _TELLING


def _causes(pair: _Pair) -> Iterator[str]:
    got, want = pair.got, pair.want
    if _nearly(got, want):
        yield "as far off as float32 rounds: was something computed in it?"
        return
    if pair.fits(-got, want):
        yield "the sign is flipped"
    if not pair.telling(want):
        return
    if not got.any():
        yield "everything is zero"
    yield from _swapped(pair)
    yield from _scaled(pair)
    yield from _offset(pair)
    yield from _shifted(pair)


def _nearly(got: Array, want: Array) -> bool:
    """Whether every element is right to about six digits: no formula is wrong by so little."""
    return bool((np.abs(got - want) <= _FLOAT32 * np.abs(want).max(initial=0.0)).all())


def _swapped(pair: _Pair) -> Iterator[str]:
    shape = pair.want.shape
    pairs = [(i, j) for i in range(len(shape)) for j in range(i + 1, len(shape)) if shape[i] == shape[j] > 1]
    for i, j in pairs[:6]:
        if pair.fits(pair.got.swapaxes(i, j), pair.want):
            yield "transposed" if len(shape) == 2 else f"dimensions {i} and {j} are swapped"


def _shifted(pair: _Pair) -> Iterator[str]:
    for axis in range(pair.want.ndim):
        got, want = np.moveaxis(pair.got, axis, 0), np.moveaxis(pair.want, axis, 0)
        for word, a, b in (("late", got[1:], want[:-1]), ("early", got[:-1], want[1:])):
            if pair.telling(b) and pair.fits(a, b):
                yield f"shifted by one along dimension {axis}: each element comes one place too {word}"


def _scaled(pair: _Pair) -> Iterator[str]:
    got, want = pair.got, pair.want
    factor = complex(np.vdot(want, got) / np.vdot(want, want))
    if factor.imag == 0 and factor.real != 0 and pair.fits(got / factor.real, want):
        yield f"everything is off by {_factor(factor.real, want.shape)}"
    if want.ndim < 2 or want.shape[-1] < _TELLING or want.dtype.kind == "c":
        return
    factors = (want * got).sum(-1, keepdims=True) / (want * want).sum(-1, keepdims=True)
    telling = (factors != 0).all() and all(map(pair.telling, want.reshape(-1, want.shape[-1])))
    if telling and pair.fits(got / factors, want):
        yield "each row is off by a factor of its own: normalised along the last dimension?"


def _offset(pair: _Pair) -> Iterator[str]:
    offset = (pair.got - pair.want).mean()
    if pair.telling(pair.want - pair.want.flat[0]) and pair.fits(pair.got - offset, pair.want):
        yield f"everything is off by the same amount, {offset:+.4g}"


def _factor(factor: float, shape: tuple[int, ...]) -> str:
    """`a factor of 1/16 (the mean instead of the sum over 16?)`, `a factor of √8`, `a factor of 0.3142`."""
    for n in sorted({*shape, math.prod(shape)} - {0, 1}):
        for value, name in _known(n):
            if math.isclose(factor, value, rel_tol=1e-5):
                return f"a factor of {name}"
    return f"a factor of {factor:.{4 if abs(factor - 1) > 1e-3 else 9}g}"


def _known(n: int) -> tuple[tuple[float, str], ...]:
    root = f"√{n}" if math.isqrt(n) ** 2 != n else str(math.isqrt(n))
    return (
        (1 / n, f"1/{n} (the mean instead of the sum over {n}?)"),
        (float(n), f"{n} (the sum instead of the mean over {n}?)"),
        (1 / math.sqrt(n), f"1/{root}"),
        (math.sqrt(n), root),
        (n / (n - 1), f"{n}/{n - 1}"),
        ((n - 1) / n, f"{n - 1}/{n}"),
    )


def _inverted(got: Array, want: Array) -> bool:
    return bool(want.any() and not want.all() and (got != want).all())
