"""What a check asserts with: comparisons whose failure says what differs, where, and by how much.

The rules are told in `grader.comparison.difference`; nothing here runs code of the values compared.
"""

from typing import Any, NoReturn

import numpy as np

from grader.comparison import values
from grader.comparison.describe import full
from grader.comparison.difference import difference
from grader.comparison.rules import Difference, Rules
from grader.comparison.text import cut
from grader.printable import printable

_TEXT = 400


class CheckFailed(AssertionError):
    """The attempt is wrong, in words for the learner. `expected` and `got` are descriptions, or empty."""

    def __init__(self, message: str, *, expected: str = "", got: str = "") -> None:
        super().__init__(message)
        self.message, self.expected, self.got = message, expected, got


def assert_close(
    got: object, want: object, *, rtol: float, atol: float, exact_type: bool = False, label: str = ""
) -> None:
    """Passes when type, shape and dtype agree and no element is off by more than `atol + rtol·|want|`.

    `label` says in the message what was compared. Raises CheckFailed, and TypeError or ValueError for what no check can
    mean: a wanted handle, a negative tolerance.
    """
    _require(got, want, Rules(rtol, atol, exact_type), label)


def assert_equal(got: object, want: object, *, exact_type: bool = False, label: str = "") -> None:
    """`assert_close` with no tolerance."""
    _require(got, want, Rules(exact_type=exact_type), label)


def assert_true(condition: object, message: str, *, expected: object = None, got: object = None) -> None:
    """Passes when the condition is True. `expected` and `got` are texts, or values to describe.

    Raises TypeError for a condition that is no bool: the check compared something that has no truth.
    """
    if not isinstance(condition, bool | np.bool_):
        raise TypeError(f"assert_true takes a bool, not {values.noun(condition)}")
    if not condition:
        fail(message, expected=expected, got=got)


def fail(message: str, *, expected: object = None, got: object = None) -> NoReturn:
    """Fails the check. `expected` and `got` are texts, or values to describe."""
    raise CheckFailed(message, expected=_described(expected), got=_described(got))


def close(got: object, want: object, rtol: float, atol: float) -> bool:
    """Whether `assert_close` would pass; never raises. What cannot be compared is close to itself alone."""
    try:
        return difference(got, want, Rules(rtol, atol, teach=False)) is None
    except Exception:
        return False


def _require(got: object, want: object, rules: Rules, label: str) -> None:
    found = difference(got, want, rules)
    if found is None:
        return
    if got is None and not label:
        message = "returned None: is a `return` missing?"
    else:
        message = _where(found, label) + found.message
    raise CheckFailed(message, expected=found.expected, got=found.got)


def _where(found: Difference, label: str) -> str:
    """`the gradient: key 'loss' of item 2: `, or nothing for the result itself."""
    path = " of ".join(reversed(found.path))
    if path and not label:
        path += " of the result"
    return "".join(f"{part}: " for part in (label, path) if part)


def _described(value: Any) -> str:
    if value is None:
        return ""
    return cut(printable(value), _TEXT) if type(value) is str else full(value)
