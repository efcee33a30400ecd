"""Grading many programs at one kata, a few at a time."""

import hashlib
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from grader.grading import Graded, Options, Template
from grader.judge.seeds import fresh_seed
from grader.lint.report import Progress, Watcher
from grader.verdict import CheckResult, State
from grader.workspace import Attempt

SLEEPERS = 8
"""How many programs that only wait are waited for at once."""


@dataclass(frozen=True, slots=True)
class Series:
    """One program, graded once on each of several seeds."""

    name: str
    """How a finding calls it."""
    futures: tuple[Future[Graded], ...]

    def __add__(self, other: "Series") -> "Series":
        return Series(self.name, self.futures + other.futures)

    @property
    def graded(self) -> list[Graded]:
        """All of them, waited for. Raises what the first that failed did: HarnessFault or Unavailable."""
        return [future.result() for future in self.futures]

    def results(self) -> Iterator[tuple[str, CheckResult]]:
        """(seed, result) of each check that was asked for."""
        for graded in self.graded:
            for result in chosen(graded):
                yield graded.verdict.seed, result


def chosen(graded: Graded) -> list[CheckResult]:
    """The results of the checks that were asked for."""
    return [result for result in graded.verdict.checks if result.state is not State.NOT_SELECTED]


class Laboratory:
    """Threads that ask one template judge. Use it as a context manager: what is still queued at the end is dropped."""

    def __init__(self, template: Template, jobs: int, watch: Watcher | None = None) -> None:
        self.template, self.watch = template, watch
        self.pool, self.bedroom = ThreadPoolExecutor(jobs), ThreadPoolExecutor(SLEEPERS)
        self.lock = threading.Lock()
        self.done = self.total = 0

    def __enter__(self) -> "Laboratory":
        return self

    def __exit__(self, *_error: Any) -> None:
        for pool in (self.pool, self.bedroom):
            pool.shutdown(cancel_futures=True)

    def grade(self, name: str, source: bytes, options: Iterable[Options], *, sleeps: bool = False) -> Series:
        """Grade that source once with each of the options, on a fresh seed where they name none; returns at once."""
        attempt = Attempt(Path(name), source, hashlib.sha256(source).hexdigest())
        pool = self.bedroom if sleeps else self.pool
        jobs = [replace(one, find_mistakes=False, seed=one.seed or fresh_seed()) for one in options]
        self._tell(started=len(jobs))
        return Series(name, tuple(pool.submit(self._one, attempt, one) for one in jobs))

    def _one(self, attempt: Attempt, options: Options) -> Graded:
        try:
            return self.template.grade(attempt, options)
        finally:
            self._tell(done=1)

    def _tell(self, *, started: int = 0, done: int = 0) -> None:
        with self.lock:
            self.total += started
            self.done += done
            if self.watch is not None:
                self.watch(Progress(self.template.kata.slug, self.done, self.total))
