"""Sets workers up for one kata: confined, seeded, the program loaded."""

import contextlib
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

from grader.bank import Kata
from grader.errors import HarnessFault
from grader.judge.sources import Source
from grader.sandbox import frames, wire
from grader.sandbox.channel import BrokenReply, Channel, Crashed, Deadline, WorkerLost
from grader.sandbox.forkserver import Grounds
from grader.sandbox.program import Program
from grader.sandbox.proxy import AnswerCallback, Conversation, Host, Module, RankFailed, Ranks
from grader.sandbox.scratch import Scratch
from grader.sandbox.servant import Report
from grader.sandbox.transcript import Frame
from grader.sandbox.worker import Setup

SETUP = Deadline(10.0)
CPU_BACKSTOP_SECONDS = 900
FILE_BYTES = 256 * 2**20
OPEN_FILES = 256
MIB = 2**20
MAX_RANKS = 8
CUDA_DEVICES = tuple(f"/dev/nvidia{name}" for name in ("ctl", "-uvm", "-uvm-tools", *map(str, range(8))))


class LoadFailed(Exception):
    """The program could not be loaded; `report` says why."""

    def __init__(self, report: Report) -> None:
        super().__init__(f"{report.type_name}: {report.message}")
        self.report = report


class Workshop:
    """Makes ready workers for one kata."""

    def __init__(
        self,
        kata: Kata,
        grounds: Grounds,
        source: Source,
        *,
        device: str = "cpu",
        cpu_seconds: float | None = None,
        threads: int = 1,
    ) -> None:
        self.kata, self.grounds, self.source, self.device, self.threads = kata, grounds, source, device, threads
        self.waiting: tuple[Scratch, list[Channel]] | None = None
        self.empty: list[Scratch] = []
        self.deadline = Deadline(cpu_seconds or kata.limits.cpu_seconds)
        self.missing: tuple[str, ...] = grounds.missing
        if any(kata.bank.is_relative_to(path) for path in grounds.readable if not path.endswith("/")):
            # A bank inside a readable tree: a path rule cannot take a part of it away.
            self.missing += ("hidden bank",)
        absent = {item.name for item in kata.forbidden if "." not in item.name}
        self.readable = "\0".join(path for path in grounds.readable if Path(path).name.partition("-")[0] not in absent)
        source.renew()  # no worker outlives the attempt that it served, however the last run ended

    def take(self, count: int, scratch: Scratch, *, apart: bool = False) -> list[Channel]:
        """Workers that are being confined; `apart`, in processes of their own at any level. Raises HarnessFault."""
        loopback = count > 1 or self.kata.limits.network == "loopback"
        channels = self.source.take(count, loopback=loopback, apart=apart)
        for channel in channels:
            channel.post(wire.encode(("setup", self._setup(scratch, loopback)), _nothing_foreign))
        return channels

    def load(self, channels: list[Channel], program: Program, seed: int) -> None:
        """Load the program, once they are confined.

        Raises LoadFailed or WorkerLost for what the program does, HarnessFault for a fault of ours.
        """
        for channel in channels:
            self._confined(channel)
        data = (seed, msgspec.to_builtins(program, builtin_types=(bytes,)))
        for channel in channels:
            report = _what_loading_raised(channel, wire.encode(("load", data), _nothing_foreign), self.deadline)
            if report is not None:
                raise LoadFailed(report)

    def expect(self) -> None:
        """Make ready, while a check runs, what the next one will begin with."""
        if self.source.ahead and self.waiting is None:
            scratch = self.scratch()
            self.waiting = (scratch, self.take(1, scratch))

    def begin(self) -> tuple[Scratch, list[Channel]]:
        """A scratch folder and, where one was made ready, the worker that it is for."""
        ready, self.waiting = self.waiting, None
        return ready or (self.scratch(), [])

    def scratch(self) -> Scratch:
        return Scratch(self.grounds.scratch, "scratch size" not in self.grounds.missing)

    def discard(self, scratch: Scratch) -> None:
        """Unmounting takes over a millisecond: an empty folder waits for the end."""
        if scratch.empty:
            self.empty.append(scratch)
        else:
            scratch.remove()

    def close(self) -> None:
        if self.waiting is not None:
            scratch, channels = self.waiting
            self.source.give_back(channels, apart=False)
            self.empty.append(scratch)
        for scratch in self.empty:
            scratch.remove()
        self.source.renew()

    def _setup(self, scratch: Scratch, loopback: bool) -> Any:
        policy = {
            "scratch": scratch.path,
            "cpu_seconds": CPU_BACKSTOP_SECONDS,
            "memory_bytes": None if self.device.startswith("cuda") else self.kata.limits.memory_mb * MIB,
            "file_bytes": FILE_BYTES,
            "open_files": OPEN_FILES,
            "processes": self.kata.limits.processes,
            "network": "loopback" if loopback else "none",
            "devices": CUDA_DEVICES if self.device.startswith("cuda") else (),
        }
        environment = {"HOME": scratch.path, "TMPDIR": scratch.path, "USER": "learner", "GLOO_SOCKET_IFNAME": "lo"}
        return msgspec.to_builtins(
            Setup(policy, self.readable, "" if self.device == "cpu" else self.device, environment, self.threads)
        )

    def _confined(self, channel: Channel) -> None:
        try:
            _, missing = _reply(channel, [], SETUP)
        except WorkerLost as error:
            raise HarnessFault(
                f"a worker could not be confined: {error}{_printed(channel)}; `kata doctor` tells what works here"
            ) from error
        self.missing = tuple(dict.fromkeys((*self.missing, *missing)))
        channel.cpu_seconds = 0.0


class WorkerCarrier:
    """Takes requests to a confined worker, under the kata's deadline."""

    def __init__(self, channel: Channel, deadline: Deadline) -> None:
        self.channel, self.deadline = channel, deadline

    def request(self, pieces: list[frames.Buffer], answer_callback: AnswerCallback) -> Frame:
        return self.channel.request(pieces, self.deadline, answer_callback)

    def lose(self, error: WorkerLost) -> None:
        self.channel.lose(error)


class Bench(Host):
    """The confined processes of one program in one check; they share a scratch folder.

    `apart`, for a program of ours, they are never those that an attempt is in, was in, or will be in.
    """

    def __init__(self, workshop: Workshop, program: Program, seed: int, *, apart: bool = False) -> None:
        self.workshop, self.program, self.seed, self.apart = workshop, program, seed, apart
        self.scratch, self.channels = workshop.begin()
        self.fresh = list(self.channels)
        self.latest: Module | None = None
        """The one that is in no group of ranks."""
        self.groups = 0

    def module(self) -> Module:
        """The program in a worker of its own, started now. Raises LoadFailed, WorkerLost, HarnessFault."""
        (channel,) = self._open(1)
        self.latest = Module(Conversation(WorkerCarrier(channel, self.workshop.deadline), self))
        return self.latest

    def restart(self) -> Module:
        self._give_back()
        self.workshop.source.renew()
        return self.module()

    def confined(self) -> Module:
        return self.latest or self.module()

    def path(self, name: str) -> str:
        return self.scratch.file(name)

    def read_bytes(self, name: str) -> bytes:
        return self.scratch.read(name)

    def ranks(self, count: int) -> Ranks:
        if not 2 <= count <= MAX_RANKS:
            raise ValueError(f"{count} ranks: 2 to {MAX_RANKS} are possible")
        channels = self._open(count)
        conversations = [Conversation(WorkerCarrier(channel, self.workshop.deadline), self) for channel in channels]
        self.groups += 1
        ask_all = all_at_once(conversations, channels[0].fate.kill)
        meeting_place = self.scratch.file(f"rendezvous-{self.groups}")
        ask_all([("join", rank, count, meeting_place) for rank in range(count)])
        return Ranks(conversations, ask_all)

    @property
    def lost(self) -> WorkerLost | None:
        """Why a worker of this check cannot be used any more, if one cannot."""
        return next((channel.lost for channel in self.channels if channel.lost), None)

    @property
    def cpu_seconds(self) -> float:
        return sum(channel.cpu_seconds for channel in self.channels)

    def printed(self) -> str:
        for channel in self.channels:
            if channel.sock.fileno() >= 0:
                channel.drain()
        texts = [(rank, channel.output.text()) for rank, channel in enumerate(self.channels)]
        return "".join(text if len(texts) == 1 else f"[process {rank}] {text}" for rank, text in texts if text)

    def close(self) -> None:
        self._give_back()
        self.workshop.discard(self.scratch)

    def _open(self, count: int) -> list[Channel]:
        channels, self.fresh = (self.fresh, []) if len(self.fresh) == count else ([], self.fresh)
        if not channels:
            channels = self.workshop.take(count, self.scratch, apart=self.apart)
            self.channels += channels
        self.workshop.load(channels, self.program, self.seed)
        return channels

    def _give_back(self) -> None:
        open_ones = [channel for channel in self.channels if channel.sock.fileno() >= 0]
        self.workshop.source.give_back(open_ones, apart=self.apart)


def all_at_once(
    conversations: list[Conversation], end_all: Callable[[], None]
) -> Callable[[list[tuple[Any, ...]]], list[Any]]:
    """Asks every rank its own request at the same time. The first that fails ends the others and is the one named."""

    def ask_all(requests: list[tuple[Any, ...]]) -> list[Any]:
        failures: list[tuple[float, int, Exception]] = []

        def ask(rank: int) -> Any:
            try:
                return conversations[rank].ask(*requests[rank])[0]
            except Exception as error:
                failures.append((time.monotonic(), rank, error))
                end_all()
                raise

        with ThreadPoolExecutor(len(requests)) as pool:
            futures = [pool.submit(ask, rank) for rank in range(len(requests))]
            results = []
            for future in futures:
                with contextlib.suppress(Exception):
                    results.append(future.result())
        if failures:
            _, rank, cause = min(failures, key=_blame)
            raise RankFailed(rank, cause) from cause
        return results

    return ask_all


def _blame(failure: tuple[float, int, Exception]) -> tuple[int, float]:
    """The one to be named sorts first: a rank that ended by itself, even if that is seen after the others' cries.

    Last is one that is gone without a code: it went with its group, which another's failure has ended.
    """
    when, _, error = failure
    if not isinstance(error, Crashed):
        return 1, when
    return {None: 2, -signal.SIGKILL: 1}.get(error.code, 0), when


def _reply(channel: Channel, pieces: list[frames.Buffer], deadline: Deadline) -> Any:
    """The reply to one request without handles or callbacks."""
    return wire.decode(*channel.request(pieces, deadline, lambda _head, _buffers: None), _nothing_to_resolve)


def _what_loading_raised(channel: Channel, pieces: list[frames.Buffer], deadline: Deadline) -> Report | None:
    try:
        match _reply(channel, pieces, deadline):
            case ("ok",):
                return None
            case ("raise", dict() as report):
                return msgspec.convert(report, Report)
    except ValueError as error:
        raise channel.lose(BrokenReply(str(error))) from error
    raise channel.lose(BrokenReply("what arrived is not a reply"))


def _printed(channel: Channel) -> str:
    channel.drain()
    text = channel.output.text().strip()
    return f" ({text.splitlines()[-1][:200]})" if text else ""


def _nothing_foreign(value: Any) -> list[Any]:
    raise wire.WireError(f"a {type(value).__name__} is no plain value")


def _nothing_to_resolve(_tag: str, _number: int, _name: str) -> Any:
    raise wire.WireError("a handle where none can be")
