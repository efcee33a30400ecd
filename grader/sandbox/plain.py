"""The plain values that a check sees: what travels, in which bounds, and what a value from elsewhere is made of."""

import builtins
import sys
from types import ModuleType
from typing import Any

MAX_DEPTH = 64
MAX_KEYS = 20_000
MAX_INT_BITS = 4_096
MAX_DIMENSIONS = 32


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
        try:
            return self.__dict__["fields"][name]
        except KeyError:
            raise AttributeError(name) from None


class Record:
    """A dataclass instance: its type's name and its fields, which are attributes too."""

    __slots__ = ("fields", "type_name")

    def __init__(self, type_name: str, fields: dict[str, Any]) -> None:
        self.type_name, self.fields = type_name, fields

    def __getattr__(self, name: str) -> Any:
        try:
            return self.fields[name]
        except KeyError:
            raise AttributeError(f"{self.type_name} has no field {name!r}") from None

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


def builtin_error(name: str) -> type[Exception]:
    """The built-in exception of that name, or RuntimeError."""
    found = getattr(builtins, name, None)
    return found if isinstance(found, type) and issubclass(found, Exception) else RuntimeError


def torch_module() -> ModuleType | None:
    """torch where it has been imported: NumPy work never pays for it."""
    return sys.modules.get("torch")


def span(shape: Any, strides: Any) -> int:
    """Elements from the first to the last one in memory; 0 when a stride is negative or the array is empty."""
    if any(stride < 0 for stride in strides) or 0 in shape:
        return 0
    return int(1 + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True)))
