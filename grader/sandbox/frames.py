"""Frames on a stream socket: a msgpack head and the raw buffers it refers to, every size bounded before it is read.

    <u32 bytes of head> <u32 number of buffers> <u64 bytes of buffer>* <head> <buffer>*

The head is bounded more tightly than the whole, because a byte of it can become a Python object of sixty.
"""

import socket
import struct
from collections.abc import Callable, Sequence

MAX_FRAME = 64 * 2**20
MAX_HEAD = 4 * 2**20
MAX_BUFFERS = 65_536
AHEAD = 16_384
"""Bytes that are sent in one piece, and read at once if they are there."""

_PREFIX = struct.Struct("<II")

Buffer = bytes | bytearray | memoryview
Receive = Callable[[int], bytearray]
"""Reads exactly that many bytes, or raises `EOFError`."""


class FrameError(ValueError):
    """A frame breaks the format or a bound; whoever sent it is not to be trusted further."""


def pack(head: bytes, buffers: Sequence[Buffer]) -> list[Buffer]:
    """The pieces to send, in order. Raises `FrameError` when the frame would be refused on the other side."""
    sizes = [len(memoryview(buffer).cast("B")) if len(buffer) else 0 for buffer in buffers]
    _check(len(head), sizes)
    return [_PREFIX.pack(len(head), len(sizes)) + struct.pack(f"<{len(sizes)}Q", *sizes), head, *buffers]


def read(receive: Receive) -> tuple[bytearray, list[bytearray]]:
    """One frame. Raises `FrameError`, or `EOFError` when the other side has gone."""
    head_size, count = _PREFIX.unpack(receive(_PREFIX.size))
    if count > MAX_BUFFERS:
        raise FrameError(f"{count} buffers in one frame, at most {MAX_BUFFERS} travel")
    sizes = struct.unpack(f"<{count}Q", receive(8 * count)) if count else ()
    _check(head_size, sizes)
    return receive(head_size), [receive(size) for size in sizes]


def joined(pieces: Sequence[Buffer]) -> Sequence[Buffer]:
    """The same bytes in one piece, unless they are many: every piece that is sent wakes up who waits for it."""
    return [b"".join(pieces)] if sum(map(len, pieces)) <= AHEAD else pieces


def send(sock: socket.socket, pieces: Sequence[Buffer]) -> None:
    for piece in joined(pieces):
        if len(piece):
            sock.sendall(piece)


class Receiver:
    """A `Receive` that takes from its source as much as is there, and asks it once for many small pieces."""

    def __init__(self, source: Callable[[memoryview], int]) -> None:
        """`source` fills a part of what it is given, of which there is some, waits if need be, and returns how much;
        0 when the other side has gone."""
        self.source = source
        self.ahead = memoryview(bytearray(AHEAD))
        self.start = self.end = 0

    def __call__(self, size: int) -> bytearray:
        data = bytearray(size)
        view, got = memoryview(data), 0
        while got < size:
            if self.start < self.end:
                count = min(size - got, self.end - self.start)
                view[got : got + count] = self.ahead[self.start : self.start + count]
                self.start += count
            elif size - got >= AHEAD:
                count = self._more(view[got:])
            else:
                self.start, self.end, count = 0, self._more(self.ahead), 0
            got += count
        return data

    def _more(self, view: memoryview) -> int:
        count = self.source(view)
        if not count:
            raise EOFError("the other side has gone")
        return count


def _check(head_size: int, sizes: Sequence[int]) -> None:
    if head_size > MAX_HEAD:
        raise FrameError(f"{head_size} bytes of lists, dicts and numbers; at most {MAX_HEAD} travel in one reply")
    if head_size + sum(sizes) > MAX_FRAME:
        raise FrameError(f"{head_size + sum(sizes)} bytes in one frame; at most {MAX_FRAME} travel")
