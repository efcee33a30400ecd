"""Short descriptions of values: one line of bounded length, without a character that could steer a terminal.

    short(torch.rand(2, 3))           f32[2, 3] = [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]
    short(np.zeros((3, 200)))         np.f64[3, 200]
    short(torch.tensor(0.6931))       f32 scalar 0.6931
    short(list(range(900)), 40)       [0, 1, 2, 3, 4, 5, … 900 in all]

No method of the value's own is run and nothing here raises: a value that cannot be shown says so.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import FunctionType, MappingProxyType
from typing import Any, Final

import numpy as np

from grader.comparison import values
from grader.comparison.text import bounded, cut, cut_middle, dtype_name, number, told_apart
from grader.printable import printable
from grader.sandbox.servant import Report

FEW: Final = 6
"""An array of so few elements is shown whole."""

_DEPTH: Final = 3
_FULL: Final = 120
_SORTED_SET: Final = 100
_LETTERS: Final = MappingProxyType({"bfloat": "bf", "float": "f", "uint": "u", "int": "i", "complex": "c"})


@dataclass(frozen=True, slots=True)
class _Room:
    """What there is to show a value in."""

    width: int
    """Characters."""
    few: int = FEW
    """Elements of an array, up to which all of them are shown."""
    head: bool = False
    """Whether the first elements of a longer array are shown."""
    depth: int = _DEPTH
    """Levels of containers."""
    digits: int = 6
    """Of a number that is not an integer."""

    def inside(self, parts: int = 1) -> "_Room":
        """Room for one of several items of a container."""
        return replace(self, width=max(self.width // parts, 8), few=0, head=False, depth=self.depth - 1)


def short(value: object, limit: int = 60) -> str:
    """The value in one line of at most `limit` characters."""
    return _shown(value, _Room(limit))


def full(value: object, limit: int = _FULL) -> str:
    """Like `short`, with more room, and the first elements of a longer array too."""
    return _shown(value, _Room(limit, head=True))


def pair(got: object, want: object) -> tuple[str, str]:
    """Both values in full, with as many digits as it takes to tell them apart, if any number does."""
    room = _Room(_FULL, head=True)

    def shown(digits: int) -> tuple[str, str]:
        return _shown(got, replace(room, digits=digits)), _shown(want, replace(room, digits=digits))

    return told_apart(shown)


def call(name: str, args: Sequence[object], kwargs: Mapping[str, object], limit: int = 200) -> str:
    """A call in one line; where not every argument fits, the first ones and the last one are kept."""
    room = _Room(max(limit // 6, 12), few=0)
    parts = [_shown(value, room) for value in args]
    parts += [f"{key}={_shown(value, room)}" for key, value in kwargs.items()]
    for kept in range(len(parts), 1, -1):
        line = _call_line(name, parts, kept)
        if len(line) <= limit:
            return line
    return cut(_call_line(name, parts, 2), limit)


def _call_line(name: str, parts: list[str], kept: int) -> str:
    shown = parts if kept >= len(parts) else [*parts[: kept - 1], "…", parts[-1]]
    return printable(f"{name}({', '.join(shown)})")


def _shown(value: object, room: _Room) -> str:
    try:
        return _one(value, room)
    except Exception:
        # Whatever it is, the failure it belongs to must still be told.
        return cut(printable(f"{values.with_article(type(value).__name__)} that cannot be shown"), room.width)


def _one(value: Any, room: _Room) -> str:
    return cut(printable(_describe(value, room)), room.width)


def _describe(value: Any, room: _Room) -> str:
    if values.is_numpy(value) and not issubclass(type(value), str | bytes):
        return _array(value, room)
    kind = values.kind(value)
    if not room.depth and kind in _HOLLOW:
        return _HOLLOW[kind]
    return _branded(value, _DESCRIBERS.get(kind, _object), room)


def _branded(value: Any, describe: Callable[[Any, _Room], str], room: _Room) -> str:
    """What the plain base shows, after the name of the subclass."""
    name = values.given_name(value)
    if not name or describe in _NAMES_ITSELF:
        return describe(value, room)
    text = describe(value, replace(room, width=room.width - len(name) - 1))
    return name + text if text.startswith("(") else f"{name} {text}"


def _array(value: Any, room: _Room) -> str:
    head = ("np." if values.is_numpy(value) else "") + _short_dtype(dtype_name(value.dtype))
    shape = [int(n) for n in value.shape]
    where = _device(value)
    if not shape:
        return f"{head} scalar{where} {_elements(value, room)}"
    head = f"{head}{shape}{where}"
    if 0 in shape or not (room.head or math.prod(shape) <= room.few):
        return head
    return f"{head} = {_elements(value, replace(room, width=room.width - len(head) - 3))}"


def _elements(value: Any, room: _Room) -> str:
    if len(value.shape) > 4 or (values.is_numpy(value) and value.dtype.kind not in "biufcUS"):
        return "…"
    corner = values.plain_array(value[(slice(FEW),) * len(value.shape)])
    return _nested(corner, tuple(value.shape), room)


def _nested(corner: np.ndarray[Any, Any], shape: tuple[int, ...], room: _Room) -> str:
    """The first elements along each dimension, of an array that has the given shape."""
    if not shape:
        item = values.plain_number(corner)
        return _string(item, room) if isinstance(item, str | bytes) else number(item, room.digits)
    each = replace(room, width=max(room.width // min(shape[0], 3), 8))
    return bounded((_nested(row, shape[1:], each) for row in corner), shape[0], room.width, ("[", "]"), "…")


def _device(value: Any) -> str:
    device = "cpu" if values.is_numpy(value) else str(value.device)
    return "" if device == "cpu" else f" on {device}"


def _short_dtype(name: str) -> str:
    found = re.fullmatch(r"(bfloat|float|uint|int|complex)(\d+.*)", name)
    return _LETTERS[found[1]] + found[2] if found else name


def _string(value: Any, room: _Room) -> str:
    base: Any = bytes if issubclass(type(value), bytes) else str
    size = base.__len__(value)
    if size <= room.width:
        return cut_middle(repr(base.__getitem__(value, slice(None))), room.width)
    note = f" ({size} {'bytes' if base is bytes else 'characters'})"
    ends = base.__getitem__(value, slice(room.width)) + base.__getitem__(value, slice(-room.width, None))
    return cut_middle(repr(ends), room.width - len(note)) + note


def _list(value: Any, room: _Room) -> str:
    return _items(list.__iter__(value), list.__len__(value), room, ("[", "]"))


def _tuple(value: Any, room: _Room) -> str:
    names, size = values.field_names(value), tuple.__len__(value)
    if names:
        return _fields(zip(names, tuple.__iter__(value), strict=False), size, room)
    return _items(tuple.__iter__(value), size, room, ("(", ",)" if size == 1 else ")"))


def _set(value: Any, room: _Room) -> str:
    base, opening, closing = (frozenset, "frozenset({", "})") if issubclass(type(value), frozenset) else (set, "{", "}")
    size = base.__len__(value)
    if not size:
        return f"{base.__name__}()"
    if size > _SORTED_SET:
        return _items(base.__iter__(value), size, room, (opening, closing))
    texts = sorted(_one(item, room.inside(min(size, 2))) for item in base.__iter__(value))
    return bounded(texts, size, room.width, (opening, closing))


def _dict(value: Any, room: _Room) -> str:
    inner = room.inside(2)
    texts = (f"{_one(key, inner)}: {_one(item, inner)}" for key, item in dict.items(value))
    return bounded(texts, dict.__len__(value), room.width, ("{", "}"))


def _record(value: Any, room: _Room) -> str:
    return _fields(value.fields.items(), len(value.fields), room)


def _slice(value: Any, room: _Room) -> str:
    return _items((value.start, value.stop, value.step), 3, room, ("slice(", ")"))


def _items(items: Iterable[Any], size: int, room: _Room, brackets: tuple[str, str]) -> str:
    inner = room.inside(min(size, 2) or 1)
    return bounded((_one(item, inner) for item in items), size, room.width, brackets)


def _fields(pairs: Iterable[tuple[str, Any]], size: int, room: _Room) -> str:
    inner = room.inside(2)
    return bounded((f"{name}={_one(item, inner)}" for name, item in pairs), size, room.width, ("(", ")"))


def _object(value: Any, _room: _Room) -> str:
    if type(value) is FunctionType:
        return f"function {value.__name__}"
    return f"{values.with_article(values.exact_name(value))} (object)"


def _exception(value: Report, _room: _Room) -> str:
    return f"raised {value.type_name}" + (f": {value.message}" if value.message else "")


def _number(value: Any, room: _Room) -> str:
    return number(values.plain_number(value), room.digits)


_HOLLOW: Final[Mapping[str, str]] = MappingProxyType(
    {"list": "[…]", "tuple": "(…)", "dict": "{…}", "set": "{…}", "frozenset": "frozenset({…})", "record": "(…)"}
)
_NAMES_ITSELF: Final = (_array, _object, _exception)
_DESCRIBERS: Final[Mapping[str, Callable[[Any, _Room], str]]] = MappingProxyType(
    {
        "None": lambda _value, _room: "None",
        "Ellipsis": lambda _value, _room: "Ellipsis",
        **dict.fromkeys(values.NUMBERS, _number),
        "string": _string,
        "bytes": _string,
        "list": _list,
        "tuple": _tuple,
        "dict": _dict,
        "set": _set,
        "frozenset": _set,
        "record": _record,
        "range": lambda value, _room: repr(value),
        "slice": _slice,
        "torch tensor": _array,
        "NumPy dtype": lambda value, _room: f"np.dtype {dtype_name(value)}",
        "torch dtype": lambda value, _room: str(value),
        "torch device": lambda value, _room: f"device {value}",
        "exception": _exception,
    }
)
