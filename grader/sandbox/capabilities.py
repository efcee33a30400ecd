"""Capabilities of Linux: the rights of root, one by one, which no attempt needs."""

import contextlib
import struct

from grader.sandbox import libc

_NO_NEW_PRIVILEGES, _READ_BOUND, _DROP_BOUND, _AMBIENT, _CLEAR_ALL = 38, 23, 24, 47, 4
_FORMAT = 0x20080522


def drop_bound() -> None:
    """Let no program that this process or its descendants run gain a capability; those held are kept.

    Without the right to do so nothing happens: `drop` forbids the same in another way.
    """
    with contextlib.suppress(OSError):  # how the end of the list is told, too
        for capability in range(64) if libc.call("prctl", _READ_BOUND, 0) else ():
            libc.call("prctl", _DROP_BOUND, capability)


def drop() -> None:
    """Give up all, for good, the user id kept. Raises OSError where there are none."""
    libc.call("prctl", _NO_NEW_PRIVILEGES, 1)
    drop_bound()
    libc.call("prctl", _AMBIENT, _CLEAR_ALL)
    libc.call("capset", struct.pack("=Ii", _FORMAT, 0), bytes(24))
