"""The plain values that a check sees: what travels, in which bounds, and what a value from elsewhere is made of."""

import builtins
import sys
from types import ModuleType
from typing import Any

from grader.sandbox import frames

MAX_DEPTH = 64
MAX_KEYS = 20_000
MAX_INT_BITS = 4_096
MAX_DIMENSIONS = 32
MAX_ARRAY_BYTES = frames.MAX_FRAME
"""Of a view with strides, what it would hold as an array of its own."""


class WireError(ValueError):
    """A value cannot travel, or what arrived is not a value."""


class _Branded:
    """A plain value whose type had a name of its own on the other side."""

    type_name: str


class NamedList(_Branded, list[Any]): ...


class NamedDict(_Branded, dict[Any, Any]): ...


class NamedSet(_Branded, set[Any]): ...


class NamedFrozenset(_Branded, frozenset[Any]): ...


class NamedStr(_Branded, str): ...


class NamedInt(_Branded, int): ...


class NamedFloat(_Branded, float): ...


class NamedTuple(_Branded, tuple[Any, ...]):
    """A tuple subclass; of a named tuple also the fields, as attributes too."""

    fields: dict[str, Any]

    def __getattr__(self, name: str) -> Any:
        return _field(self.__dict__.get("fields", {}), name, "a tuple")


class Record:
    """A dataclass instance: its type's name and its fields, which are attributes too."""

    __slots__ = ("fields", "type_name")

    def __init__(self, type_name: str, fields: dict[str, Any]) -> None:
        self.type_name, self.fields = type_name, fields

    def __getattr__(self, name: str) -> Any:
        return _field(self.fields, name, self.type_name)

    def __repr__(self) -> str:
        return f"{self.type_name}({', '.join(f'{k}={v!r}' for k, v in self.fields.items())})"


BRANDS: dict[type, type] = {
    list: NamedList,
    tuple: NamedTuple,
    dict: NamedDict,
    set: NamedSet,
    frozenset: NamedFrozenset,
    str: NamedStr,
    int: NamedInt,
    float: NamedFloat,
}


def _field(fields: dict[str, Any], name: str, owner: str) -> Any:
    # By a special name NumPy would ask where in memory the elements lie, and believe the answer.
    if name.startswith("__") or name not in fields:
        raise AttributeError(f"{owner} has no field {name!r}")
    return fields[name]


def builtin_error(name: str) -> type[Exception]:
    """The built-in exception of that name, or RuntimeError."""
    found = getattr(builtins, name, None)
    return found if isinstance(found, type) and issubclass(found, Exception) else RuntimeError


def torch_module() -> ModuleType | None:
    """torch where it has been imported: NumPy work never pays for it."""
    return sys.modules.get("torch")


def check_size(elements: int, itemsize: int) -> None:
    """Raises WireError for an array that could not travel in one piece."""
    if elements * max(itemsize, 1) > MAX_ARRAY_BYTES:
        raise WireError(f"an array of {elements * itemsize} bytes; at most {MAX_ARRAY_BYTES} travel")


def span(shape: Any, strides: Any) -> int:
    """Elements from the first to the last one in memory; 0 when a stride is negative or the array is empty."""
    if any(stride < 0 for stride in strides) or 0 in shape:
        return 0
    return int(1 + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True)))
