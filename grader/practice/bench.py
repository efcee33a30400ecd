"""Timing an attempt that passes, and remembering what came out."""

from dataclasses import dataclass
from pathlib import Path

import msgspec

from grader.bank import Kata
from grader.errors import HistoryError, UsageError
from grader.grading import Grader, Options, Watcher
from grader.history import Event, History
from grader.practice.check import require_preload
from grader.practice.learner import Learner
from grader.timing import BenchReport
from grader.workspace import Attempt, read_attempt

SECONDS = 20.0
"""For each workload, at most."""


@dataclass(frozen=True, slots=True)
class Benched:
    """A report, and why it is not in the history, where it is not."""

    kata: Kata
    report: BenchReport
    forgotten: HistoryError | None = None

    @property
    def failed(self) -> bool:
        """Whether the attempt did not come through a workload."""
        return any(timing.error for timing in self.report.workloads)


def bench(
    learner: Learner, kata: Kata, path: Path, grader: Grader, options: Options, watch: Watcher | None = None
) -> Benched:
    """Time the file at `path`, which must pass: how fast a wrong answer is says nothing.

    Raises BadAttempt, UsageError where it does not pass, Unavailable, HarnessFault.
    """
    require_preload(kata)
    attempt = read_attempt(path)
    verdict = grader.grade(kata, attempt, options, watch).verdict
    if not verdict.passed:
        raise UsageError(
            f"{path.name} does not pass ({verdict.score}/{verdict.max_score}), and only what passes is timed: "
            f"`kata check {kata.slug}` shows what is missing"
        )
    return measure(learner.history, kata, attempt, grader, options, watch)


def measure(
    history: History, kata: Kata, attempt: Attempt, grader: Grader, options: Options, watch: Watcher | None = None
) -> Benched:
    """Time an attempt that is known to pass, and remember it. Raises Unavailable, HarnessFault."""
    timings = grader.bench(kata, attempt, options, SECONDS, watch)
    clock = "cpu" if options.device == "cpu" else "events"
    report = BenchReport(
        kata=kata.slug, sha256=attempt.sha256, device=options.device, clock=clock, workloads=list(timings)
    )
    try:
        history.record_event(kata.slug, Event.BENCHED, msgspec.to_builtins(report))
    except HistoryError as error:
        return Benched(kata, report, error)
    return Benched(kata, report)
