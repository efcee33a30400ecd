"""Values as data: a closed set of types, encoded without calling them and decoded without executing anything.

Scalars travel as msgpack scalars, everything else as `[tag, …]`; large bytes travel beside the head (see `frames`).
What has no closed type is handed to `foreign`, which names it: a handle, a callback, or an error.
What is decoded is plain: exact built-in types, or one of the branded subclasses below, which add a name and override nothing.
"""

import builtins
import dataclasses
import math
import struct
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import msgspec
import numpy as np

from grader.sandbox import frames

MAX_DEPTH = 64
MAX_KEYS = 20_000
MAX_INT_BITS = 4_096
MAX_DIMENSIONS = 32
LONG_TEXT = 65_536

Foreign = Callable[[Any], list[Any]]
Resolve = Callable[[str, int, str], Any]
"""(tag, number, type name) → the object a handle or a callback stands for on this side."""


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


_BRANDS: dict[type, type] = {
    list: NamedList,
    tuple: NamedTuple,
    dict: NamedDict,
    set: NamedSet,
    frozenset: NamedFrozenset,
    str: NamedStr,
    int: NamedInt,
    float: NamedFloat,
}


def encode(value: Any, foreign: Foreign) -> list[frames.Buffer]:
    """The pieces of one frame. Raises `WireError` or `FrameError`."""
    encoder = _Encoder(foreign)
    head = msgspec.msgpack.encode(encoder.tree(value, 0))
    return frames.pack(head, encoder.buffers)


def decode(head: bytes | bytearray, buffers: list[bytearray], resolve: Resolve, *, device: str = "") -> Any:
    """The value of one frame; tensors go to `device` when it is given. Raises `WireError`, whatever the bytes are."""
    try:
        return _Decoder(buffers, resolve, device).value(msgspec.msgpack.decode(head), 0)
    except WireError:
        raise
    except (
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        OverflowError,
        RecursionError,
        MemoryError,
        RuntimeError,
        struct.error,
    ) as error:
        raise WireError(f"what arrived is not a value: {type(error).__name__}: {error}") from error


def builtin_error(name: str) -> type[Exception]:
    """The built-in exception of that name, or RuntimeError."""
    found = getattr(builtins, name, None)
    return found if isinstance(found, type) and issubclass(found, Exception) else RuntimeError


def torch_module() -> ModuleType | None:
    """torch where it has been imported: NumPy work never pays for it."""
    return sys.modules.get("torch")


class _Encoder:
    def __init__(self, foreign: Foreign) -> None:
        self.foreign = foreign
        self.buffers: list[frames.Buffer] = []
        self.ancestors: set[int] = set()

    def tree(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if value is None or kind is bool or kind is float:
            return value
        if depth > MAX_DEPTH:
            raise WireError(f"nested deeper than {MAX_DEPTH} levels")
        if kind is int:
            return value if -(2**63) <= value < 2**63 else self._big(value)
        if kind is str:
            return value if len(value) < LONG_TEXT else ["S", self._buffer(value.encode("utf-8", "surrogatepass"))]
        if kind in _CONTAINERS:
            return self._container(value, kind, depth)
        return self._other(value, kind, depth)

    def _container(self, value: Any, kind: type, depth: int) -> list[Any]:
        if id(value) in self.ancestors:
            raise WireError(f"a {kind.__name__} that holds itself cannot travel")
        if kind in (dict, set, frozenset) and len(value) > MAX_KEYS:
            raise WireError(f"a {kind.__name__} of {len(value)} keys; at most {MAX_KEYS} travel")
        self.ancestors.add(id(value))
        if kind is dict:
            items = [
                x for pair in value.items() for x in (self.tree(pair[0], depth + 1), self.tree(pair[1], depth + 1))
            ]
        else:
            items = [self.tree(x, depth + 1) for x in value]
        self.ancestors.discard(id(value))
        return [_CONTAINERS[kind], items]

    def _other(self, value: Any, kind: type, depth: int) -> list[Any]:
        for encoder in (self._scalar, self._array, self._tensor):
            encoded = encoder(value, kind)
            if encoded is not None:
                return encoded
        return self._subclass(value, kind, depth) or self.foreign(value)

    def _scalar(self, value: Any, kind: type) -> list[Any] | None:
        if kind is complex:
            return ["C", value.real, value.imag]
        if kind is bytes or kind is bytearray:
            return ["B", self._buffer(bytes(value))]
        if kind is range:
            return ["a", value.start, value.stop, value.step]
        if kind is slice:
            return ["i", *(self.tree(x, MAX_DEPTH - 1) for x in (value.start, value.stop, value.step))]
        if value is Ellipsis:
            return ["E"]
        return None

    def _array(self, value: Any, kind: type) -> list[Any] | None:
        if isinstance(value, np.dtype):
            return ["y", value.str] if value.kind in "biufc" else None
        if isinstance(value, np.generic) and value.dtype.kind in "biufc":
            return ["N", value.dtype.str, self._buffer(value.tobytes())]
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "biufcUS":
            return None
        if kind is not np.ndarray:
            value = np.asarray(value)
        span = _span(value.shape, [s // max(value.itemsize, 1) for s in value.strides])
        if value.flags.c_contiguous or not span or not _whole_steps(value):
            return ["n", value.dtype.str, list(value.shape), None, self._buffer(value.tobytes())]
        flat = np.lib.stride_tricks.as_strided(value, (span,), (value.itemsize,))
        return [
            "n",
            value.dtype.str,
            list(value.shape),
            [s // value.itemsize for s in value.strides],
            self._buffer(flat.tobytes()),
        ]

    def _tensor(self, value: Any, kind: type) -> list[Any] | None:
        torch = torch_module()
        if torch is None:
            return None
        if isinstance(value, torch.dtype):
            return ["D", str(value).removeprefix("torch.")]
        if isinstance(value, torch.device):
            return ["V", str(value)]
        if isinstance(value, torch.Generator):
            return ["G", str(value.device), self._buffer(value.get_state().numpy().tobytes())]
        if not isinstance(value, torch.Tensor) or not _is_plain(value, torch):
            return None
        encoded = self._plain_tensor(value.detach(), torch)
        encoded.append(bool(value.requires_grad))
        return encoded if kind is torch.Tensor else ["#", kind.__name__, encoded]

    def _plain_tensor(self, value: Any, torch: ModuleType) -> list[Any]:
        name, shape, device = str(value.dtype).removeprefix("torch."), list(value.shape), str(value.device)
        value = value.cpu().resolve_conj().resolve_neg()
        strides, span = None, _span(value.shape, value.stride())
        if span and not value.is_contiguous():
            strides, value = list(value.stride()), value.as_strided((span,), (1,))
        data = value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b""
        return ["T", name, shape, strides, device, self._buffer(data)]

    def _subclass(self, value: Any, kind: type, depth: int) -> list[Any] | None:
        if isinstance(value, type):
            return None
        if dataclasses.is_dataclass(value):
            return ["r", kind.__name__, self._fields(_dataclass_fields(value), depth)]
        for base in _BRANDS:
            if isinstance(value, base):
                return self._brand(value, kind, base, depth)
        return None

    def _brand(self, value: Any, kind: type, base: type, depth: int) -> list[Any]:
        # Read through the base's own methods: a subclass may override iteration or comparison.
        plain = _READERS[base](value)
        names = getattr(kind, "_fields", None) if base is tuple else None
        if isinstance(names, tuple) and len(names) == len(plain) and all(type(name) is str for name in names):
            return ["#", kind.__name__, self.tree(plain, depth), list(names)]
        return ["#", kind.__name__, self.tree(plain, depth)]

    def _fields(self, fields: list[tuple[str, Any]], depth: int) -> list[Any]:
        return [x for name, value in fields for x in (name, self.tree(value, depth + 1))]

    def _big(self, value: int) -> list[Any]:
        if value.bit_length() > MAX_INT_BITS:
            raise WireError(f"an integer of {value.bit_length()} bits; at most {MAX_INT_BITS} travel")
        return ["I", value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)]

    def _buffer(self, data: bytes) -> int:
        self.buffers.append(data)
        return len(self.buffers) - 1


_CONTAINERS: dict[type, str] = {list: "l", tuple: "t", dict: "d", set: "s", frozenset: "f"}
_READERS: dict[type, Callable[[Any], Any]] = {
    list: lambda value: list.__getitem__(value, slice(None)),
    tuple: lambda value: tuple.__getitem__(value, slice(None)),
    dict: lambda value: dict(dict.items(value)),
    set: lambda value: set.copy(value) if type(set.copy(value)) is set else set(set.__iter__(value)),
    frozenset: lambda value: frozenset(frozenset.__iter__(value)),
    str: lambda value: str.__str__(value),
    int: lambda value: int.__int__(value),
    float: lambda value: float.__float__(value),
}


class _Decoder:
    def __init__(self, buffers: list[bytearray], resolve: Resolve, device: str) -> None:
        self.buffers, self.resolve, self.device = buffers, resolve, device

    def value(self, tree: Any, depth: int) -> Any:
        kind = type(tree)
        if tree is None or kind is bool or kind is int or kind is float or kind is str:
            return tree
        if kind is not list or not tree or type(tree[0]) is not str or depth > MAX_DEPTH:
            raise WireError("what arrived is not a value")
        decode = _DECODERS.get(tree[0])
        if decode is None:
            raise WireError(f"what arrived has the unknown tag {tree[0][:8]!r}")
        return decode(self, tree, depth)

    def items(self, tree: Any, depth: int) -> list[Any]:
        return [self.value(x, depth + 1) for x in tree]

    def keyed(self, count: int) -> None:
        if count > MAX_KEYS:
            raise WireError(f"{count} keys; at most {MAX_KEYS} travel")

    def dict_(self, tree: list[Any], depth: int) -> dict[Any, Any]:
        self.keyed(len(tree[1]) // 2)
        flat = self.items(tree[1], depth)
        return dict(zip(flat[::2], flat[1::2], strict=True))

    def set_(self, tree: list[Any], depth: int) -> set[Any]:
        self.keyed(len(tree[1]))
        return set(self.items(tree[1], depth))

    def integer(self, tree: list[Any], _depth: int) -> int:
        if len(tree[1]) * 8 > MAX_INT_BITS + 8:
            raise WireError(f"an integer of more than {MAX_INT_BITS} bits")
        return int.from_bytes(tree[1], "little", signed=True)

    def numpy_scalar(self, tree: list[Any], _depth: int) -> Any:
        return np.frombuffer(self.buffer(tree[2]), _numpy_dtype(tree[1]), count=1)[0]

    def array(self, tree: list[Any], _depth: int) -> Any:
        _, name, shape, strides, index = tree
        dtype, data = _numpy_dtype(name), self.buffer(index)
        _check_layout(shape, strides, len(data), dtype.itemsize)
        flat = np.frombuffer(data, dtype) if data else np.empty(0, dtype)
        if strides is None:
            return flat.reshape(shape)
        return np.lib.stride_tricks.as_strided(flat, shape, [s * dtype.itemsize for s in strides])

    def tensor(self, tree: list[Any], _depth: int) -> Any:
        _, name, shape, strides, device, index, requires_grad = tree
        torch, dtype, data = _torch(), _torch_dtype(name), self.buffer(index)
        _check_layout(shape, strides, len(data), dtype.itemsize)
        flat = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
        tensor = flat.reshape(shape) if strides is None else flat.as_strided(shape, strides)
        if self.device and device == "cpu":
            tensor = tensor.to(self.device)
        if requires_grad is True:
            tensor.requires_grad_()
        return tensor

    def generator(self, tree: list[Any], _depth: int) -> Any:
        torch = _torch()
        generator = torch.Generator(device="cpu")
        generator.set_state(torch.frombuffer(self.buffer(tree[2]), dtype=torch.uint8))
        return generator

    def branded(self, tree: list[Any], depth: int) -> Any:
        value, name = self.value(tree[2], depth + 1), _name(tree[1])
        brand = _BRANDS.get(type(value))
        if brand is not None:
            value = brand(value)
            if len(tree) > 3:
                value.fields = dict(zip([_name(x) for x in tree[3]], value, strict=True))
            elif brand is NamedTuple:
                value.fields = {}
        if not isinstance(value, np.ndarray):
            value.type_name = name
        return value

    def record(self, tree: list[Any], depth: int) -> Record:
        self.keyed(len(tree[2]) // 2)
        fields = zip([_name(x) for x in tree[2][::2]], self.items(tree[2][1::2], depth), strict=True)
        return Record(_name(tree[1]), dict(fields))

    def named(self, tree: list[Any], _depth: int) -> Any:
        tag, number, name = tree
        if type(number) is not int:
            raise WireError("a handle without a number")
        return self.resolve(tag, number, _name(name))

    def buffer(self, index: Any) -> bytearray:
        if type(index) is not int or not 0 <= index < len(self.buffers):
            raise WireError("a reference to a buffer that is not there")
        return self.buffers[index]


_DECODERS: dict[str, Callable[[_Decoder, list[Any], int], Any]] = {
    "l": lambda d, tree, depth: d.items(tree[1], depth),
    "t": lambda d, tree, depth: tuple(d.items(tree[1], depth)),
    "d": _Decoder.dict_,
    "s": _Decoder.set_,
    "f": lambda d, tree, depth: frozenset(d.set_(tree, depth)),
    "I": _Decoder.integer,
    "C": lambda _, tree, __: complex(tree[1], tree[2]),
    "B": lambda d, tree, _: bytes(d.buffer(tree[1])),
    "S": lambda d, tree, _: d.buffer(tree[1]).decode("utf-8", "surrogatepass"),
    "a": lambda _, tree, __: range(tree[1], tree[2], tree[3]),
    "i": lambda d, tree, depth: slice(*d.items(tree[1:4], depth)),
    "E": lambda *_: Ellipsis,
    "y": lambda _, tree, __: _numpy_dtype(tree[1]),
    "N": _Decoder.numpy_scalar,
    "n": _Decoder.array,
    "D": lambda _, tree, __: _torch_dtype(tree[1]),
    "V": lambda _, tree, __: _torch().device(_name(tree[1])),
    "G": _Decoder.generator,
    "T": _Decoder.tensor,
    "#": _Decoder.branded,
    "r": _Decoder.record,
    "h": _Decoder.named,
    "c": _Decoder.named,
}


def _dataclass_fields(value: Any) -> list[tuple[str, Any]]:
    return [(field.name, getattr(value, field.name, None)) for field in dataclasses.fields(value)]


def _is_plain(tensor: Any, torch: ModuleType) -> bool:
    return (
        tensor.layout is torch.strided
        and not tensor.is_quantized
        and tensor.device.type in ("cpu", "cuda")
        and type(tensor).__name__ not in ("DTensor", "FakeTensor", "AsyncCollectiveTensor")
    )


def _span(shape: Any, strides: Any) -> int:
    """Elements from the first to the last one in memory; 0 when a stride is negative or the array is empty."""
    if any(stride < 0 for stride in strides) or 0 in shape:
        return 0
    return 1 + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))


def _whole_steps(value: Any) -> bool:
    return all(stride % value.itemsize == 0 for stride in value.strides)


def _check_layout(shape: Any, strides: Any, size: int, itemsize: int) -> None:
    if (
        type(shape) is not list
        or len(shape) > MAX_DIMENSIONS
        or any(type(n) is not int or not 0 <= n < 2**48 for n in shape)
    ):
        raise WireError("a shape that no array has")
    if strides is None:
        elements = math.prod(shape)
    elif (
        type(strides) is list and len(strides) == len(shape) and all(type(s) is int and 0 <= s < 2**48 for s in strides)
    ):
        elements = _span(shape, strides)
    else:
        raise WireError("strides that no array has")
    if elements * itemsize != size:
        raise WireError(f"{size} bytes for an array of {elements} elements")


def _name(value: Any) -> str:
    if type(value) is not str or len(value) > 200:
        raise WireError("a name that is no short string")
    return value


def _numpy_dtype(name: Any) -> np.dtype[Any]:
    dtype = np.dtype(_name(name))
    if dtype.kind not in "biufcUS" or (dtype.itemsize == 0 and dtype.kind not in "US"):
        raise WireError(f"arrays of {name} do not travel")
    return dtype


def _torch() -> ModuleType:
    torch = torch_module()
    if torch is None:
        raise WireError("a torch value, where torch is not loaded")
    return torch


def _torch_dtype(name: Any) -> Any:
    torch = _torch()
    dtype = getattr(torch, _name(name), None)
    if not isinstance(dtype, torch.dtype):
        raise WireError(f"there is no dtype {name}")
    return dtype
