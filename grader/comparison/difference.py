"""The first difference between two plain values: type, then shape and dtype, then the values, into containers.

Type. A subclass is its base. A bool is only a bool. An int is accepted where a float or a complex number is wanted,
a float where a complex one is; never the other way, not even 3.0 for 3. A NumPy scalar, or a NumPy array of no
dimension, is the number it holds; two of those must have the same dtype. A tensor of no dimension is a tensor, not a
number. A list is not a tuple, a set not a frozenset, a NumPy array not a tensor. Dataclasses are compared by the names
of their fields. With `exact_type` the very types, and the names of subclasses and dataclasses, must be the same too.

Values. Keys of dicts and elements of sets are compared without tolerance, and True is not 1 there.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

from grader.comparison import arrays, scalars, values
from grader.comparison.describe import short
from grader.comparison.rules import Difference, Rules
from grader.comparison.text import dtype_name
from grader.printable import printable

_NAMED = 5
"""So many missing or extra keys are named."""


def difference(got: object, want: object, rules: Rules) -> Difference | None:
    """None when they agree. Raises TypeError for a wanted value that no rule compares, such as a handle."""
    if got is want:
        return None
    kind = values.kind(want)
    if kind == "object":
        raise TypeError(f"{short(want)} cannot be compared as a value: fetch what is in it, or call a method")
    message = _type_difference(got, want, rules)
    if message:
        return Difference.of(message, got, want)
    if kind in values.NUMBERS:
        return _numbers(got, want, rules)
    return _COMPARERS.get(kind, _plain)(got, want, rules)


def _type_difference(got: object, want: object, rules: Rules) -> str:
    if not _same_kind(values.kind(got), values.kind(want)):
        return f"{values.noun(got)}, wanted {values.noun(want)}{_type_hint(got, want)}"
    if rules.exact_type and (type(got) is not type(want) or values.exact_name(got) != values.exact_name(want)):
        return f"of type {values.exact_name(got)}, wanted exactly {values.exact_name(want)}"
    return ""


def _same_kind(got: str, want: str) -> bool:
    numbers = values.NUMBERS[1:]
    return got == want or (got in numbers and want in numbers and numbers.index(got) <= numbers.index(want))


def _type_hint(got: Any, want: Any) -> str:
    kinds = values.kind(got), values.kind(want)
    if kinds[0] == "torch tensor" and kinds[1] in values.NUMBERS:
        return "" if got.shape else ": `.item()` makes a number of a tensor"
    if kinds[1] == "torch tensor" and kinds[0] in values.NUMBERS:
        return "" if want.shape else ": a number carries no gradient, keep the tensor"
    if kinds[0] == "tuple" and len(got) == 1:
        return ": a trailing comma makes a tuple"
    if values.given_name(got) == "generator":
        return ": `yield` makes a generator"
    return ""


def _numbers(got: Any, want: Any, rules: Rules) -> Difference | None:
    if values.is_numpy(got) and values.is_numpy(want) and not arrays.same_dtype(got.dtype, want.dtype):
        return Difference.of(f"dtype {dtype_name(got.dtype)}, wanted {dtype_name(want.dtype)}", got, want)
    a, b = values.plain_number(got), values.plain_number(want)
    return None if scalars.within(a, b, rules) else Difference.of(scalars.difference(a, b, rules), got, want)


def _string(got: Any, want: Any, _rules: Rules) -> Difference | None:
    if got == want:
        return None
    shared = min(len(got), len(want))
    at = next((i for i in range(shared) if got[i] != want[i]), shared)
    return Difference.of(f"differs from position {at} on", got, want)


def _sequence(got: Any, want: Any, rules: Rules) -> Difference | None:
    if len(got) != len(want):
        return Difference.of(f"{_count(len(got))}, wanted {len(want)}", got, want)
    names = values.field_names(want) or range(len(want))
    steps = (f"field {printable(name)}" if isinstance(name, str) else f"item {name}" for name in names)
    return _first(zip(steps, got, want, strict=True), rules)


def _dict(got: Any, want: Any, rules: Rules) -> Difference | None:
    ours, theirs = {_key(key): key for key in want}, {_key(key): key for key in got}
    message = _members(got, want, "key")
    if message:
        return Difference.of(message, got, want)
    return _first(((f"key {short(key, 40)}", got[theirs[same]], want[key]) for same, key in ours.items()), rules)


def _set(got: Any, want: Any, _rules: Rules) -> Difference | None:
    message = _members(got, want, "element")
    return Difference.of(message, got, want) if message else None


def _record(got: Any, want: Any, rules: Rules) -> Difference | None:
    message = _members(got.fields, want.fields, "field")
    if message:
        return Difference.of(message, got, want)
    return _first(((f"field {printable(name)}", got.fields[name], want.fields[name]) for name in want.fields), rules)


def _slice(got: Any, want: Any, rules: Rules) -> Difference | None:
    return _first(((name, getattr(got, name), getattr(want, name)) for name in ("start", "stop", "step")), rules)


def _exception(got: Any, want: Any, _rules: Rules) -> Difference | None:
    same = (got.type_name, got.message) == (want.type_name, want.message)
    return None if same else Difference.of("another exception", got, want)


def _generator(got: Any, want: Any, _rules: Rules) -> Difference | None:
    same = got.device == want.device and bool((got.get_state() == want.get_state()).all())
    return None if same else Difference.of("a generator in another state", got, want)


def _plain(got: Any, want: Any, _rules: Rules) -> Difference | None:
    return None if got == want else Difference.of(f"{short(got)}, wanted {short(want)}", got, want)


def _first(pairs: Iterable[tuple[str, Any, Any]], rules: Rules) -> Difference | None:
    for step, got, want in pairs:
        found = difference(got, want, rules)
        if found:
            return found.inside(step)
    return None


def _members(got: Collection[Any], want: Collection[Any], word: str) -> str:
    """`missing key 'loss'; extra keys 'a', 'b'`; empty when both have the same."""
    theirs, ours = {_key(x): x for x in got}, {_key(x): x for x in want}
    missing = [x for key, x in ours.items() if key not in theirs]
    extra = [x for key, x in theirs.items() if key not in ours]
    parts = [text for text in (_list_of(f"missing {word}", missing), _list_of(f"extra {word}", extra)) if text]
    if not parts and len(got) != len(want):
        parts = [f"{len(got)} {word}s, wanted {len(want)}"]
    return "; ".join(parts)


def _list_of(word: str, members: list[Any]) -> str:
    if not members:
        return ""
    named = [short(member, 30) for member in members[:_NAMED]]
    more = f" and {len(members) - _NAMED} more" if len(members) > _NAMED else ""
    return f"{word}{'s' if len(members) > 1 else ''} {', '.join(named)}{more}"


def _key(value: Any) -> Any:
    """Equal for two keys exactly when they are the same: NaN is NaN, True is not 1."""
    kind = values.kind(value)
    if kind in ("bool", "complex"):
        value = values.plain_number(value)
        return (kind, value) if kind == "bool" else (kind, _key(value.real), _key(value.imag))
    if kind == "float":
        return ("NaN",) if value != value else value
    if kind in ("tuple", "frozenset"):
        members = (_key(member) for member in value)
        return (kind, tuple(members) if kind == "tuple" else frozenset(members))
    return value


def _count(size: int) -> str:
    return f"{size} item{'' if size == 1 else 's'}"


_COMPARERS: Final[Mapping[str, Callable[[Any, Any, Rules], Difference | None]]] = MappingProxyType(
    {
        **dict.fromkeys(values.ARRAYS, arrays.difference),
        **dict.fromkeys(("string", "bytes"), _string),
        **dict.fromkeys(("list", "tuple"), _sequence),
        **dict.fromkeys(("set", "frozenset"), _set),
        "dict": _dict,
        "record": _record,
        "slice": _slice,
        "exception": _exception,
        "torch generator": _generator,
    }
)
