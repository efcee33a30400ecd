"""The two tails of the gamma distribution, and with them of the χ² and the Poisson distribution, far out too."""

import math
from typing import NamedTuple

_EPSILON = 1e-16
_TINY = 1e-300
_STEPS = 100_000


class Tails(NamedTuple):
    """The regularised incomplete gamma functions P(s, x) and Q(s, x), each accurate where it is small."""

    lower: float
    upper: float


def tails(s: float, x: float) -> Tails:
    """For s > 0 and x ≥ 0. The relative error is some 1e-13 for s up to 100, and grows like s·1e-15 beyond."""
    if x <= 0:
        return Tails(0.0, 1.0)
    scale = math.exp(s * math.log(x) - x - math.lgamma(s))
    if x < s + 1:
        lower = min(scale * _series(s, x), 1.0)
        return Tails(lower, 1 - lower)
    upper = min(scale * _fraction(s, x), 1.0)
    return Tails(1 - upper, upper)


def chi_square_above(statistic: float, degrees: int) -> float:
    """The chance that χ² with so many degrees of freedom exceeds the statistic; 1 for none."""
    return tails(degrees / 2, statistic / 2).upper if degrees else 1.0


def poisson_at_least(count: int, mean: float) -> float:
    """The chance of so many events, or more, where so many are expected."""
    return tails(count, mean).lower if count else 1.0


def _series(s: float, x: float) -> float:
    """Σ xⁿ / (s (s+1) … (s+n))."""
    term = total = 1 / s
    for n in range(1, _STEPS):
        term *= x / (s + n)
        total += term
        if term < total * _EPSILON:
            break
    return total


def _fraction(s: float, x: float) -> float:
    """1/(x+1−s− 1(1−s)/(x+3−s− 2(2−s)/(x+5−s− …))), by Lentz's method."""
    b = x + 1 - s
    c, d = 1 / _TINY, 1 / b
    total = d
    for n in range(1, _STEPS):
        a = n * (s - n)
        b += 2
        d = 1 / (a * d + b or _TINY)
        c = b + a / c or _TINY
        total *= c * d
        if abs(c * d - 1) < _EPSILON * 4:
            break
    return total
