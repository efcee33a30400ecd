"""Comparing arrays and tensors: shape, dtype, device, which elements are finite, then the rest. Nothing broadcasts."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from grader.comparison import scalars, values
from grader.comparison.describe import FEW, short
from grader.comparison.guess import guess
from grader.comparison.rules import Array, Difference, Rules
from grader.comparison.text import dtype_name, numbers_apart


def difference(got: Any, want: Any, rules: Rules) -> Difference | None:
    """The first difference of two NumPy arrays or two tensors."""
    message = _layout(got, want)
    if message:
        return Difference.of(message, got, want)
    message, worst = _elements(values.plain_array(got), values.plain_array(want), rules)
    if not message:
        return None
    if len(worst) < 2 or math.prod(want.shape) <= FEW:
        return Difference.of(message, got, want)
    row = worst[:-1]
    return Difference.of(message, got[row], want[row]).shown_as(f"{list(row)}: ")


def _layout(got: Any, want: Any) -> str:
    shapes = tuple(got.shape), tuple(want.shape)
    if shapes[0] != shapes[1]:
        return f"shape {shapes[0]}, wanted {shapes[1]}{_shape_hint(*shapes)}"
    if not same_dtype(got.dtype, want.dtype):
        return f"dtype {dtype_name(got.dtype)}, wanted {dtype_name(want.dtype)}"
    if values.kind(want) == "torch tensor" and got.device != want.device:
        return f"on device {got.device}, wanted on {want.device}"
    return ""


def same_dtype(got: Any, want: Any) -> bool:
    """Byte order and the width of strings are no part of a dtype here."""
    if issubclass(type(want), np.dtype):
        return bool(got.kind == want.kind and (want.kind in "US" or got.itemsize == want.itemsize))
    return bool(got == want)


def _shape_hint(got: tuple[int, ...], want: tuple[int, ...]) -> str:
    if not want:
        return ": not reduced to one number?"
    if not got:
        return ": reduced to one number?"
    if [n for n in got if n != 1] == [n for n in want if n != 1]:
        return ": a dimension of size 1 too many or too few (keepdim, unsqueeze)?"
    return ": transposed?" if sorted(got) == sorted(want) else ""


@dataclass(frozen=True, slots=True)
class _Compared:
    """Two arrays of one shape and dtype, element by element."""

    got: Array
    want: Array
    wrong: Array
    """Booleans."""
    excess: Array
    """How far each element is beyond what is allowed; where there is no distance, 1 for a wrong one."""

    def at(self, where: tuple[int, ...]) -> tuple[Any, Any]:
        return values.plain_number(self.got[where]), values.plain_number(self.want[where])


def _elements(got: Array, want: Array, rules: Rules) -> tuple[str, tuple[int, ...]]:
    """What to say of the elements, and where the worst is; empty when all agree."""
    with np.errstate(all="ignore"):
        if _agree(got, want, rules):
            return "", ()
        if got.dtype.kind in "fc":
            infinite = _infinite(got, want)
            if infinite.any():
                return _told(_Compared(got, want, infinite, infinite), rules, "")
        compared = _compare(got, want, rules)
        if not compared.wrong.any():
            return "", ()
        cause = guess(got, want, rules) if rules.teach and got.dtype.kind in "biufc" else ""
    return _told(compared, rules, cause)


def _agree(got: Array, want: Array, rules: Rules) -> bool:
    """The usual case, told at once: finite numbers that are near enough. False says nothing."""
    if got.dtype.kind not in "fc":
        return bool((got == want).all())
    return bool(np.isfinite(want).all() and (np.abs(got - want) <= rules.allowed(want)).all())


def _infinite(got: Array, want: Array) -> Array:
    """Where one of the two is NaN or infinite and the other is not the same, for complex numbers part by part."""
    parts = [(got.real, want.real), (got.imag, want.imag)][: 2 if got.dtype.kind == "c" else 1]
    differ = np.zeros(got.shape, dtype=bool)
    for a, b in parts:
        differ |= (np.isnan(a) != np.isnan(b)) | (np.isinf(a) != np.isinf(b)) | (np.isinf(b) & (a != b))
    return differ


def _compare(got: Array, want: Array, rules: Rules) -> _Compared:
    kind = got.dtype.kind
    if kind in "fc":
        got, want = (np.nan_to_num(x, nan=0.0, posinf=0.0, neginf=0.0) for x in (got, want))
        error = np.abs(got - want)
    elif kind in "iu" and not rules.exact:
        error = _distance(got, want)
    else:
        wrong = np.asarray(got != want)
        return _Compared(got, want, wrong, wrong)
    allowed = rules.allowed(want.astype(np.float64) if kind in "iu" else want)
    return _Compared(got, want, ~np.asarray(error <= allowed), np.asarray(error - allowed))


def _distance(got: Array, want: Array) -> Array:
    """|got − want| of integers, exact: no difference of two 64-bit integers exceeds an unsigned one."""
    wide = np.uint64 if got.dtype.kind == "u" else np.int64
    a, b = got.astype(wide), want.astype(wide)
    return np.where(a > b, a - b, b - a).astype(np.uint64)


def _told(compared: _Compared, rules: Rules, cause: str) -> tuple[str, tuple[int, ...]]:
    if not compared.want.shape:
        return _one_element(*compared.at(()), rules), ()
    wrong, total = int(compared.wrong.sum()), compared.wrong.size
    where = np.unravel_index(int(np.argmax(np.where(compared.wrong, compared.excess, -np.inf))), compared.wrong.shape)
    index = tuple(int(i) for i in where)
    got, want = compared.at(index)
    which = "" if wrong == 1 else "first " if compared.excess.dtype == bool else "worst "
    text = f"{wrong} of {total} elements {_fault(compared)}; {which}at {list(index)}: {_both(got, want)}"
    distance = "" if isinstance(got, str | bytes) else scalars.off(got, want, rules)
    return "; ".join(part for part in (text, distance, cause) if part), index


def _one_element(got: Any, want: Any, rules: Rules) -> str:
    if isinstance(want, str | bytes):
        return f"{short(got)}, wanted {short(want)}"
    return scalars.difference(got, want, rules)


def _fault(compared: _Compared) -> str:
    if compared.got.dtype.kind not in "fc":
        return "wrong"
    if not np.isfinite(compared.got[compared.wrong]).any():
        return "NaN" if np.isnan(compared.got[compared.wrong]).all() else "not finite"
    finite = np.isfinite(compared.got[compared.wrong]).all() and not np.isfinite(compared.want[compared.wrong]).any()
    return "finite where they should not be" if finite else "wrong"


def _both(got: Any, want: Any) -> str:
    if isinstance(want, str | bytes):
        return f"got {short(got)}, wanted {short(want)}"
    return "got {}, wanted {}".format(*numbers_apart(got, want))
