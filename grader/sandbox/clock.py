"""The CPU time of another process, read from outside it: it can neither stop nor forge this clock. Our own memory."""

import contextlib
import sys
import time

import psutil  # type: ignore[import-untyped]  # it ships no types


class ProcessClock:
    """CPU seconds of one process, all its threads together. After its end, what it had used when last read."""

    def __init__(self, pid: int) -> None:
        self.pid, self.last = pid, 0.0

    def read(self) -> float:
        with contextlib.suppress(OSError, psutil.Error):
            self.last = _linux(self.pid) if sys.platform == "linux" else _elsewhere(self.pid)
        return self.last


def _linux(pid: int) -> float:
    # The id of its clock, as clock_getcpuclockid(3) makes it (CPUCLOCK_SCHED): ns steps, 1 µs a read.
    return time.clock_gettime((~pid << 3) | 2)


def _elsewhere(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def own_memory() -> int:
    """Bytes that this process has in memory now."""
    return int(psutil.Process().memory_info().rss)
