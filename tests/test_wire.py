"""The codec: every type there and back, subclasses by name, bounds that hold, and what cannot travel says so."""

import dataclasses
import enum
import math
import random
import typing
from collections import Counter, OrderedDict, defaultdict, namedtuple
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from grader.sandbox import frames, wire
from grader.sandbox.frames import MAX_FRAME, MAX_HEAD, FrameError
from grader.sandbox.plain import MAX_DEPTH, MAX_INT_BITS, MAX_KEYS
from grader.sandbox.proxy import opened
from grader.sandbox.wire import NamedTuple, Record, WireError


class Handle:
    """What a number resolves to."""

    def __init__(self, *named: Any) -> None:
        self.named = named


def no_foreign(value: Any) -> list[Any]:
    raise WireError(f"a {type(value).__name__} does not travel")


def as_handle(value: Any) -> list[Any]:
    return ["h", 7, type(value).__name__]


def travelled(value: Any, foreign: wire.Foreign = no_foreign) -> Any:
    """The value as it arrives on the other side."""
    return wire.decode(*opened(wire.encode(value, foreign)), Handle)


def same(a: Any, b: Any) -> bool:
    """Equal in type and value, NaN equal to NaN, all the way down."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray | np.generic):
        return a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict):
        return same(list(a.items()), list(b.items()))
    if isinstance(a, float):
        return a == b or (math.isnan(a) and math.isnan(b))
    if isinstance(a, complex):
        return same((a.real, a.imag), (b.real, b.imag))
    return bool(a == b)


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2 ** (MAX_INT_BITS - 1)), 2 ** (MAX_INT_BITS - 1))
    | st.floats()
    | st.complex_numbers()
    | st.text(st.characters(codec=None))
    | st.binary()
    | st.just(...)
    | st.builds(range, st.integers(-9, 9), st.integers(-9, 9), st.integers(1, 3))
    | st.builds(slice, st.none() | st.integers(), st.integers(), st.none())
)
keys = st.booleans() | st.integers() | st.text(max_size=5) | st.tuples(st.integers(), st.text(max_size=3))
dtypes = npst.boolean_dtypes() | npst.integer_dtypes() | npst.floating_dtypes() | npst.complex_number_dtypes()
arrays = npst.arrays(dtypes, npst.array_shapes(min_dims=0, min_side=0, max_side=4))
values = st.recursive(
    scalars | arrays | npst.arrays(npst.unicode_string_dtypes(max_len=4), 3) | st.frozensets(keys, max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(keys, inner, max_size=4)
        | st.sets(keys, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(values)
def test_whatever_is_plain_arrives_as_it_was(value):
    assert same(travelled(value), value)


@settings(max_examples=60, deadline=None)
@given(npst.arrays(dtypes, npst.array_shapes(max_side=4)), st.data())
def test_an_array_arrives_whatever_its_strides(array, data):
    view = array.transpose(data.draw(st.permutations(range(array.ndim))))
    steps = tuple(slice(None, None, data.draw(st.sampled_from([1, 2, -1]))) for _ in range(array.ndim))
    arrived = travelled(view[steps])
    assert same(arrived, view[steps])
    assert arrived.flags.writeable


DTYPES = [
    getattr(torch, name)
    for name in ("bool", "uint8", "int16", "int64", "float16", "bfloat16", "float32", "float64", "complex64")
]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3), (2, 1, 3)], ids=str)
def test_a_tensor_arrives(dtype, shape):
    tensor = (torch.rand(shape) * 5).to(dtype)
    arrived = travelled(tensor)
    assert type(arrived) is torch.Tensor
    assert arrived.dtype == dtype
    assert arrived.shape == tensor.shape
    assert arrived.stride() == tensor.stride()
    assert torch.equal(arrived, tensor)


VIEWS = {
    "transposed": lambda x: x.T,
    "every second": lambda x: x[:, ::2],
    "expanded": lambda x: x[:1].expand(5, 6),
    "a row of one": lambda x: x[2:3],
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_a_view_arrives_with_its_strides(view):
    tensor = view(torch.arange(24.0).reshape(4, 6))
    arrived = travelled(tensor)
    assert arrived.stride() == tensor.stride()
    assert torch.equal(arrived, tensor)


ONE = {
    "a column of one row": lambda: torch.arange(6).reshape(2, 3)[:1, 1],
    "the real part of one": lambda: torch.tensor([[1 + 2j]]).real,
    "one of every second": lambda: torch.arange(4.0)[1::4],
}


@pytest.mark.parametrize("view", ONE.values(), ids=ONE)
def test_a_single_element_arrives_whatever_its_stride(view):
    tensor = view()
    arrived = travelled(tensor)
    assert arrived.shape == tensor.shape
    assert torch.equal(arrived, tensor)


def test_a_view_that_is_conjugate_or_negative_arrives_as_what_it_stands_for():
    z = torch.tensor([1 + 2j, 3 - 4j])
    assert travelled([z.conj(), z.conj().imag])[0].tolist() == [1 - 2j, 3 + 4j]
    assert travelled(z.conj().imag).tolist() == [-2.0, 4.0]


def test_a_view_of_little_does_not_bring_much():
    window = torch.zeros(10_000, 100)[:, :1][:10]
    assert sum(len(piece) for piece in wire.encode(window, no_foreign)) < 5_000


def test_whether_it_wants_a_gradient_is_kept_and_its_graph_is_not():
    leaf = torch.ones(2, requires_grad=True)
    result = travelled([leaf, leaf * 2, leaf.detach()])
    assert [x.requires_grad for x in result] == [True, True, False]
    assert all(x.is_leaf for x in result)


def test_a_parameter_is_a_tensor_with_a_name():
    arrived = travelled(torch.nn.Parameter(torch.ones(2)))
    assert type(arrived) is torch.Tensor
    assert arrived.requires_grad
    assert arrived.type_name == "Parameter"


def test_dtypes_devices_and_generators_arrive():
    generator = torch.Generator().manual_seed(3)
    torch.rand(5, generator=generator)
    arrived = travelled([torch.bfloat16, torch.device("cpu"), np.dtype("<f2"), np.float32(0.5), generator])
    assert arrived[:4] == [torch.bfloat16, torch.device("cpu"), np.dtype("<f2"), np.float32(0.5)]
    assert type(arrived[3]) is np.float32
    assert torch.equal(torch.rand(4, generator=arrived[4]), torch.rand(4, generator=generator))


Point = namedtuple("Point", "x y")


class Typed(typing.NamedTuple):
    name: str
    of: list[int]


class Colour(enum.IntEnum):
    RED = 1


class Mode(enum.StrEnum):
    TRAIN = "train"


class Loud(float):
    def __float__(self) -> float:
        raise AssertionError("nobody asks")


class Sly(list):
    """Says one thing and holds another."""

    def __iter__(self):
        return iter(["nothing"])

    def __len__(self):
        return 0


SUBCLASSES = [
    (Counter("aab"), {"a": 2, "b": 1}, dict),
    (OrderedDict(b=1, a=2), {"b": 1, "a": 2}, dict),
    (defaultdict(list, k=[1]), {"k": [1]}, dict),
    (torch.ones(2, 3).shape, (2, 3), tuple),
    (Colour.RED, 1, int),
    (Mode.TRAIN, "train", str),
    (Loud(2.5), 2.5, float),
    (Sly([1, 2]), [1, 2], list),
    (np.str_("a"), "a", str),
]


@pytest.mark.parametrize(("value", "plain", "base"), SUBCLASSES, ids=lambda x: type(x).__name__)
def test_a_subclass_arrives_as_its_base_with_its_name(value, plain, base):
    arrived = travelled(value)
    assert base in type(arrived).__mro__
    assert arrived == plain
    assert arrived.type_name == type(value).__name__


def test_a_named_tuple_keeps_its_fields():
    arrived = travelled([Point(1, [2]), Typed("n", of=[3])])
    assert arrived == [(1, [2]), ("n", [3])]
    assert all(type(x) is NamedTuple for x in arrived)
    assert (arrived[0].x, arrived[0].y, arrived[1].of) == (1, [2], [3])
    assert arrived[0].fields == {"x": 1, "y": [2]}
    with pytest.raises(AttributeError):
        arrived[0].z  # noqa: B018 — to look is the test


@dataclasses.dataclass
class Sample:
    ids: list[int]
    logps: torch.Tensor
    point: Point
    later: Any = dataclasses.field(init=False)


def test_a_dataclass_arrives_as_a_record():
    arrived = travelled(Sample([1], torch.ones(2), Point(0, 1)))
    assert type(arrived) is Record
    assert arrived.type_name == "Sample"
    assert (arrived.ids, arrived.point.y, arrived.later) == ([1], 1, None)
    assert torch.equal(arrived.logps, torch.ones(2))
    with pytest.raises(AttributeError, match="Sample has no field 'nothing'"):
        arrived.nothing  # noqa: B018 — to look is the test


FOREIGN = [
    object(),
    ValueError("no value"),
    Sample,
    len,
    torch.nn.Linear(1, 1),
    torch.zeros(2).to_sparse(),
    torch.zeros(2, device="meta"),
    np.array([object()]),
    np.array(["2020-01-01"], dtype="datetime64[D]"),
    iter([1]),
    memoryview(b"x"),
    enum.Enum("Plain", "A").A,
]


@pytest.mark.parametrize("value", FOREIGN, ids=lambda x: type(x).__name__)
def test_what_has_no_closed_type_is_named_by_the_sender(value):
    with pytest.raises(WireError, match="does not travel"):
        travelled(value)
    arrived = travelled({"deep": [value]}, as_handle)["deep"][0]
    assert arrived.named == ("h", 7, type(value).__name__)


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


LIMITS = {
    "depth": (nested(MAX_DEPTH), nested(MAX_DEPTH + 1), "nested deeper"),
    "keys": (dict.fromkeys(range(MAX_KEYS)), dict.fromkeys(range(MAX_KEYS + 1)), "keys"),
    "elements of a set": (set(range(MAX_KEYS)), set(range(MAX_KEYS + 1)), "keys"),
    "bits": (2**MAX_INT_BITS - 1, 2**MAX_INT_BITS, "bits"),
}


@pytest.mark.parametrize(("within", "beyond", "told"), LIMITS.values(), ids=LIMITS)
def test_a_limit_holds_where_it_is_said_to_be(within, beyond, told):
    assert travelled(within) == within
    with pytest.raises(WireError, match=told):
        travelled(beyond)


def test_a_frame_is_bounded_as_a_whole_and_in_its_head():
    room = MAX_FRAME - 1024
    assert travelled(bytes(room)) == bytes(room)
    with pytest.raises(FrameError, match="at most 67108864 travel"):
        travelled(bytes(MAX_FRAME))
    with pytest.raises(FrameError, match="lists, dicts and numbers"):
        travelled([0.5] * (MAX_HEAD // 9 + 1))


def test_what_holds_itself_is_refused_and_what_stands_twice_is_not():
    loop: list[Any] = [1]
    loop.append(loop)
    with pytest.raises(WireError, match="holds itself"):
        travelled(loop)
    twice = [1]
    assert travelled([twice, twice]) == [[1], [1]]


def test_copies_share_nothing():
    array, tensor = np.zeros(2), torch.zeros(2)
    arrived = travelled([array, tensor, array])
    arrived[0][0] = arrived[1][0] = 5
    assert array[0] == tensor[0] == arrived[2][0] == 0


@settings(max_examples=100, deadline=None)
@given(values, st.data())
def test_a_frame_that_was_tampered_with_is_a_value_or_an_error_of_the_codec(value, data):
    head, buffers = opened(wire.encode(value, no_foreign))
    place = data.draw(st.integers(0, len(head) - 1))
    broken = head[:place] + bytes([data.draw(st.integers(0, 255))]) + head[place + 1 :]
    try:
        wire.decode(broken, buffers, Handle)
    except WireError:
        return


def test_a_frame_can_be_read_from_a_stream_piece_by_piece():
    pieces = wire.encode([np.arange(5), "text"], no_foreign)
    stream = bytearray(b"".join(bytes(piece) for piece in pieces))

    def receive(size: int) -> bytearray:
        taken = stream[:size]
        del stream[:size]
        return taken

    head, buffers = frames.read(receive)
    assert same(wire.decode(head, buffers, Handle), [np.arange(5), "text"])
    assert not stream


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 3 * frames.AHEAD), max_size=8), st.integers(1, 2 * frames.AHEAD))
def test_a_receiver_hands_out_all_bytes_in_order_however_they_come(sizes, at_once):
    sent = random.Random(0).randbytes(sum(sizes))
    left = memoryview(sent)

    def source(view: memoryview) -> int:
        nonlocal left
        count = min(len(view), len(left), at_once)
        view[:count], left = left[:count], left[count:]
        return count

    receive = frames.Receiver(source)
    assert b"".join(receive(size) for size in sizes) == sent
    with pytest.raises(EOFError):
        receive(1)
