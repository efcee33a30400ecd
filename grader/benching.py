"""What the benches.py of a kata imports: the mark of a workload, and the call that is timed.

A workload is a generator function `(module, rng)`: it sets up what it needs, then yields one `call(...)` after another,
each with fresh inputs, for ever. It is run for the attempt and for the reference with equal generators, so both get
the same inputs; every result is compared. Only what is yielded is timed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from grader.checking import fetch, keep

__all__ = ["call", "fetch", "keep", "workload"]

MARK = "_kata_workload"


class Call(NamedTuple):
    """One call that is timed."""

    function: Callable[..., Any]
    """A function over there, a handle that can be called, or `module.run`, for a probe."""
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


Steps = Callable[[Any, Any], Iterator[Call]]


@dataclass(frozen=True, slots=True)
class Mark:
    """What `@workload` says of a function of benches.py."""

    rtol: float
    atol: float
    memory: bool


def workload(*, rtol: float, atol: float, memory: bool = False) -> Callable[[Steps], Steps]:
    """Make a generator function a workload; its docstring is the sentence shown. `memory` measures its peak too.

    `rtol` and `atol` are what results may differ by from the reference's.
    """

    def mark(function: Steps) -> Steps:
        setattr(function, MARK, Mark(rtol, atol, memory))
        return function

    return mark


def call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Call:
    """A call to be timed, its result brought back and compared."""
    return Call(function, args, kwargs)
