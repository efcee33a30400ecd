"""The receiving half of the codec; `grader.sandbox.wire` tells the format."""

import math
import struct
from collections.abc import Callable
from types import ModuleType
from typing import Any

import msgspec
import numpy as np

from grader.sandbox.plain import (
    BRANDS,
    MAX_DEPTH,
    MAX_DIMENSIONS,
    MAX_INT_BITS,
    MAX_KEYS,
    NamedTuple,
    Record,
    WireError,
    span,
    torch_module,
)

Resolve = Callable[[str, int, str], Any]
"""(tag, number, type name) → the object a handle or a callback stands for on this side."""


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
        brand = BRANDS.get(type(value))
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
        elements = span(shape, strides)
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
