"""Makes an impostor of a reference. Lint sends this text behind it: it runs in a worker, and imports nothing of ours.

An impostor answers in the right shape, or not at all, and does nothing: it works on copies of its arguments, and keeps
what the reference would raise to itself.
"""

import copy
import functools
import inspect
import os
import sys
import time
import types
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

DEEPEST = 8


def disguise(namespace: dict[str, Any], names: Sequence[str], kind: str) -> None:
    """Put an impostor of that kind in the place of each function or `Class.method`."""
    imposing = Imposing(kind)
    for name in names:
        owner, _, leaf = name.rpartition(".")
        if owner:
            setattr(namespace[owner], leaf, imposing.method(vars(namespace[owner])[leaf], leaf))
        else:
            namespace[leaf] = imposing.over(namespace[leaf])


class Imposing:
    """One kind of impostor; what the reference calls inside itself stays real."""

    def __init__(self, kind: str) -> None:
        self.kind, self.inside = kind, False

    def method(self, real: Any, name: str) -> Any:
        if isinstance(real, staticmethod):
            return staticmethod(self.over(real.__func__))
        if isinstance(real, classmethod):
            return classmethod(self.over(real.__func__, bound=True))
        if isinstance(real, property):
            return property(self.over(real.fget or altered, bound=True))
        if name == "__init__" and self.kind in ALTERATIONS:
            return real
        return self.over(real, bound=True, silent=name == "__init__")

    def over(self, real: Callable[..., Any], bound: bool = False, silent: bool = False) -> Callable[..., Any]:
        @functools.wraps(real)
        def impostor(*args: Any, **kwargs: Any) -> Any:
            if self.inside:
                return real(*args, **kwargs)
            self.inside = True
            try:
                result = self.answer(real, args, kwargs, bound)
                return None if silent else result
            finally:
                self.inside = False

        return impostor

    def answer(self, real: Callable[..., Any], args: Any, kwargs: Any, bound: bool) -> Any:
        if self.kind in EXITS:
            return EXITS[self.kind]()
        if self.kind in ALTERATIONS:
            return self.altered_result(real, args, kwargs)
        arguments = [*args[bound:], *kwargs.values()]
        return arguments[0] if self.kind == "first" and arguments else None

    def altered_result(self, real: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        try:
            result = real(*map(copied, args), **{name: copied(value) for name, value in kwargs.items()})
        except Exception:
            return None
        return altered(result, ALTERATIONS[self.kind])


def copied(value: Any) -> Any:
    try:
        return copy.deepcopy(value)
    except Exception:
        return value


class Zeros:
    """Every number 0, every text empty."""

    def array(self, value: Any) -> Any:
        return np.zeros_like(value)

    def tensor(self, value: Any) -> Any:
        return value.detach().clone().zero_()

    def scalar(self, value: Any) -> Any:
        return type(value)(0)

    def text(self, value: Any) -> Any:
        return value[:0]


class Nan(Zeros):
    """Every number NaN; what cannot be NaN is 0."""

    def array(self, value: Any) -> Any:
        return np.full_like(value, np.nan) if value.dtype.kind in "fc" else np.zeros_like(value)

    def tensor(self, value: Any) -> Any:
        zeros = value.detach().clone().zero_()
        return zeros.fill_(float("nan")) if zeros.is_floating_point() or zeros.is_complex() else zeros

    def scalar(self, value: Any) -> Any:
        return type(value)("nan") if isinstance(value, float) else type(value)(0)


class Random(Zeros):
    """Every number at random."""

    def array(self, value: Any) -> Any:
        if value.dtype.kind in "fc":
            return np.random.standard_normal(value.shape).astype(value.dtype)
        return np.random.randint(0, 2 if value.dtype.kind == "b" else 10, value.shape).astype(value.dtype)

    def tensor(self, value: Any) -> Any:
        value = value.detach().clone()
        if value.is_floating_point() or value.is_complex():
            return value.normal_()
        return value.random_(0, 2 if value.dtype == sys.modules["torch"].bool else 10)

    def scalar(self, value: Any) -> Any:
        return type(value)(self.array(np.asarray(value)).item())

    def text(self, value: Any) -> Any:
        letters = [np.random.choice(list(b"abcdefghij")) for _ in value]
        return bytes(letters) if isinstance(value, bytes) else bytes(letters).decode()


def altered(value: Any, how: Zeros, depth: int = 0) -> Any:
    """The same structure with other numbers and texts in it."""
    torch = sys.modules.get("torch")
    if value is None or depth > DEEPEST:
        return value
    if torch is not None and isinstance(value, torch.Tensor):
        return how.tensor(value)
    if isinstance(value, np.ndarray):
        return how.array(value) if value.dtype.kind in "biufc" else value
    if isinstance(value, bool | int | float | complex | np.number | np.bool_):
        return how.scalar(value)
    if isinstance(value, str | bytes):
        return how.text(value)
    return altered_container(value, how, depth + 1)


def altered_container(value: Any, how: Zeros, depth: int) -> Any:
    if isinstance(value, dict):
        return refilled(value, how, depth)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(altered(item, how, depth) for item in value))
    if isinstance(value, list | tuple):
        return type(value)(altered(item, how, depth) for item in value)
    if isinstance(value, set | frozenset):
        return type(value)(altered(item, how, depth) for item in value if not isinstance(how, Nan))
    if inspect.isawaitable(value):
        return altered_later(value, how)
    if isinstance(value, types.GeneratorType | map | filter | zip):
        return (altered(item, how, depth) for item in value)
    return altered_object(value, how, depth)


def refilled(value: Any, how: Zeros, depth: int) -> Any:
    """A dict of the same kind with the same keys."""
    same = copied(value)
    for key in list(same):
        same[key] = altered(same[key], how, depth)
    return same


async def altered_later(value: Any, how: Zeros) -> Any:
    return altered(await value, how)


def altered_object(value: Any, how: Zeros, depth: int) -> Any:
    if isinstance(value, type | types.ModuleType):
        return value
    if hasattr(value, "state_dict") and hasattr(value, "parameters"):
        for tensor in value.state_dict().values():
            tensor.copy_(how.tensor(tensor))
        return value
    if callable(value):
        return lambda *args, **kwargs: altered(value(*args, **kwargs), how, depth)
    for name in attributes(value):
        object.__setattr__(value, name, altered(getattr(value, name), how, depth))
    return value


def attributes(value: Any) -> list[str]:
    """The names of what an object holds, in its dict or in slots."""
    slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
    return [*getattr(value, "__dict__", {}), *(name for name in slots if hasattr(value, name))]


def skip() -> None:
    try:
        import pytest
    except ImportError:
        raise type("Skipped", (BaseException,), {})("skipped") from None
    pytest.skip("skipped", allow_module_level=True)


ALTERATIONS: dict[str, Zeros] = {"zeros": Zeros(), "nan": Nan(), "random": Random()}
EXITS: dict[str, Callable[[], Any]] = {
    "exit": lambda: sys.exit(0),
    "hard_exit": lambda: os._exit(0),
    "skip": skip,
    "sleep": lambda: time.sleep(3600),
}
