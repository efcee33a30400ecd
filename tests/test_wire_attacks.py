"""Invariant 3: whatever bytes a worker sends, what comes of them is plain data of bounded size, or a WireError."""

import math
import random
import struct
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, make_dataclass
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from grader.sandbox import frames, plain, wire

GIGABYTE = 10**9
KINDS = (
    *(type(None), bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset, range, slice, type(...)),
    *(np.ndarray, np.generic, np.dtype, torch.Tensor, torch.dtype, torch.device, torch.Generator),
    *(wire.Record, *plain.BRANDS.values()),
)
STATE = torch.Generator().manual_seed(1).get_state().numpy().tobytes()


class Handle:
    """What a handle or a callback stands for in these tests."""

    def __init__(self, _tag: str, _number: int, _name: str) -> None: ...


def encoded(value: Any) -> tuple[bytes, list[bytearray]]:
    pieces = wire.encode(value, lambda _value: ["h", 1, "object"])
    return bytes(pieces[1]), [bytearray(piece) for piece in pieces[2:]]


def decoded(head: bytes, buffers: list[bytearray] | None = None) -> Any:
    return wire.decode(head, buffers or [], Handle)


def tree(value: Any, *buffers: bytes) -> Any:
    return decoded(msgspec.msgpack.encode(value), [bytearray(buffer) for buffer in buffers])


def inside(value: Any) -> list[Any]:
    """The value and all that it holds."""
    parts: list[Any] = []
    if isinstance(value, wire.Record):
        parts = list(value.fields.values())
    elif isinstance(value, dict):
        parts = [*value.keys(), *value.values()]
    elif isinstance(value, list | tuple | set | frozenset):
        parts = list(value)
    return [value, *(item for part in parts for item in inside(part))]


def refused_or_plain(head: bytes, buffers: list[bytearray]) -> None:
    try:
        value = decoded(head, buffers)
    except wire.WireError:
        return
    for item in inside(value):
        assert isinstance(item, (*KINDS, Handle))
        if isinstance(item, np.ndarray | torch.Tensor):
            assert math.prod(item.shape) * max(item.itemsize, 1) <= frames.MAX_FRAME
        repr(item)


@dataclass
class Sample:
    mean: float
    values: Any


SAMPLES = [
    ("ok", [1, 2.5, None, True, "text", b"bytes", 2**70, 1j, ...], {"a": (1,), 2: {3}, "x": frozenset({4})}),
    (np.arange(6.0).reshape(2, 3).T, np.float32(1), np.array(["a", "bc"]), np.dtype("int8"), slice(1, None)),
    (torch.ones(2, 3).T, torch.tensor(1.0, requires_grad=True), torch.float16, torch.device("cpu"), torch.Generator()),
    (Counter("banana"), Sample(1.0, [2]), torch.Size([1, 2]), range(3), object(), "\ud800", "x" * 70_000),
]


class TestInvariant3DataAlone:
    @given(st.binary(max_size=200), st.lists(st.binary(max_size=20).map(bytearray), max_size=3))
    @settings(max_examples=500, deadline=None)
    def test_invariant_3_any_bytes_are_data_or_refused(self, head: bytes, buffers: list[bytearray]) -> None:
        refused_or_plain(head, buffers)

    @pytest.mark.parametrize("seed", range(8))
    def test_invariant_3_spoiled_frames_are_data_or_refused(self, seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(250):
            head, buffers = encoded(chance.choice(SAMPLES))
            refused_or_plain(spoiled(head, chance), [bytearray(spoiled(buffer, chance)) for buffer in buffers])

    @pytest.mark.parametrize("seed", range(8))
    def test_invariant_3_trees_of_every_tag_are_data_or_refused(self, seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(400):
            buffers = [bytearray(chance.randbytes(chance.choice((0, 1, 8, 24, 5056)))) for _ in range(3)]
            buffers.append(bytearray(STATE))
            refused_or_plain(msgspec.msgpack.encode(any_tree(chance, 4)), buffers)

    def test_invariant_3_samples_come_back(self) -> None:
        for sample in SAMPLES:
            assert type(decoded(*encoded(sample))) is tuple

    @given(st.binary(min_size=8, max_size=64))
    @settings(max_examples=300, deadline=None)
    def test_invariant_3_no_prefix_makes_anybody_wait_or_hold_much(self, data: bytes) -> None:
        """A frame's sizes are refused before anything of it is read."""
        asked = 0
        left = bytearray(data)

        def receive(size: int) -> bytearray:
            nonlocal asked, left
            asked += size
            assert asked <= frames.MAX_FRAME + 8 * frames.MAX_BUFFERS + 8
            taken, left = left[:size], left[size:]
            if len(taken) < size:
                raise EOFError
            return taken

        try:
            frames.read(receive)
        except (frames.FrameError, EOFError):
            return


def spoiled(data: bytes | bytearray, chance: random.Random) -> bytes:
    """With a few bytes changed, taken out, or put in."""
    data = bytearray(data)
    for _ in range(chance.randrange(4)):
        place = chance.randrange(len(data) + 1)
        change = chance.randrange(3)
        if change == 0 and place < len(data):
            data[place] = chance.randrange(256)
        elif change == 1:
            del data[place : place + chance.randrange(4)]
        else:
            data[place:place] = chance.randbytes(chance.randrange(4))
    return bytes(data)


NAMES = ["<f8", "|S3", "<U2", "O", "V8", "float32", "bool", "qint8", "cpu", "cuda:9", "nn", "", "__class__", "x" * 201]
NUMBERS = [0, 1, 2, 3, -1, 8, 2**31, 2**47, 2**63, 2**64 - 1, 0.5, math.nan, math.inf, True, None, "x", b"\xff"]
TAGS = "ltdsfICBSaiEyNnDVGT#rhc?"


def any_tree(chance: random.Random, depth: int) -> Any:
    """Something that looks like a tree of the wire, with fields of any kind in any number."""
    if not depth or chance.random() < 0.2:
        return chance.choice([*NUMBERS, *NAMES])
    tag = chance.choice(TAGS)
    fields = {"n": _array, "T": _tensor, "N": _scalar, "G": _generator, "#": _branded}.get(tag, _anything)(
        chance, depth
    )
    if chance.random() < 0.1:
        fields.append(any_tree(chance, depth - 1))
    return [tag, *fields]


def _anything(chance: random.Random, depth: int) -> list[Any]:
    if chance.random() < 0.7:
        return [[any_tree(chance, depth - 1) for _ in range(chance.randrange(4))]]
    return [any_tree(chance, 0) for _ in range(chance.randrange(4))]


def _array(chance: random.Random, _depth: int) -> list[Any]:
    shape = [chance.choice([0, 1, 2, 3, 2**47, -1]) for _ in range(chance.randrange(4))]
    strides = chance.choice([None, [chance.choice([0, 1, 2, 2**47]) for _ in shape]])
    return [chance.choice(NAMES), shape, strides, chance.randrange(5)]


def _tensor(chance: random.Random, depth: int) -> list[Any]:
    name, shape, strides, index = _array(chance, depth)
    return [name, shape, strides, chance.choice(["cpu", "cuda:0", 5]), index, chance.choice([True, False, 1])]


def _scalar(chance: random.Random, _depth: int) -> list[Any]:
    return [chance.choice(NAMES), chance.randrange(5)]


def _generator(chance: random.Random, _depth: int) -> list[Any]:
    return ["cpu", chance.randrange(5)]


def _branded(chance: random.Random, depth: int) -> list[Any]:
    fields = chance.choice([[], [["a"]], [["a", "b", "__array_interface__"]]])
    return [chance.choice(NAMES), any_tree(chance, depth - 1), *fields]


class TestWhatOnceWentThrough:
    """Each of these made a judge hang, crash, or fill its memory."""

    def test_a_map_whose_keys_hash_alike(self) -> None:
        keys = b"".join(b"\x9f" + bytes(0xFF - (n >> bit & 1) for bit in range(15)) + b"\0" for n in range(2**15))
        with pytest.raises(wire.WireError, match="got `object`"):
            decoded(b"\xdf" + struct.pack(">I", 2**15) + keys)

    @pytest.mark.parametrize("tag", ["s", "f", "d"])
    def test_numbers_that_hash_alike(self, tag: str) -> None:
        prime = sys.hash_info.modulus
        numbers = [["I", (n * prime).to_bytes(11, "little")] for n in range(1, 2_000)]
        with pytest.raises(wire.WireError, match="too many keys of equal hash"):
            tree([tag, [part for n in numbers for part in ([n, None] if tag == "d" else [n])]])

    def test_honest_keys_may_be_as_many_as_travel(self) -> None:
        honest = {(n % 141 - 70, n // 141 - 70, -1.0): {n, -n} for n in range(wire.MAX_KEYS)}
        assert decoded(*encoded(honest)) == honest

    def test_many_values_of_one_buffer(self) -> None:
        for value in (["B", 0], ["S", 0], ["n", "|u1", [5056], None, 0], ["G", "cpu", 0]):
            with pytest.raises(wire.WireError, match="two values in one buffer"):
                tree(["l", [value, value]], STATE if value[0] == "G" else bytes(5056))

    def test_a_view_that_never_ends(self) -> None:
        for value in (np.broadcast_to(np.float32(1), (10**12,)), torch.ones(1).expand(10**9)):
            with pytest.raises(wire.WireError, match="at most 67108864 travel"):
                encoded(value)
        for head in (["n", "<f8", [2**40], [0], 0], ["n", "<U0", [2**40], [0], 0]):
            with pytest.raises(wire.WireError, match=r"at most 67108864 travel|bytes for an array"):
                tree(head, bytes(8))
        small = np.broadcast_to(np.float32(1), (1000, 3))
        assert decoded(*encoded(small)).strides == (0, 0)

    @pytest.mark.parametrize(
        "name", ["__array_interface__", "__array_struct__", "__array__", "__cuda_array_interface__"]
    )
    def test_a_field_that_numpy_asks_for(self, name: str) -> None:
        where = {"data": (8, False), "shape": (3,), "typestr": "<f8", "version": 3}
        bait = decoded(*encoded(make_dataclass("Bait", [name])(where)))
        branded = tree(["#", "Bait", ["t", [["d", ["data", 8]]]], [name]])
        for value in (bait, branded):
            assert not hasattr(value, name)
            assert np.asarray(value).size <= 1
        assert bait.fields == {name: where}

    def test_a_generator_that_reads_past_its_state(self) -> None:
        state = bytearray(STATE)
        struct.pack_into("=iiQ", state, 8, 624, 1, 624)
        with pytest.raises(wire.WireError, match="a state that no generator has"):
            tree(["G", "cpu", 0], state)
        for draws in (0, 1, 623, 624, 625, 10_000):
            generator = torch.Generator().manual_seed(draws)
            torch.rand(draws, generator=generator)
            again = decoded(*encoded(generator))
            assert torch.equal(torch.rand(3, generator=again), torch.rand(3, generator=generator))

    def test_elements_that_no_array_has(self) -> None:
        with pytest.raises(wire.WireError, match="no character"):
            tree(["n", "<U1", [1], None, 0], b"\xff" * 4)
        with pytest.raises(wire.WireError, match="do not travel"):
            tree(["N", "<U1", 0], b"\xff" * 4)
        for head in (["n", "|b1", [3], None, 0], ["T", "bool", [3], None, "cpu", 0, False]):
            assert int(tree(head, b"\0\1\xff").sum()) == 2

    def test_text_with_halves_of_characters_travels(self) -> None:
        for text in ("\ud800", "a\udfffb" * 10, "\ud800" * 70_000):
            assert decoded(*encoded(["σ", text, {text: 1}])) == ["σ", text, {text: 1}]


# The heaviest of all kinds of value, each as often as one frame holds it.
WORST = """
import os
import msgspec
import torch
from grader.sandbox import frames, wire

STATE = torch.Generator().get_state().numpy().tobytes()
ONE = {"named sets": ["#", "", ["s", []]]}
OF_A_BUFFER = {
    "long text": (b"x" * (60 * 2**20) + "𝄞".encode(), lambda n: ["S", n]),
    "tensors": (bytes(4), lambda n: ["T", "float32", [1], None, "cpu", n, False]),
    "generators": (STATE, lambda n: ["G", "cpu", n]),
}

def many(name):
    size = len(msgspec.msgpack.encode(ONE[name]))
    return [ONE[name]] * ((frames.MAX_HEAD - 100) // size), []

def with_buffers(name):
    buffer, unit = OF_A_BUFFER[name]
    size = len(msgspec.msgpack.encode(unit(frames.MAX_BUFFERS))) + len(buffer)
    count = min((frames.MAX_HEAD - 100) // (size - len(buffer)), frames.MAX_BUFFERS, frames.MAX_FRAME // size)
    return [unit(n) for n in range(count)], [bytearray(buffer) for _ in range(count)]

def peak(name):
    units, buffers = many(name) if name in ONE else with_buffers(name)
    head = msgspec.msgpack.encode(["t", ["ok", ["l", units], ["l", []], None]])
    pieces = frames.pack(head, buffers)
    del units, pieces
    wire.decode(head, buffers, lambda tag, number, name: None)
    return open("/proc/self/status").read().split("VmHWM:")[1].split()[0]

for name in (*ONE, *OF_A_BUFFER):
    if os.fork() == 0:
        print(name, peak(name), sep=": ", flush=True)
        os._exit(0)
    assert os.wait()[1] == 0, name
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_the_worst_frames_need_less_than_a_gigabyte() -> None:
    run = subprocess.run([sys.executable, "-c", WORST], capture_output=True, text=True, timeout=100, check=False)
    assert run.returncode == 0, run.stderr
    peaks = {name: int(kilobytes) * 1024 for name, _, kilobytes in (x.partition(": ") for x in run.stdout.splitlines())}
    assert len(peaks) == 4
    assert max(peaks.values()) < GIGABYTE, peaks
