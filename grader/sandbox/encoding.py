"""The sending half of the codec; `grader.sandbox.wire` tells the format."""

import dataclasses
from collections.abc import Callable
from types import ModuleType
from typing import Any

import msgspec
import numpy as np

from grader.sandbox import frames
from grader.sandbox.plain import BRANDS, MAX_DEPTH, MAX_INT_BITS, MAX_KEYS, WireError, check_size, span, torch_module

LONG_TEXT = 65_536

Foreign = Callable[[Any], list[Any]]
"""Names a value that has no closed type."""


def encode(value: Any, foreign: Foreign) -> list[frames.Buffer]:
    """The pieces of one frame. Raises `WireError` or `FrameError`."""
    encoder = _Encoder(foreign)
    head = msgspec.msgpack.encode(encoder.tree(value, 0))
    return frames.pack(head, encoder.buffers)


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
            plain = len(value) < LONG_TEXT and (value.isascii() or not _has_halves(value))
            return value if plain else ["S", self._buffer(value.encode("utf-8", "surrogatepass"))]
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
        for encoder in (self._array, self._tensor, self._scalar):
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
        check_size(value.size, value.itemsize)
        extent = span(value.shape, [s // max(value.itemsize, 1) for s in value.strides])
        if value.flags.c_contiguous or not extent or not _whole_steps(value):
            return ["n", value.dtype.str, list(value.shape), None, self._buffer(value.tobytes())]
        flat = np.lib.stride_tricks.as_strided(value, (extent,), (value.itemsize,))
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
        if not isinstance(value, torch.Tensor):
            return self._about_tensors(value, torch)
        if not _is_plain(value, torch):
            return None
        encoded = self._plain_tensor(value.detach(), torch)
        encoded.append(bool(value.requires_grad))
        return encoded if kind is torch.Tensor else ["#", kind.__name__, encoded]

    def _about_tensors(self, value: Any, torch: ModuleType) -> list[Any] | None:
        if isinstance(value, torch.dtype):
            return ["D", str(value).removeprefix("torch.")]
        if isinstance(value, torch.device):
            return ["V", str(value)]
        if isinstance(value, torch.Generator):
            return ["G", str(value.device), self._buffer(value.get_state().numpy().tobytes())]
        return None

    def _plain_tensor(self, value: Any, torch: ModuleType) -> list[Any]:
        name, shape, device = str(value.dtype).removeprefix("torch."), list(value.shape), str(value.device)
        check_size(value.numel(), value.element_size())
        value = value.cpu().resolve_conj().resolve_neg()
        strides, extent = None, span(value.shape, value.stride())
        if extent and not value.is_contiguous():
            strides, value = list(value.stride()), value.as_strided((extent,), (1,))
        # Not `reshape`: it leaves a single element its stride, and a view as bytes wants that to be 1.
        flat = value.contiguous().as_strided((value.numel(),), (1,))
        data = flat.view(torch.uint8).numpy().tobytes() if value.numel() else b""
        return ["T", name, shape, strides, device, self._buffer(data)]

    def _subclass(self, value: Any, kind: type, depth: int) -> list[Any] | None:
        if isinstance(value, type):
            return None
        if dataclasses.is_dataclass(value):
            return ["r", kind.__name__, self._fields(_dataclass_fields(value), depth)]
        for base in BRANDS:
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


def _dataclass_fields(value: Any) -> list[tuple[str, Any]]:
    return [(field.name, getattr(value, field.name, None)) for field in dataclasses.fields(value)]


def _is_plain(tensor: Any, torch: ModuleType) -> bool:
    return (
        tensor.layout is torch.strided
        and not tensor.is_quantized
        and tensor.device.type in ("cpu", "cuda")
        and type(tensor).__name__ not in ("DTensor", "FakeTensor", "AsyncCollectiveTensor")
    )


def _has_halves(text: str) -> bool:
    """Whether it holds halves of characters, which msgpack has no place for."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _whole_steps(value: Any) -> bool:
    return all(stride % value.itemsize == 0 for stride in value.strides)
