"""Checking an attempt: graded, remembered, and told with what the history knows of it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import msgspec

from grader.bank import Kata
from grader.errors import HistoryError, Unavailable, UsageError
from grader.grading import Grader, Options, Watcher
from grader.history import FAILING, Event, History
from grader.practice.learner import Learner
from grader.practice.progress import next_kata
from grader.preloads import libraries
from grader.timing import BenchReport
from grader.verdict import CheckResult, State, Verdict
from grader.workspace import Attempt, altered_given, read_attempt

PASSED, NOT_PASSED, FAULT = 0, 1, 3
"""What a check ends with; 2 is for what cannot be graded."""


@dataclass(frozen=True, slots=True)
class Finish:
    """What is worth saying once everything is passed."""

    minutes: float | None
    """Since the kata was started; None where nobody knows."""
    hints: int
    """Levels that were shown, over all parts."""
    next: Kata | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A verdict, and what a learner is told beside it."""

    kata: Kata
    verdict: Verdict
    selected: bool = False
    """Only some checks were asked for."""
    failed_runs: Mapping[str, int]
    """How often each check that failed now has failed since it last passed, this run included."""
    finish: Finish | None = None
    """None unless all is passed."""
    altered: tuple[str, ...] = ()
    """Given files that the learner edited."""
    speed: BenchReport | None = None
    """What `kata bench` found last, for this version or an earlier one."""
    forgotten: HistoryError | None = None
    """Why this run is not in the history."""

    @property
    def exit_code(self) -> int:
        states = {check.state for check in self.verdict.checks}
        if State.HARNESS_FAULT in states:
            return FAULT
        return PASSED if states <= {State.PASSED, State.NOT_SELECTED} else NOT_PASSED


def check(
    learner: Learner, kata: Kata, path: Path, grader: Grader, options: Options, watch: Watcher | None = None
) -> Outcome:
    """Grade the file at `path` and remember the run.

    Raises BadAttempt, Unavailable, HarnessFault, and UsageError where `options.only` selects nothing; a history that
    cannot be written is told in the outcome.
    """
    require_preload(kata)
    attempt = read_attempt(path)
    verdict = grader.grade(kata, attempt, options, watch).verdict
    if options.only is not None:
        verdict = _of_selected(verdict, options.only)
    outcome = Outcome(
        kata=kata,
        verdict=verdict,
        selected=options.only is not None,
        failed_runs={},
        altered=tuple(altered_given(kata, path.absolute().parent)),
    )
    try:
        return _remember(learner, outcome, attempt)
    except HistoryError as error:
        return replace(outcome, forgotten=error)


def require_preload(kata: Kata) -> None:
    """Raises Unavailable where the library that a kata works with is not installed; imports nothing."""
    for library in libraries(kata.preload):
        if find_spec(library) is None:
            extras = f"[{','.join(kata.requires)}]" if kata.requires else ""
            raise Unavailable(f"{kata.slug} needs {library}, not installed here: `pip install 'kata-grader{extras}'`")


def full_seed(text: str) -> str:
    """A seed as it is typed, with its leading zeros. Raises UsageError.

    >>> full_seed("2A")
    '000000000000002a'
    """
    if not re.fullmatch("[0-9a-fA-F]{1,16}", text):
        raise UsageError(f"--seed takes up to 16 hexadecimal digits, not {text!r}; a verdict shows its seed")
    return text.lower().rjust(16, "0")


def last_bench(history: History, slug: str) -> BenchReport | None:
    """What the last timing found; None where there was none, or it is of another format."""
    data = history.last_event(slug, Event.BENCHED)
    try:
        return msgspec.convert(data, BenchReport) if data is not None else None
    except msgspec.ValidationError:
        return None


def bench_of(history: History, slug: str, sha256: str) -> BenchReport | None:
    """The last timing, where it is of that version."""
    report = last_bench(history, slug)
    return report if report is not None and report.sha256 == sha256 else None


def first_failure(verdict: Verdict) -> CheckResult | None:
    return next((result for result in verdict.checks if result.state in FAILING), None)


def _of_selected(verdict: Verdict, only: str) -> Verdict:
    """Some of the checks are never a pass of the kata, even where they are all there are."""
    if all(result.state is State.NOT_SELECTED for result in verdict.checks):
        parts = ", ".join(part.id for part in verdict.parts)
        raise UsageError(
            f"no check of {verdict.kata} has {only!r} in its name, sentence or part; its parts are {parts}"
        )
    return msgspec.structs.replace(verdict, passed=False)


def _remember(learner: Learner, outcome: Outcome, attempt: Attempt) -> Outcome:
    history, verdict = learner.history, outcome.verdict
    history.record_run(verdict, attempt.data, selected=outcome.selected)
    failed = [result.id for result in verdict.checks if result.state in FAILING]
    return replace(
        outcome,
        failed_runs={id: history.consecutive_failures(verdict.kata, id) for id in failed},
        finish=_finish(learner, outcome.kata) if verdict.passed else None,
        speed=last_bench(history, verdict.kata) if verdict.passed else None,
    )


def _finish(learner: Learner, kata: Kata) -> Finish:
    started = learner.history.time_started(kata.slug)
    return Finish(
        minutes=None if started is None else (learner.now() - started) / 60,
        hints=sum(learner.history.hint_level(kata.slug, part.id) for part in kata.parts),
        next=next_kata(learner, [kata.slug]),
    )
