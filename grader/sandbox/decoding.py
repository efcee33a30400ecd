"""The receiving half of the codec; `grader.sandbox.wire` tells the format."""

import math
import struct
import sys
from collections import Counter
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from grader.sandbox import grammar
from grader.sandbox.plain import (
    BRANDS,
    MAX_DEPTH,
    MAX_INT_BITS,
    MAX_KEYS,
    NamedTuple,
    Record,
    WireError,
    check_size,
    span,
    torch_module,
)

Resolve = Callable[[str, int, str], Any]
"""(tag, number, type name) → the object a handle or a callback stands for on this side."""

MAX_COMPARISONS = 1_000_000
"""Of keys in one frame; honest ones are compared about once each."""

_SCALARS = frozenset((type(None), bool, int, float, str))
_GENERATOR_WORDS = 624


def decode(head: bytes | bytearray, buffers: list[bytearray], resolve: Resolve, *, device: str = "") -> Any:
    """The value of one frame; tensors go to `device` when it is given. Raises `WireError`, whatever the bytes are."""
    try:
        return _Decoder(buffers, resolve, device).value(grammar.parse(head), 0)
    except WireError:
        raise
    except Exception as error:  # NumPy and torch raise what they like
        raise WireError(f"what arrived is not a value: {type(error).__name__}: {error}") from error


class _Decoder:
    def __init__(self, buffers: list[bytearray], resolve: Resolve, device: str) -> None:
        self.buffers, self.resolve, self.device = buffers, resolve, device
        self.taken: set[int] = set()
        self.comparisons = 0

    def value(self, tree: Any, depth: int) -> Any:
        if type(tree) in _SCALARS:
            return tree
        if depth > MAX_DEPTH:
            raise WireError(f"nested deeper than {MAX_DEPTH} levels")
        return _DECODERS[type(tree)](self, tree, depth)

    def items(self, trees: list[Any], depth: int) -> list[Any]:
        return [self.value(tree, depth + 1) for tree in trees]

    def keyed(self, keys: list[Any]) -> None:
        """Keys of equal hash are each compared with all others: of those somebody made there would be many."""
        if len(keys) > MAX_KEYS:
            raise WireError(f"{len(keys)} keys; at most {MAX_KEYS} travel")
        if len(keys) > 1:
            self.comparisons += sum(alike * alike for alike in Counter(map(hash, keys)).values())
        if self.comparisons > MAX_COMPARISONS:
            raise WireError("too many keys of equal hash")

    def dict_(self, tree: grammar.Dict, depth: int) -> dict[Any, Any]:
        flat = self.items(tree.items, depth)
        self.keyed(flat[::2])
        return dict(zip(flat[::2], flat[1::2], strict=True))

    def set_(self, tree: grammar.Set | grammar.Frozenset, depth: int) -> set[Any]:
        items = self.items(tree.items, depth)
        self.keyed(items)
        return set(items)

    def integer(self, tree: grammar.Integer, _depth: int) -> int:
        if len(tree.data) * 8 > MAX_INT_BITS + 8:
            raise WireError(f"an integer of more than {MAX_INT_BITS} bits")
        return int.from_bytes(tree.data, "little", signed=True)

    def numpy_scalar(self, tree: grammar.NumpyScalar, _depth: int) -> Any:
        dtype, data = _numpy_dtype(tree.dtype), self.buffer(tree.buffer)
        if dtype.kind in "US":
            raise WireError("scalars of text do not travel")
        return _numpy_elements(data, dtype)[0]

    def array(self, tree: grammar.Array, _depth: int) -> Any:
        dtype, data = _numpy_dtype(tree.dtype), self.buffer(tree.buffer)
        _check_layout(tree, len(data), dtype.itemsize)
        flat = _numpy_elements(data, dtype)
        if tree.strides is None:
            return flat.reshape(tree.shape)
        return np.lib.stride_tricks.as_strided(flat, tree.shape, [s * dtype.itemsize for s in tree.strides])

    def tensor(self, tree: grammar.Tensor, _depth: int) -> Any:
        torch, dtype, data = _torch(), _torch_dtype(tree.dtype), self.buffer(tree.buffer)
        _check_layout(tree, len(data), dtype.itemsize)
        flat = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
        if dtype is torch.bool:
            flat = flat.view(torch.uint8) != 0
        tensor = flat.reshape(tree.shape) if tree.strides is None else flat.as_strided(tree.shape, tree.strides)
        if self.device and tree.device == "cpu":
            tensor = tensor.to(self.device)
        if tree.requires_grad:
            tensor.requires_grad_()
        return tensor

    def generator(self, tree: grammar.Generator, _depth: int) -> Any:
        torch, state = _torch(), self.buffer(tree.buffer)
        _check_generator(state)
        generator = torch.Generator(device="cpu")
        generator.set_state(torch.frombuffer(state, dtype=torch.uint8))
        return generator

    def branded(self, tree: grammar.Branded, depth: int) -> Any:
        value = self.value(tree.value, depth + 1)
        brand = BRANDS.get(type(value))
        if brand is not None:
            value = brand(value)
        if brand is NamedTuple:
            value.fields = dict(zip(tree.fields, value, strict=True)) if tree.fields is not None else {}
        if not isinstance(value, np.ndarray):
            value.type_name = tree.name
        return value

    def record(self, tree: grammar.Dataclass, depth: int) -> Record:
        names = [name for name in tree.fields[::2] if isinstance(name, str)]
        if len(names) > MAX_KEYS:
            raise WireError(f"{len(names)} fields; at most {MAX_KEYS} travel")
        return Record(tree.name, dict(zip(names, self.items(tree.fields[1::2], depth), strict=True)))

    def handle(self, tree: grammar.Handle, _depth: int) -> Any:
        return self.resolve("h", tree.number, tree.name)

    def callback(self, tree: grammar.Callback, _depth: int) -> Any:
        return self.resolve("c", tree.number, tree.name)

    def buffer(self, index: int) -> bytearray:
        if index >= len(self.buffers):
            raise WireError("a reference to a buffer that is not there")
        if index in self.taken:
            # What was sent once would have to be held many times.
            raise WireError("two values in one buffer")
        self.taken.add(index)
        return self.buffers[index]


_DECODERS: dict[type, Callable[[_Decoder, Any, int], Any]] = {
    grammar.List: lambda d, tree, depth: d.items(tree.items, depth),
    grammar.Tuple: lambda d, tree, depth: tuple(d.items(tree.items, depth)),
    grammar.Dict: _Decoder.dict_,
    grammar.Set: _Decoder.set_,
    grammar.Frozenset: lambda d, tree, depth: frozenset(d.set_(tree, depth)),
    grammar.Integer: _Decoder.integer,
    grammar.Complex: lambda _, tree, __: complex(tree.real, tree.imag),
    grammar.Bytes: lambda d, tree, _: bytes(d.buffer(tree.buffer)),
    grammar.Text: lambda d, tree, _: d.buffer(tree.buffer).decode("utf-8", "surrogatepass"),
    grammar.Range: lambda _, tree, __: range(tree.start, tree.stop, tree.step),
    grammar.Slice: lambda d, tree, depth: slice(*d.items([tree.start, tree.stop, tree.step], depth)),
    grammar.Dots: lambda *_: Ellipsis,
    grammar.NumpyDtype: lambda _, tree, __: _numpy_dtype(tree.dtype),
    grammar.NumpyScalar: _Decoder.numpy_scalar,
    grammar.Array: _Decoder.array,
    grammar.TorchDtype: lambda _, tree, __: _torch_dtype(tree.dtype),
    grammar.Device: lambda _, tree, __: _torch().device(tree.device),
    grammar.Generator: _Decoder.generator,
    grammar.Tensor: _Decoder.tensor,
    grammar.Branded: _Decoder.branded,
    grammar.Dataclass: _Decoder.record,
    grammar.Handle: _Decoder.handle,
    grammar.Callback: _Decoder.callback,
}


def _check_layout(tree: grammar.Array | grammar.Tensor, size: int, itemsize: int) -> None:
    total = math.prod(tree.shape)
    check_size(total, itemsize)
    if tree.strides is not None and len(tree.strides) != len(tree.shape):
        raise WireError("strides that no array has")
    elements = total if tree.strides is None else span(tree.shape, tree.strides)
    if elements * itemsize != size:
        raise WireError(f"{size} bytes for an array of {elements} elements")


def _check_generator(state: bytearray) -> None:
    """torch reads past the end of a state whose counters do not belong together."""
    left, _seeded, used = struct.unpack_from("=iiQ", state, 8)
    if (left, used) != (1, 0) and not (left >= 1 and left + used == _GENERATOR_WORDS + 1):
        raise WireError("a state that no generator has")


def _numpy_dtype(name: str) -> np.dtype[Any]:
    dtype = np.dtype(name)
    if dtype.kind not in "biufcUS" or (dtype.itemsize == 0 and dtype.kind not in "US"):
        raise WireError(f"arrays of {name} do not travel")
    return dtype


def _numpy_elements(data: bytearray, dtype: np.dtype[Any]) -> Any:
    if not data:
        return np.empty(0, dtype)
    if dtype.kind == "b":  # as a byte, True may be anything but 0
        return np.frombuffer(data, np.uint8) != 0
    if dtype.kind == "U" and (np.frombuffer(data, dtype.byteorder + "u4") > sys.maxunicode).any():
        raise WireError("text of what is no character")
    return np.frombuffer(data, dtype)


def _torch() -> ModuleType:
    torch = torch_module()
    if torch is None:
        raise WireError("a torch value, where torch is not loaded")
    return torch


def _torch_dtype(name: str) -> Any:
    torch = _torch()
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        raise WireError(f"there is no dtype {name}")
    return dtype
