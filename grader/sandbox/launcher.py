"""Starting a forkserver and asking it for processes: the other end of `grader.sandbox.forkserver`."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from typing import IO, Any

from grader.errors import HarnessFault
from grader.sandbox.channel import Started
from grader.sandbox.forkserver import ENDED, LOOPBACK, OP_JUDGE, OP_WORKERS, REFUSED, REQUEST, STARTED, STATUS

KEPT_VARIABLES = (
    "PATH",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "SSL_CERT_FILE",
)
ONE_THREAD = {
    name: "1"
    for name in (
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
        "NUMEXPR_NUM_THREADS",
    )
}
# Where several threads are asked for, those that wait would spin on the cores that other workers need.
WAITING = {"OMP_WAIT_POLICY": "passive"}
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}


class GroupFate:
    """What the forkserver tells of a group of workers, and the way to end them."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.started: dict[int, int] = {}
        self.ended: dict[int, int] = {}

    def pid(self, index: int) -> int:
        while index not in self.started:
            kind, _, value = self._next(timeout=30)
            if kind == REFUSED:
                raise HarnessFault(
                    f"a worker could not be forked: {os.strerror(value)}; free some memory or processes and check again"
                )
        return self.started[index]

    def wait(self, index: int, timeout: float) -> int | None:
        with contextlib.suppress(TimeoutError, HarnessFault):
            while index not in self.ended:
                self._next(timeout)
        return self.ended.get(index)

    def kill(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.kill()
        self.sock.close()

    def _next(self, timeout: float) -> tuple[bytes, int, int]:
        self.sock.settimeout(timeout)
        data = self.sock.recv(STATUS.size)
        if not data:
            raise HarnessFault("the forkserver has gone; check again")
        kind, index, value = STATUS.unpack(data)
        if kind == STARTED:
            self.started[index] = value
        elif kind == ENDED:
            self.ended[index] = value
        return kind, index, value


class ProcessFate:
    """The same for one process that we launched ourselves."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.process = process

    def pid(self, _index: int) -> int:
        return self.process.pid

    def wait(self, _index: int, timeout: float) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(timeout)
        return None

    def kill(self) -> None:
        self.process.kill()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


class Client:
    """Asks a forkserver for processes over a control socket."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control

    def judge(self) -> socket.socket:
        """Fork a judge; returns the link to it."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._send(OP_JUDGE, 0, 0, [theirs.fileno()])
        return ours

    def workers(self, count: int, *, loopback: bool) -> tuple[list[Started], GroupFate]:
        """Have workers forked that share namespaces with each other and with nobody else, without waiting for it.

        Raises HarnessFault.
        """
        pairs = [socket.socketpair() for _ in range(count)]
        pipes = [os.pipe() for _ in range(count)]
        ours, status = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        descriptors = [fd for pair, pipe in zip(pairs, pipes, strict=True) for fd in (pair[1].fileno(), pipe[1])]
        self._send(OP_WORKERS, LOOPBACK if loopback else 0, count, [*descriptors, status.fileno()])
        status.close()
        for pair, pipe in zip(pairs, pipes, strict=True):
            pair[1].close()
            os.close(pipe[1])
        return [Started(pair[0].detach(), pipe[0]) for pair, pipe in zip(pairs, pipes, strict=True)], GroupFate(ours)

    def _send(self, op: int, flags: int, count: int, descriptors: list[int]) -> None:
        try:
            socket.send_fds(self.control, [REQUEST.pack(op, flags, count)], descriptors)
        except OSError as error:
            raise HarnessFault(f"the forkserver has gone: {error.strerror}; check again") from error


class Forkserver(Client):
    """A forkserver process of our own, started now and warm when its imports are done; requests wait until then."""

    def __init__(self, preload: str, judge: str) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        super().__init__(ours)
        self.errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 — closed by close()
        with theirs:
            self.process = launch(
                ["grader.sandbox.forkserver", str(theirs.fileno()), preload, judge], [theirs.fileno()], self.errors
            )

    def last_words(self) -> str:
        return last_words(self.errors)

    def close(self) -> None:
        """End it and all it forked, whatever they are at: each dies with its parent."""
        self.control.close()
        self.process.kill()
        self.process.wait()
        self.errors.close()


class Alone:
    """A judge in an interpreter of its own, where forking is not safe."""

    def __init__(self, module: str, preload: str) -> None:
        self.link, theirs = socket.socketpair()
        self.errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 — closed by close()
        with theirs:
            self.process = launch([module, str(theirs.fileno()), preload], [theirs.fileno()], self.errors)

    def last_words(self) -> str:
        return last_words(self.errors)

    def close(self) -> None:
        self.link.close()
        try:
            self.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.errors.close()


def last_words(errors: IO[bytes]) -> str:
    """The end of what a process wrote to its standard error."""
    errors.seek(0)
    return errors.read().decode("utf-8", "replace")[-2000:].strip()


def launch(arguments: list[str], descriptors: list[int], errors: IO[bytes] | int) -> "subprocess.Popen[bytes]":
    """A fresh interpreter of ours with an environment made from a list, running a module."""
    return subprocess.Popen(
        [sys.executable, "-I", "-B", "-m", *arguments],
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=errors,
        stderr=errors,
        pass_fds=descriptors,
        start_new_session=True,
    )


def clean_environment() -> dict[str, str]:
    kept: dict[str, Any] = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    return {**kept, **ONE_THREAD, **WAITING, **OFFLINE}
