"""The grammar of a frame's head: one type for each tag, and the values that they make up.

msgpack is parsed straight into these. What they do not allow is refused before it is built: above all maps, whose keys
somebody could choose so that all of them hash alike.
"""

from typing import Annotated

from msgspec import Meta, Struct
from msgspec.msgpack import Decoder

from grader.sandbox.plain import MAX_DIMENSIONS

Name = Annotated[str, Meta(max_length=200)]
Buffer = Annotated[int, Meta(ge=0)]
"""Which of the buffers beside the head holds the bytes."""
Dimension = Annotated[int, Meta(ge=0, lt=2**48)]
Dimensions = Annotated[list[Dimension], Meta(max_length=MAX_DIMENSIONS)]


class Node(Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """A value that is no scalar: an array of its tag and its fields."""


class List(Node, tag="l"):
    items: list["Value"]


class Tuple(Node, tag="t"):
    items: list["Value"]


class Dict(Node, tag="d"):
    items: list["Value"]
    """Keys and values in turn."""


class Set(Node, tag="s"):
    items: list["Value"]


class Frozenset(Node, tag="f"):
    items: list["Value"]


class Integer(Node, tag="I"):
    data: bytes
    """Little-endian, signed: for what 64 bits do not hold."""


class Complex(Node, tag="C"):
    real: float
    imag: float


class Bytes(Node, tag="B"):
    buffer: Buffer


class Text(Node, tag="S"):
    buffer: Buffer


class Range(Node, tag="a"):
    start: int
    stop: int
    step: int


class Slice(Node, tag="i"):
    start: "Value"
    stop: "Value"
    step: "Value"


class Dots(Node, tag="E"): ...


class NumpyDtype(Node, tag="y"):
    dtype: Name


class NumpyScalar(Node, tag="N"):
    dtype: Name
    buffer: Buffer


class Array(Node, tag="n"):
    dtype: Name
    shape: Dimensions
    strides: Dimensions | None
    """In elements; None: contiguous."""
    buffer: Buffer


class TorchDtype(Node, tag="D"):
    dtype: Name


class Device(Node, tag="V"):
    device: Name


class Generator(Node, tag="G"):
    device: Name
    buffer: Buffer


class Tensor(Node, tag="T"):
    dtype: Name
    shape: Dimensions
    strides: Dimensions | None
    device: Name
    buffer: Buffer
    requires_grad: bool


class Branded(Node, tag="#"):
    name: Name
    """Of the subclass."""
    value: "Value"
    fields: list[Name] | None = None
    """Of a named tuple."""


class Dataclass(Node, tag="r"):
    name: Name
    fields: list["Value"]
    """Names and values in turn."""


class Handle(Node, tag="h"):
    number: int
    name: Name


class Callback(Node, tag="c"):
    number: int
    name: Name


Container = List | Tuple | Dict | Set | Frozenset | Branded | Dataclass
Scalar = Integer | Complex | Bytes | Text | Range | Slice | Dots | NumpyDtype | NumpyScalar | TorchDtype | Device
Whole = Array | Tensor | Generator | Handle | Callback
Value = None | bool | int | float | str | Container | Scalar | Whole

parse = Decoder[Value](Value).decode
"""The tree of a head. Raises msgspec.MsgspecError, RecursionError."""
