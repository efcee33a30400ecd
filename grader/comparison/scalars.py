"""Comparing two Python numbers."""

import math
from fractions import Fraction

from grader.comparison.rules import Rules
from grader.comparison.text import number, numbers_apart

Number = bool | int | float | complex


def within(got: Number, want: Number, rules: Rules) -> bool:
    """Whether two numbers agree. NaN and infinities agree with themselves alone; bools have no tolerance; integers are
    compared as integers, however large; a complex number is not finite by its parts."""
    if got == want:
        return True
    if isinstance(got, bool) or isinstance(want, bool):
        return False
    if isinstance(got, int) and isinstance(want, int):
        return abs(got - want) <= Fraction(rules.atol) + Fraction(rules.rtol) * abs(want)
    try:
        a, b = complex(got), complex(want)
    except OverflowError:
        # An integer beyond every float is near none of them.
        return False
    if [_infinite(x) for x in (a.real, a.imag)] != [_infinite(x) for x in (b.real, b.imag)]:
        return False
    a, b = _finite(a), _finite(b)
    return _size(a - b) <= rules.atol + rules.rtol * _size(b)


def off(got: Number, want: Number, rules: Rules) -> str:
    """How far apart two numbers are, against what is allowed; empty where a distance says nothing."""
    if isinstance(got, bool) or isinstance(want, bool):
        return ""
    if isinstance(got, int) and isinstance(want, int):
        return f"off by {number(got - want)}" + ("" if rules.exact else f"; {rules}")
    try:
        error, size = _size(complex(got) - complex(want)), _size(complex(want))
    except OverflowError:
        return ""
    if not (math.isfinite(error) and math.isfinite(size)):
        return ""
    relative = f", {_share(error / size)} relative" if size and math.isfinite(error / size) else ""
    return f"off by {error:.2g} absolute{relative}; {rules}"


def _share(ratio: float) -> str:
    return f"{100 * ratio:.2g} %" if 1e-4 <= ratio < 1 else f"{ratio:.2g}" if 1 <= ratio < 1e4 else f"{ratio:.0e}"


def difference(got: Number, want: Number, rules: Rules) -> str:
    """What to say of two numbers that do not agree."""
    if not _whole(got) and _whole(want):
        return f"{number(got)}, wanted a finite number"
    distance = off(got, want, rules)
    if not distance:
        return "{}, wanted {}".format(*numbers_apart(got, want))
    flipped = not isinstance(got, bool) and within(-got, want, rules)
    return f"{distance}; the sign is flipped" if flipped else distance


def _whole(value: Number) -> bool:
    return isinstance(value, int) or (math.isfinite(value.real) and math.isfinite(value.imag))


def _infinite(part: float) -> str:
    """What a part is when it is not finite; empty when it is."""
    return "" if math.isfinite(part) else str(part)


def _finite(value: complex) -> complex:
    """The value with 0 for each part that is not finite."""
    return complex(*(x if math.isfinite(x) else 0.0 for x in (value.real, value.imag)))


def _size(value: complex) -> float:
    # `abs` of a complex number raises where this is inf.
    return math.hypot(value.real, value.imag)
