"""The grader's processes, seen from outside: which there are, what they hold in memory, and how large they grew.

launched ─ forkserver ─┬─ template judge ── judge of one attempt
                       └─ workers
"""

import contextlib
import mmap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil

from grader.grading import Grader

PAGE = mmap.PAGESIZE
CHUNK = 2**24
OVERLAP = 256


def launched(grader: Grader) -> list[psutil.Process]:
    return [psutil.Process(server.process.pid) for server in grader.servers.values()]


def forkservers(grader: Grader) -> list[psutil.Process]:
    return [child for process in launched(grader) for child in children(process)]


def templates(grader: Grader) -> list[psutil.Process]:
    """Those of the forkservers' children that are no workers: they share the forkserver's PID namespace."""
    return [child for server in forkservers(grader) for child in children(server) if _pids(child) == _pids(server)]


def workers(grader: Grader) -> list[psutil.Process]:
    return [child for server in forkservers(grader) for child in children(server) if _pids(child) > _pids(server)]


def judges(grader: Grader) -> list[psutil.Process]:
    return [judge for template in templates(grader) for judge in children(template)]


def left_over(grader: Grader, patience: float = 2.0) -> list[psutil.Process]:
    """Processes that are neither forkservers nor templates, once those that are ending have had time to."""
    deadline = time.monotonic() + patience
    while True:
        kept = {process.pid for process in (*forkservers(grader), *templates(grader))}
        found = [p for server in forkservers(grader) for p in children(server, recursive=True) if p.pid not in kept]
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.02)


def children(process: psutil.Process, *, recursive: bool = False) -> list[psutil.Process]:
    """None of a process that has ended since it was seen: one that starts forks a child which lives for a moment."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.children(recursive=recursive)
    return []


def memory(pid: int) -> Iterator[bytes]:
    """All that a process has in memory but what libraries brought, in pieces that overlap. For root."""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as file:
        for start, end in _touched(pid):
            for place in range(start, end, CHUNK):
                file.seek(place)
                yield file.read(min(CHUNK + OVERLAP, end - place))


def found_in(pid: int, texts: dict[str, str]) -> set[str]:
    """The names of those texts that are somewhere in the memory of that process."""
    beginnings = {text.encode()[:6] for text in texts.values()}
    found: set[str] = set()
    for piece in memory(pid):
        if any(beginning in piece for beginning in beginnings):
            found |= {name for name, text in texts.items() if text.encode() in piece}
    return found


@contextlib.contextmanager
def peak_memory(grader: Grader) -> Iterator[dict[int, int]]:
    """While it is open: bytes that each judge needed at its highest, by process."""
    peaks: dict[int, int] = {}
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.005):
            for pid in (judge.pid for judge in judges(grader)):
                peaks[pid] = max(peaks.get(pid, 0), _high_water(pid))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield peaks
    finally:
        done.set()
        thread.join()


def _touched(pid: int) -> Iterator[tuple[int, int]]:
    """Addresses of its own pages that are in memory, from and to."""
    lines = [line.split() for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
    own = [line[0] for line in lines if "r" in line[1] and ("w" in line[1] or len(line) < 6)]
    with Path(f"/proc/{pid}/pagemap").open("rb", buffering=0) as file:
        for start, end in ([int(text, 16) for text in place.split("-")] for place in own):
            file.seek(start // PAGE * 8)
            present = np.frombuffer(file.read((end - start) // PAGE * 8), np.uint64) >> 62 != 0
            edges = np.flatnonzero(np.diff(np.concatenate(([False], present, [False])).astype(np.int8)))
            yield from ((start + int(a) * PAGE, start + int(b) * PAGE) for a, b in edges.reshape(-1, 2))


def _pids(process: psutil.Process) -> int:
    """In how many PID namespaces the process has a number."""
    return len(_status(process.pid, "NSpid").split())


def _high_water(pid: int) -> int:
    return int((_status(pid, "VmHWM") or "0").split()[0]) * 1024


def _status(pid: int, name: str) -> str:
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in text.splitlines() if line.startswith(name + ":")), "")
