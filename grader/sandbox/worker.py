"""The process that holds an attempt: confine, load, answer. Forked from a forkserver, or an interpreter of its own."""

import functools
import os
import random
import socket
import sys
import tempfile
from types import ModuleType
from typing import Any

import msgspec
import numpy as np

from grader.sandbox import frames, program, wire
from grader.sandbox.confine import Policy, confine
from grader.sandbox.servant import Servant, _nothing_foreign, report


class Setup(msgspec.Struct, frozen=True):
    """All that a worker is told before it sees a program."""

    policy: dict[str, Any]
    """All of it but `readable`."""
    readable: str
    """Paths between NULs: as a hundred strings they would take longer than confining does."""
    device: str = ""
    environment: dict[str, str] = {}
    threads: int = 1


class Worker:
    """Answers one judge over one socket until it hangs up."""

    def __init__(self, sock: socket.socket, missing: tuple[str, ...]) -> None:
        self.sock, self.receive, self.missing = sock, frames.Receiver(sock.recv_into), missing
        self.setup: Setup | None = None
        self.servant: Servant | None = None

    def run(self) -> None:
        while True:
            try:
                head, buffers = frames.read(self.receive)
            except EOFError:
                return
            frames.send(self.sock, self.answer(head, buffers))
            sys.stdout.flush()
            sys.stderr.flush()

    def answer(self, head: bytearray, buffers: list[bytearray]) -> list[frames.Buffer]:
        if self.servant is not None and not head.startswith(_OWN_OPS):
            return self.servant.answer(head, buffers)
        op, data = wire.decode(head, buffers, _nothing_to_resolve)
        if op == "setup":
            return wire.encode(("ok", self.prepare(msgspec.convert(data, Setup))), _nothing_foreign)
        seed, source = data
        seed_everything(seed)
        return self.load(msgspec.convert(source, program.Program))

    def prepare(self, setup: Setup) -> tuple[str, ...]:
        """Confine this process, once; a later setup finds it done."""
        if self.setup is None:
            os.environ.update(setup.environment)
            readable = tuple(setup.readable.split("\0"))
            self.missing += confine(Policy(readable=readable, **setup.policy))
            os.chdir(setup.policy["scratch"])
            tempfile.tempdir = None  # where temporary files go may have been looked up before the fork
            _hide_harness(readable)
        self.setup = setup
        torch = wire.torch_module()
        if torch is not None and setup.threads != torch.get_num_threads():
            torch.set_num_threads(setup.threads)
        return self.missing

    def load(self, source: program.Program) -> list[frames.Buffer]:
        assert self.setup is not None
        if self.servant is None:
            program.offer(source.given, source.forbidden)
        self.servant = None
        try:
            module = program.load(source)
        except BaseException as error:
            return wire.encode(("raise", msgspec.to_builtins(report(error, source.filename))), _nothing_foreign)
        self.servant = Servant(source, module, self.ask, device=self.setup.device)
        return wire.encode(("ok",), _nothing_foreign)

    def ask(self, number: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Send a callback to the judge and wait for what it says."""
        assert self.servant is not None
        frames.send(self.sock, wire.encode(("callback", number, list(args), kwargs), self.servant.foreign))
        verdict, *rest = wire.decode(*frames.read(self.receive), self.servant.resolve, device=self.servant.device)
        if verdict == "value":
            return rest[0]
        raise wire.builtin_error(rest[0])(rest[1])


# A request is `("op", …)`, encoded as a list with the tag "t": the operation follows at a fixed place.
_OWN_OPS = tuple(msgspec.msgpack.encode(["t", [op, None]])[:-1] for op in ("setup", "load"))


def seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch = wire.torch_module()
    if torch is not None:
        torch.default_generator.manual_seed(seed)  # `torch.manual_seed` looks for every accelerator first: 2 ms


def serve(fd: int, missing: tuple[str, ...] = ()) -> None:
    """Be a worker on that socket; returns when the judge hangs up."""
    # What was printed last before a hang or a crash is what the learner needs most.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a text file: nothing else was put there
    with socket.socket(fileno=fd) as sock:
        Worker(sock, missing).run()


@functools.cache
def harness() -> dict[str, ModuleType]:
    """Modules of the test runner: the judge needed them, they are not for the attempt.

    Called before forking, it spares each worker the look at thousands of names, and taking the modules apart: 3 ms.
    """
    return {
        name: module
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] in ("pytest", "_pytest", "pluggy")
    }


def _hide_harness(readable: tuple[str, ...]) -> None:
    """Only what may be read stays importable."""
    for name in harness():
        sys.modules.pop(name, None)
    sys.path[:] = [
        path for path in sys.path if any(entry == path or entry.startswith(path + os.sep) for entry in readable)
    ]


def _nothing_to_resolve(_tag: str, _number: int, _name: str) -> Any:
    raise wire.WireError("a handle before the program is loaded")
