"""What counts as equal, and what is reported where two values are not."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from grader.comparison import describe
from grader.printable import printable

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Rules:
    """A difference is allowed up to `atol + rtol·|wanted|`. Raises ValueError for tolerances that are none."""

    rtol: float = 0.0
    atol: float = 0.0
    exact_type: bool = False
    """Whether a subclass differs from its base, and a NumPy scalar from a Python number."""
    teach: bool = True
    """Whether a difference is worth a guess at its cause."""

    def __post_init__(self) -> None:
        for name, tolerance in (("rtol", self.rtol), ("atol", self.atol)):
            if not (math.isfinite(tolerance) and tolerance >= 0):
                raise ValueError(f"{name} is {tolerance}: a tolerance is a finite number, 0 or more")

    @property
    def exact(self) -> bool:
        return self.rtol == 0 and self.atol == 0

    def __str__(self) -> str:
        parts = [f"{self.atol:g}"] if self.atol else []
        parts += [f"{self.rtol:g}·|wanted|"] if self.rtol else []
        return f"allowed {' + '.join(parts)}" if parts else "no difference is allowed"

    def allowed(self, want: Array) -> Array:
        """The largest error allowed at each element."""
        return self.atol + self.rtol * np.abs(want)


@dataclass(frozen=True, slots=True)
class Difference:
    """The first difference found."""

    message: str
    """What differs, without where."""
    expected: str
    got: str
    path: tuple[str, ...] = ()
    """The way to it from the outside in: `item 2`, `key 'loss'`."""

    @classmethod
    def of(cls, message: str, got: object, want: object) -> "Difference":
        described = describe.pair(got, want)
        return cls(printable(message), expected=described[1], got=described[0])

    def shown_as(self, prefix: str) -> "Difference":
        """The same, both descriptions being those of a part that the prefix names."""
        return replace(self, expected=prefix + self.expected, got=prefix + self.got)

    def inside(self, step: str) -> "Difference":
        return replace(self, path=(step, *self.path))
