"""What the checks of a kata import: marks, the ways to ask an attempt, and comparisons that teach.

Everything here is described with examples in docs/authoring.md.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from grader.comparison import compare
from grader.comparison.compare import CheckFailed, assert_true, fail
from grader.comparison.describe import full
from grader.comparison.distribution import assert_distribution
from grader.comparison.rounding import to_half
from grader.printable import printable
from grader.sandbox import proxy
from grader.sandbox.cost import cpu_seconds, peak_bytes
from grader.sandbox.proxy import Function, Handle, Module, Raised, as_function

__all__ = [
    "CheckFailed",
    "assert_close",
    "assert_distribution",
    "assert_equal",
    "assert_inputs_unchanged",
    "assert_raises",
    "assert_true",
    "check",
    "cpu_seconds",
    "fail",
    "fetch",
    "gradients",
    "keep",
    "mistake",
    "peak_bytes",
]

MARK = "_kata_check"
T = TypeVar("T", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Mark:
    """What `@check` says of a test function."""

    part: str
    points: int
    needs: str | None = None
    trained: bool = False


@dataclass(slots=True)
class Comparing:
    """How comparisons are made in this run."""

    slack: float = 1.0
    """Tolerances are multiplied by it: results of another device differ in the last bits."""
    loose: list[int] | None = None
    """Lines of comparisons that the expected value rounded to float16 would pass, where that is asked for."""


comparing: ContextVar[Comparing] = ContextVar("comparing", default=Comparing())  # noqa: B039 — replaced, never changed in place


def check(part: str, *, points: int, needs: str | None = None, trained: bool = False) -> Callable[[T], T]:
    """Make a test function a check of that part. Its docstring is the sentence that the learner sees."""

    def mark(function: T) -> T:
        setattr(function, MARK, Mark(part, points, needs, trained))
        return function

    return mark


def mistake(name: str, *, replaces: str | tuple[str, ...], caught_by: str, advice: str) -> Callable[[T], T]:
    """Say of a definition in mistakes.py what it gets wrong. The file is read, not run: see `grader.judge.mistakes`."""
    del name, replaces, caught_by, advice
    return lambda definition: definition


def keep(function: Function | Handle) -> Function:
    """The same function, whose result stays in its process: a handle comes back, whatever it returns."""
    function = as_function(function)
    return Function(function._conversation, function._target, keep=True)


def fetch(handle: Handle) -> Any:
    """A copy of a handle's value; of an iterator, what it yields."""
    return handle._conversation.ask("fetch", handle)[0]


def gradients(
    function: Function | Handle, kwargs: dict[str, Any], *, wrt: Sequence[str], upstream: Any, output: int = 0
) -> tuple[Any, dict[str, Any]]:
    """One forward and one backward over there, with an upstream gradient drawn from `upstream`, or `upstream` itself.

    `wrt` names arguments, or `"model.parameters"` for all parameters of a handle. Returns the output (that item of it,
    when it is a tuple) and the gradient for each name: a tensor or None, for parameters a dict by parameter name. Where
    the output carries no gradient at all, every one is None.
    """
    conversation, target = function._conversation, as_function(function)._target
    result, differentiable, leaves = conversation.ask("forward", target, kwargs, list(wrt), output)
    found: dict[str, Any] = dict.fromkeys(leaves)
    if differentiable:
        if isinstance(upstream, np.random.Generator):
            upstream = (
                sys.modules["torch"]
                .from_numpy(np.asarray(upstream.standard_normal(tuple(result.shape))))
                .to(result.dtype)
            )
        found = conversation.ask("backward", upstream)[0]
    grads: dict[str, Any] = {}
    for name in wrt:
        prefix = f"{name}/"
        inner = {key.removeprefix(prefix): grad for key, grad in found.items() if key.startswith(prefix)}
        grads[name] = inner if "." in name else found.get(name)
    return result, grads


def assert_inputs_unchanged(function: Function | Handle, *args: Any, **kwargs: Any) -> Any:
    """Call it, require that its arguments are as they were, and return its result."""
    result, (after, named_after, names) = as_function(function)._call(args, kwargs, echo=True)
    places = [*names, *(f"argument {index + 1}" for index in range(len(names), len(args)))]
    for place, (before, now) in zip(places, zip(args, after, strict=True), strict=False):
        _unchanged(printable(str(place)), before, now)
    for name, before in kwargs.items():
        _unchanged(name, before, named_after[name])
    return result


def assert_raises(
    error: type[BaseException] | tuple[type[BaseException], ...],
    function: Callable[..., Any],
    *args: Any,
    **kwargs: Any,
) -> None:
    """Require that the call raises one of these built-in exceptions, or a subclass."""
    wanted = {kind.__name__ for kind in (error if isinstance(error, tuple) else (error,))}
    try:
        result = function(*args, **kwargs)
    except Raised as raised:
        if raised.report.kind != "raised":
            raise
        if not wanted & set(raised.report.bases):
            told = f"{raised.report.type_name}: {raised.report.message}"
            raise CheckFailed(f"raised {told}", expected=" or ".join(sorted(wanted)), got=told) from None
        return
    failure = CheckFailed(
        f"no {' or '.join(sorted(wanted))} was raised", expected=" or ".join(sorted(wanted)), got=full(result)
    )
    raise _about(failure, result)


def assert_close(got: Any, want: Any, *, rtol: float, atol: float, exact_type: bool = False, label: str = "") -> None:
    """Require equal type, shape, dtype and finite elements, and values within atol + rtol·|want|."""
    how = comparing.get()
    with _subject(got):
        compare.assert_close(
            got, want, rtol=rtol * how.slack, atol=atol * how.slack, exact_type=exact_type, label=label
        )
    if how.loose is not None and (rtol or atol):
        rounded = to_half(want)
        if not compare.close(rounded, want, rtol=0, atol=0) and compare.close(rounded, want, rtol=rtol, atol=atol):
            how.loose.append(sys._getframe(1).f_lineno)


def assert_equal(got: Any, want: Any, *, exact_type: bool = False, label: str = "") -> None:
    """Require equal type, shape, dtype and values."""
    with _subject(got):
        compare.assert_equal(got, want, exact_type=exact_type, label=label)


def _unchanged(name: str, before: Any, now: Any) -> None:
    if isinstance(before, Handle | Module) or callable(before) or proxy.is_generator(before):
        return
    if getattr(before, "requires_grad", False) != getattr(now, "requires_grad", False):
        raise CheckFailed(f"{name} was modified: its requires_grad was changed")
    try:
        compare.assert_equal(now, before)
    except CheckFailed as failure:
        told = f"{name} was modified, work on a copy: {failure.message}"
        raise CheckFailed(told, expected=failure.expected, got=failure.got) from None


@contextlib.contextmanager
def _subject(value: Any) -> Iterator[None]:
    try:
        yield
    except CheckFailed as failure:
        raise _about(failure, value) from None


def _about(failure: CheckFailed, value: Any) -> CheckFailed:
    """Remember which value it is about, so that the judge finds the call it came from."""
    failure.subject = value  # type: ignore[attr-defined]  # known to grader.judge.seen alone
    return failure
