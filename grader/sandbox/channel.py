"""The judge's end of one worker: requests under a deadline, output captured, and every way it can end told apart."""

import contextlib
import gc
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from grader.sandbox import frames
from grader.sandbox.clock import ProcessClock, own_memory

CLOCK_STEP_SECONDS = 0.05
WALL_FACTOR = 5
MAX_CALLBACKS = 100_000
HEAD_BYTES = TAIL_BYTES = 4_096
RECEIVED_BYTES = 256 * 2**20
HEAD_WEIGHT = 64
"""A byte of a head can become an object of so many."""
KEPT_BYTES = 640 * 2**20
"""Who has sent RECEIVED_BYTES may send more as long as this process needs no more memory than that."""
DRAINED_READS = 64
"""Of 64 KiB each: who prints faster than it is read must not be listened to for ever."""


@dataclass(frozen=True, slots=True)
class Started:
    """A worker process as the judge knows it."""

    socket_fd: int
    output_fd: int
    """What it prints arrives here."""


class Fate(Protocol):
    """How a group of workers ended, and the way to end it."""

    def pid(self, index: int) -> int:
        """Its process, once it is started. Raises HarnessFault."""

    def wait(self, index: int, timeout: float) -> int | None:
        """Its exit code, or minus the signal; None when it has not ended within `timeout` seconds."""

    def kill(self) -> None:
        """End the whole group, within milliseconds. Safe to call twice."""

    def close(self) -> None: ...


class WorkerLost(Exception):
    """The worker is gone, or cannot be used any more."""


class TimedOut(WorkerLost):
    def __init__(self, seconds: float, *, computing: bool) -> None:
        super().__init__(f"{'still computing' if computing else 'no answer'} after {seconds:g} s")


class Crashed(WorkerLost):
    """It ended by a signal or an exit."""

    def __init__(self, code: int | None) -> None:
        self.code = code
        super().__init__(_how_it_ended(code))


class BrokenReply(WorkerLost):
    """It sent what is no reply."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """Seconds of the worker's CPU time for one request; the wall limit, five times that, only ends a sleep."""

    cpu_seconds: float


class Output:
    """What a process printed: the first bytes, the last bytes, and how many there were between."""

    def __init__(self) -> None:
        self.head, self.tail, self.total = bytearray(), bytearray(), 0

    def add(self, data: bytes) -> None:
        self.total += len(data)
        room = HEAD_BYTES - len(self.head)
        self.head += data[:room]
        self.tail = (self.tail + data[room:])[-TAIL_BYTES:] if room < len(data) else self.tail

    def text(self) -> str:
        left_out = self.total - len(self.head) - len(self.tail)
        gap = f"\n… {left_out} bytes left out …\n".encode() if left_out else b""
        return (bytes(self.head) + gap + bytes(self.tail)).decode("utf-8", "replace")


class Channel:
    """One worker. After a `WorkerLost` it is of no more use."""

    def __init__(self, started: Started, fate: Fate, index: int = 0) -> None:
        self.sock, self.pipe = socket.socket(fileno=started.socket_fd), started.output_fd
        self.fate, self.index = fate, index
        self.output = Output()
        self.cpu_seconds = 0.0
        self.received = 0
        self.receive = frames.Receiver(self._some)
        self.watch: _Watch | None = None
        """Of the request that is on its way."""
        self.lost: WorkerLost | None = None
        self.sock.setblocking(False)
        os.set_blocking(self.pipe, False)
        self.pipe_open = True

    def request(
        self,
        pieces: list[frames.Buffer],
        deadline: Deadline,
        answer_callback: Callable[[bytearray, list[bytearray]], list[frames.Buffer] | None],
    ) -> tuple[bytearray, list[bytearray]]:
        """Send a request and return the reply's frame.

        Frames for which `answer_callback` returns pieces are callbacks: they are answered, and the reply waited for.
        Raises TimedOut, Crashed or BrokenReply.
        """
        if self.lost is not None:
            raise self.lost
        self.watch = watch = _Watch(self.pid, deadline)
        try:
            for _ in range(MAX_CALLBACKS):
                watch.check()
                self._send(pieces)
                head, buffers = frames.read(self.receive)
                self._weigh(head, buffers)
                answer = answer_callback(head, buffers)
                if answer is None:
                    return head, buffers
                pieces = answer
            raise BrokenReply(f"more than {MAX_CALLBACKS} calls back in one call")
        except frames.FrameError as error:
            raise self.lose(BrokenReply(f"too much came back: {error}")) from error
        except EOFError:
            raise self.lose(self._crash()) from None
        except WorkerLost as error:
            raise self.lose(error) from None
        finally:
            self.cpu_seconds += watch.spent()
            self.drain()

    @property
    def pid(self) -> int:
        return self.fate.pid(self.index)

    def post(self, pieces: list[frames.Buffer]) -> None:
        """Send a small request now; `request([], …)` waits for its reply later."""
        with contextlib.suppress(OSError):
            self.sock.send(b"".join(pieces))

    def close(self) -> None:
        self.fate.kill()
        self.drain()
        self.sock.close()
        os.close(self.pipe)
        self.fate.close()

    def drain(self) -> None:
        """Take what it has printed so far."""
        for _ in range(DRAINED_READS if self.pipe_open else 0):
            try:
                data = os.read(self.pipe, 65_536)
            except BlockingIOError:
                return
            if not data:
                self.pipe_open = False
                return
            self.output.add(data)

    def lose(self, error: WorkerLost) -> WorkerLost:
        """End the worker, which is of no more use for that reason. Safe to call twice."""
        if self.lost is None:
            self.lost = error
            self.fate.kill()
            self.fate.wait(self.index, timeout=2)
        return error

    def _weigh(self, head: bytearray, buffers: list[bytearray]) -> None:
        """A check may keep all that comes, and who sends without end must not fill the memory of the judge."""
        self.received += HEAD_WEIGHT * len(head) + sum(map(len, buffers))
        if self.received > RECEIVED_BYTES and own_memory() > KEPT_BYTES:
            gc.collect()  # what is left of an earlier check is not this one's
            if own_memory() > KEPT_BYTES:
                raise BrokenReply(f"too much came back: over {KEPT_BYTES >> 20} MiB are held in this check")

    def _crash(self) -> WorkerLost:
        return Crashed(self.fate.wait(self.index, timeout=2))

    def _send(self, pieces: list[frames.Buffer]) -> None:
        for piece in frames.joined(pieces):
            view = memoryview(piece)
            while len(view):
                try:
                    view = view[self.sock.send(view) :]
                except BlockingIOError:
                    self._wait(select.POLLOUT)
                except OSError:
                    raise EOFError from None

    def _some(self, view: memoryview) -> int:
        """As many bytes as have come, once there are any; 0 when it has gone."""
        while True:
            try:
                return self.sock.recv_into(view)
            except BlockingIOError:
                self._wait(select.POLLIN)
            except OSError:
                return 0

    def _wait(self, event: int) -> None:
        assert self.watch is not None
        poll = select.poll()
        poll.register(self.sock, event)
        while True:
            # Before each wait: who sends a byte now and then would never be waited for in vain.
            self.watch.check()
            if self.pipe_open:
                poll.register(self.pipe, select.POLLIN)
            ready = {fd for fd, _ in poll.poll(CLOCK_STEP_SECONDS * 1000)}
            if self.pipe in ready:
                self.drain()
                if not self.pipe_open:
                    poll.unregister(self.pipe)
            if self.sock.fileno() in ready:
                return


class _Watch:
    """One request's deadline: the process's CPU clock, and the wall."""

    def __init__(self, pid: int, deadline: Deadline) -> None:
        self.clock, self.limit = ProcessClock(pid), deadline.cpu_seconds
        self.start_cpu, self.start_wall = self.clock.read(), time.monotonic()

    def spent(self) -> float:
        return self.clock.read() - self.start_cpu

    def check(self) -> None:
        if self.spent() > self.limit:
            raise TimedOut(self.limit, computing=True)
        if time.monotonic() - self.start_wall > WALL_FACTOR * self.limit:
            raise TimedOut(WALL_FACTOR * self.limit, computing=False)


def _how_it_ended(code: int | None) -> str:
    if code is None:
        return "the process stopped answering"
    if code >= 0:
        return f"the process ended itself with exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    hint = {
        "SIGKILL": " (often: out of memory)",
        "SIGSEGV": " (a segmentation fault)",
        "SIGXFSZ": " (a file grew past its limit)",
    }
    return f"the process was ended by {name}{hint.get(name, '')}"
