"""Moments that a changed system clock, a closed laptop and a killed process leave comparable.

Within one boot the boot clock tells how long something took: it goes on while the machine sleeps and nobody can set it.
Across a reboot there is the wall clock alone, and a wall clock that went backwards counts as no time at all.
"""

import sys
import time
from pathlib import Path

import msgspec
import psutil  # type: ignore[import-untyped]  # it brings no types

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Moment(msgspec.Struct, frozen=True):
    """A point in time, as both clocks told it."""

    wall: float
    """Unix seconds."""
    boot: str
    """Which boot of which machine."""
    ticks: float
    """Seconds of the boot clock."""


def now() -> Moment:
    clock = time.CLOCK_BOOTTIME if sys.platform == "linux" else time.CLOCK_MONOTONIC
    return Moment(time.time(), _boot(), time.clock_gettime(clock))


def seconds(earlier: Moment, later: Moment) -> float:
    """Between the two; never negative.

    >>> seconds(Moment(100.0, "a", 5.0), Moment(50.0, "a", 8.0))
    3.0
    >>> seconds(Moment(100.0, "a", 5.0), Moment(160.0, "b", 1.0))
    60.0
    """
    apart = later.ticks - earlier.ticks if earlier.boot == later.boot else later.wall - earlier.wall
    return max(0.0, apart)


def _boot() -> str:
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return str(int(psutil.boot_time()))
