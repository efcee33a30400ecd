"""What kind of value a value is, told from its type: nothing of the value is run, and torch is never imported."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from grader.sandbox.servant import Report
from grader.sandbox.wire import Record, torch_module

NUMBERS: Final = ("bool", "int", "float", "complex")
"""The kinds of number. From int on, each is accepted where a later one is wanted; a bool is only ever a bool."""

ARRAYS: Final = ("NumPy array", "torch tensor")

_KINDS: Final[Mapping[type, str]] = MappingProxyType(
    {
        type(None): "None",
        type(Ellipsis): "Ellipsis",
        bool: "bool",
        np.bool_: "bool",
        int: "int",
        np.timedelta64: "object",
        np.integer: "int",
        float: "float",
        np.floating: "float",
        complex: "complex",
        np.complexfloating: "complex",
        str: "string",
        bytes: "bytes",
        list: "list",
        tuple: "tuple",
        dict: "dict",
        set: "set",
        frozenset: "frozenset",
        range: "range",
        slice: "slice",
        np.ndarray: "NumPy array",
        np.dtype: "NumPy dtype",
        Record: "record",
        Report: "exception",
    }
)
_NUMBER_OF_DTYPE: Final[Mapping[str, str]] = MappingProxyType(
    {"b": "bool", "i": "int", "u": "int", "f": "float", "c": "complex"}
)
_READERS: Final[tuple[tuple[type, Callable[[Any], int | float | complex]], ...]] = (
    (int, int.__int__),
    (float, float.__float__),
    (complex, complex.__complex__),
    # `item` of a long double is itself.
    (np.floating, float),
    (np.complexfloating, complex),
)


def kind(value: object) -> str:
    """One of the words above, or `torch tensor`, `torch dtype`, `torch device`, `torch generator`, `object`.

    A subclass is its base. A NumPy scalar is the number it holds, and so is a NumPy array of no dimension: NumPy itself
    turns one into the other. A tensor of no dimension stays a tensor: it may carry a gradient.
    """
    return _NUMBER_OF_DTYPE.get(_scalar_dtype(value)) or _kind_of_type(type(value))  # type: ignore[arg-type]  # mypy takes the class for an instance


@lru_cache(maxsize=1024)
def _kind_of_type(cls: type) -> str:
    return next((_KINDS[base] for base in cls.__mro__ if base in _KINDS), "") or _torch_kind(cls) or "object"


def is_numpy(value: object) -> bool:
    return issubclass(type(value), np.ndarray | np.generic)


def given_name(value: object) -> str:
    """The name that the value's type had where it came from, when it is more than the plain type's; else empty."""
    name = _attribute(value, "type_name")
    return name if type(name) is str else ""


def exact_name(value: object) -> str:
    """The name of the value's very type: `Counter`, `numpy.float64`, `float`."""
    prefix = "numpy." if is_numpy(value) else ""
    return given_name(value) or prefix + type(value).__name__


def noun(value: object) -> str:
    """The value's kind with its article, for a sentence: `a list`, `None`, `an object of class GPT`."""
    found = kind(value)
    if found in ("None", "Ellipsis"):
        return found
    if found in ("object", "exception"):
        return f"an {found} of class {exact_name(value)}"
    shape = f" of shape {tuple(_attribute(value, 'shape'))}" if found in ARRAYS else ""  # type: ignore[arg-type]  # is one
    return with_article(exact_name(value) if found == "record" else found) + shape


def with_article(name: str) -> str:
    return f"{'an' if name[:1] in tuple('aeioAEIO') else 'a'} {name}"


def field_names(value: object) -> tuple[str, ...]:
    """Of a named tuple the names of its fields; of anything else none."""
    fields = _attribute(value, "fields")
    return tuple(fields) if type(fields) is dict else ()


def is_number(value: object) -> bool:
    return kind(value) in NUMBERS


def plain_number(value: Any) -> bool | int | float | complex:
    """The Python number of anything whose kind is a number, or of a tensor of one element."""
    if is_numpy(value) or kind(value) == "torch tensor":
        value = value.item()
    for base, read in _READERS:
        if type(value) is not bool and issubclass(type(value), base):
            return read(value)
    return value  # type: ignore[no-any-return]  # a bool is left, when the kind is a number


def plain_array(value: Any) -> np.ndarray[Any, Any]:
    """A NumPy array of the same elements: floats as float64 or longer, complex as complex128, the rest as they are."""
    if kind(value) == "torch tensor":
        return _tensor_array(value)
    array = np.asarray(value)
    if array.dtype.kind in "fc":
        return array.astype(np.result_type(array.dtype, np.complex128 if array.dtype.kind == "c" else np.float64))
    return array


def _tensor_array(tensor: Any) -> np.ndarray[Any, Any]:
    torch: Any = torch_module()
    tensor = tensor.detach().cpu()
    if tensor.is_complex():
        tensor = tensor.to(torch.complex128).resolve_conj()
    elif tensor.is_floating_point():
        tensor = tensor.to(torch.float64)
    return tensor.resolve_neg().numpy()  # type: ignore[no-any-return]  # torch is untyped here, as it may be absent


def _scalar_dtype(value: Any) -> str:
    if issubclass(type(value), np.ndarray) and value.ndim == 0:
        return str(value.dtype.kind)
    return ""


def _torch_kind(cls: type) -> str:
    torch: Any = torch_module()
    if torch is None:
        return ""
    for base, name in (
        (torch.Tensor, "tensor"),
        (torch.dtype, "dtype"),
        (torch.device, "device"),
        (torch.Generator, "generator"),
    ):
        if issubclass(cls, base):
            return f"torch {name}"
    return ""


def _attribute(value: object, name: str) -> object:
    # Past `__getattr__`, which on a handle would make a call of it.
    try:
        return object.__getattribute__(value, name)
    except AttributeError:
        return None
