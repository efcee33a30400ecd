"""Grading an attempt: the command line's end of a judge. Starts processes, never imports torch or the checks."""

import contextlib
import os
import selectors
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from grader.bank import Kata
from grader.errors import HarnessFault, Unavailable
from grader.judge.protocol import (
    Begun,
    Brief,
    Checked,
    End,
    Event,
    Fault,
    Job,
    LooseComparison,
    Plan,
    Refused,
    Replay,
    Timed,
    line,
)
from grader.judge.seeds import fresh_seed
from grader.judge.turns import queue_of_turns
from grader.panel import Panel
from grader.sandbox.launcher import Alone, Forkserver
from grader.sandbox.program import Patch
from grader.timing import Timing
from grader.verdict import AttemptRef, State, Verdict, part_scores
from grader.workspace import Attempt

JUDGE = "grader.judge.template:main"
ALONE = "grader.judge.alone"
Watcher = Callable[[Event], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to grade."""

    seed: str | None = None
    """16 hexadecimal digits; None draws a fresh one."""
    only: str | None = None
    """Only the checks whose name, sentence or part holds this text."""
    device: str = "cpu"
    require_full: bool = False
    find_mistakes: bool = True
    write_replay: bool = False
    exactly: tuple[str, ...] | None = None
    ignore_needs: bool = False
    cpu_seconds: float | None = None
    threads: int = 1
    patches: tuple[Patch, ...] = ()
    probe_rounding: bool = False
    judges: int = 1
    """How many share the checks; more than one for somebody who waits for the verdict."""


@dataclass(slots=True)
class Graded:
    """A verdict and what came with it."""

    verdict: Verdict
    plan: Plan | None = None
    replay: Replay | None = None
    loose: list[LooseComparison] = field(default_factory=list)


class Template:
    """A judge of one kata that is ready to be forked."""

    def __init__(self, link: socket.socket, kata: Kata, last_words: Callable[[], str], *, forks: bool) -> None:
        """`forks` says whether it can be several judges at once."""
        self.link, self.kata, self.last_words, self.forks = link, kata, last_words, forks
        link.sendall(line(Brief(str(kata.folder))))

    def grade(self, attempt: Attempt, options: Options, watch: Watcher | None = None) -> Graded:
        """The verdict on one attempt; `watch` sees every event as it comes. Raises HarnessFault or Unavailable."""
        job, judges = make_job(attempt, options), options.judges if self.forks else 1
        panel = Panel(judges, ignore_needs=options.ignore_needs)
        plan, replay, loose = None, None, []
        for event in self._events(job, judges, panel.hear, watch):
            if isinstance(event, Plan):
                plan = event
            elif isinstance(event, Replay):
                replay = event
            elif isinstance(event, LooseComparison):
                loose.append(event)
            elif isinstance(event, End):
                return Graded(_verdict(self.kata, job, event), plan, replay, loose)
        raise self._gone()

    def bench(
        self, attempt: Attempt, options: Options, seconds: float, watch: Watcher | None = None
    ) -> tuple[Timing, ...]:
        """Every workload timed against the reference, each for `seconds` at most; nothing is graded.

        Raises HarnessFault, or Unavailable where there is nothing to time or nothing to time it on.
        """
        found: list[Timing] = []
        count = None
        for event in self._events(make_job(attempt, options, bench_seconds=seconds), 1, lambda event: [event], watch):
            if isinstance(event, Begun):
                count = event.count
            elif isinstance(event, Timed):
                found.append(event.timing)
            if len(found) == count:
                return tuple(found)
        raise self._gone()

    def _events(
        self, job: Job, judges: int, hear: Callable[[Event], Iterable[Event]], watch: Watcher | None
    ) -> Iterator[Event]:
        """What is heard of what the judges of a job say, as it comes, until they have gone."""
        with contextlib.ExitStack() as opened:
            for text in _lines(self._begin(job, judges, opened)):
                for event in hear(msgspec.json.decode(text, type=Event)):
                    if watch is not None:
                        watch(event)
                    if isinstance(event, Fault):
                        raise HarnessFault(event.message)
                    if isinstance(event, Refused):
                        raise Unavailable(event.message)
                    yield event

    def _begin(self, job: Job, judges: int, opened: contextlib.ExitStack) -> list[socket.socket]:
        """A link to each of so many judges, who have been told the job."""
        queue = [queue_of_turns()] if judges > 1 else []
        for descriptor in queue:
            opened.callback(os.close, descriptor)
        return [opened.enter_context(self._ask(job, queue)) for _ in range(judges)]

    def _ask(self, job: Job, queue: list[int]) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                socket.send_fds(self.link, [b"J"], [theirs.fileno(), *queue])
            except OSError as error:
                ours.close()
                raise self._gone() from error
        with contextlib.suppress(BrokenPipeError):  # it refused before it was asked: what it said is read later
            ours.sendall(line(job))
        return ours

    def _gone(self) -> HarnessFault:
        words = self.last_words()
        return HarnessFault(f"the judge has gone{': ' + words if words else ''}; check again, and see `kata doctor`")


class Grader:
    """Grades attempts at any kata, and keeps what it started warm. Use it as a context manager."""

    def __init__(self, *, fork: bool = True) -> None:
        self.fork = fork
        self.servers: dict[str, Forkserver] = {}
        self.templates: dict[str, Template] = {}
        self.alone: list[Alone] = []
        self.starting = threading.Lock()

    def __enter__(self) -> "Grader":
        return self

    def __exit__(self, *_error: Any) -> None:
        self.close()

    def warm(self, preload: str) -> None:
        """Start importing what katas of that kind need, without waiting for it."""
        if self.fork and preload not in self.servers:
            self.servers[preload] = Forkserver(preload, JUDGE)

    def template(self, kata: Kata) -> Template:
        """The judge of that kata, started where it is not there yet. Threads may ask at once."""
        key = str(kata.folder)
        with self.starting:
            if key not in self.templates:
                self.templates[key] = self._forked(kata) if self.fork else self._alone(kata)
            return self.templates[key]

    def grade(
        self, kata: Kata, attempt: Attempt, options: Options | None = None, watch: Watcher | None = None
    ) -> Graded:
        return self.template(kata).grade(attempt, options or Options(), watch)

    def bench(
        self, kata: Kata, attempt: Attempt, options: Options, seconds: float, watch: Watcher | None = None
    ) -> tuple[Timing, ...]:
        return self.template(kata).bench(attempt, options, seconds, watch)

    def close(self) -> None:
        for template in self.templates.values():
            template.link.close()
        for server in self.servers.values():
            server.close()
        for judge in self.alone:
            judge.close()

    def _forked(self, kata: Kata) -> Template:
        self.warm(kata.preload)
        server = self.servers[kata.preload]
        return Template(server.judge(), kata, server.last_words, forks=True)

    def _alone(self, kata: Kata) -> Template:
        judge = Alone(ALONE, kata.preload)
        self.alone.append(judge)
        return Template(judge.link, kata, judge.last_words, forks=False)


def make_job(attempt: Attempt, options: Options, *, bench_seconds: float | None = None) -> Job:
    return Job(
        path=str(attempt.path).encode("utf-8", "replace").decode(),
        source=attempt.data,
        sha256=attempt.sha256,
        seed=options.seed or fresh_seed(),
        patches=options.patches,
        only=options.only,
        exactly=options.exactly,
        ignore_needs=options.ignore_needs,
        device=options.device,
        require_full=options.require_full,
        find_mistakes=options.find_mistakes,
        write_replay=options.write_replay,
        cpu_seconds=options.cpu_seconds,
        threads=options.threads,
        probe_rounding=options.probe_rounding,
        bench_seconds=bench_seconds,
    )


def _lines(links: Iterable[socket.socket]) -> Iterator[bytearray]:
    """What is said on any of the links, line by line, until all have hung up."""
    with selectors.DefaultSelector() as selector:
        for link in links:
            selector.register(link, selectors.EVENT_READ, (link, bytearray()))
        while selector.get_map():
            for key, _ in selector.select():
                link, begun = key.data
                data = _received(link)
                if not data:
                    selector.unregister(link)
                begun += data
                *lines, begun[:] = begun.split(b"\n")
                yield from lines


def _received(link: socket.socket) -> bytes:
    try:
        return link.recv(2**18)
    except ConnectionResetError:
        return b""


def _verdict(kata: Kata, job: Job, end: End) -> Verdict:
    parts = part_scores((part.id for part in kata.parts), end.checks)
    return Verdict(
        kata=kata.slug,
        attempt=AttemptRef(job.path, job.sha256),
        seed=job.seed,
        device=job.device,
        isolation=end.isolation,
        isolation_missing=end.isolation_missing,
        score=sum(part.score for part in parts),
        max_score=sum(part.max for part in parts),
        passed=all(check.state is State.PASSED for check in end.checks) and bool(end.checks),
        parts=parts,
        checks=end.checks,
        seconds=end.seconds,
    )


__all__ = ["Checked", "Graded", "Grader", "Options", "Template"]
