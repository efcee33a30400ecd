"""Who runs which check, where several judges share those of one attempt: each number goes to whoever reads it first."""

import os
import struct
from collections.abc import Iterator

NUMBER = struct.Struct("<H")
MOST = 4096
"""What is sure to fit in a pipe; no kata has a hundredth of that."""


def queue_of_turns() -> int:
    """The end of a pipe that holds the numbers of checks, in order; the caller closes it."""
    ours, theirs = os.pipe()
    with os.fdopen(theirs, "wb") as queue:
        queue.write(b"".join(map(NUMBER.pack, range(MOST))))
    return ours


def turns(queue: int | None, count: int) -> Iterator[int]:
    """Those of the checks 0 to `count` that fall to this judge, each as it asks; all where there is no queue."""
    if queue is None:
        yield from range(count)
        return
    while data := os.read(queue, NUMBER.size):
        (number,) = NUMBER.unpack(data)
        if number >= count:
            return
        yield number
