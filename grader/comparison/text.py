"""Pieces of descriptions: numbers, names of dtypes, bounded lists, and what makes any text safe to show."""

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

import numpy as np

LONGEST_INT = 80
"""Bits; of a longer integer its size is shown."""


def number(value: bool | int | float | complex, digits: int = 6) -> str:
    """A Python number with so many significant digits; of a huge integer its size."""
    if isinstance(value, bool):
        return repr(value)
    if isinstance(value, int):
        return repr(value) if value.bit_length() <= LONGEST_INT else f"int of {value.bit_length()} bits"
    if isinstance(value, complex):
        return f"{value.real:.{digits}g}{value.imag:+.{digits}g}j"
    text = f"{value:.{digits}g}"
    return f"{text}.0" if text.lstrip("-").isdigit() else text


def told_apart(texts: Callable[[int], tuple[str, str]]) -> tuple[str, str]:
    """Two texts with the fewest digits that make them differ, or with 6 when none do."""
    tried = (texts(digits) for digits in (6, 9, 12, 17))
    return next((both for both in tried if both[0] != both[1]), texts(6))


def numbers_apart(got: bool | int | float | complex, want: bool | int | float | complex) -> tuple[str, str]:
    """Both numbers, with as many digits as it takes to tell them apart."""
    return told_apart(lambda digits: (number(got, digits), number(want, digits)))


def dtype_name(dtype: Any) -> str:
    """`float32`, `bfloat16`, `int64`, `bool`, `str`: the name of a dtype of NumPy's or torch's."""
    if issubclass(type(dtype), np.dtype):
        return {"U": "str", "S": "bytes"}.get(dtype.kind, str(dtype.name))
    return str(dtype).removeprefix("torch.")


def cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: max(limit - 1, 0)] + "…"


def cut_middle(text: str, limit: int) -> str:
    half = max((limit - 1) // 2, 2)
    return text if len(text) <= limit else f"{text[:half]}…{text[-half:]}"


def bounded(texts: Iterable[str], size: int, width: int, brackets: tuple[str, str] = ("", ""), rest: str = "") -> str:
    """As many of `size` texts as fit into `width` characters, then `rest`, or how many there are in all."""
    rest = rest or f"… {size} in all"
    shown: list[str] = []
    left = width - len("".join(brackets))
    for text in islice(texts, width):
        last = len(shown) == size - 1
        if len(text) + (0 if last else 2 + len(rest)) > left:
            break
        shown.append(text)
        left -= len(text) + 2
    return brackets[0] + ", ".join(shown + ([rest] if len(shown) < size else [])) + brackets[1]
