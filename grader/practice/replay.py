"""Replaying a failure: the first failing check's calls, as a script beside the attempt that needs none of our code."""

from dataclasses import dataclass
from pathlib import Path

from grader.bank import Kata
from grader.errors import UsageError
from grader.grading import Grader, Options, Watcher
from grader.practice.check import first_failure, require_preload
from grader.practice.learner import Learner
from grader.verdict import CheckResult
from grader.workspace import read_attempt, write_atomically


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of the failing check."""

    check: CheckResult
    """As it went this time."""
    script: Path | None
    """None when it passes now, or never came to a call."""


def write_replay(learner: Learner, kata: Kata, grader: Grader, watch: Watcher | None = None) -> Replayed:
    """Grade the attempt as it is now on the last run's first failing check, with that run's seed; write the script.

    Raises UsageError where the last run has no failing check.
    """
    require_preload(kata)
    last = learner.history.last_verdict(kata.slug)
    failure = None if last is None else first_failure(last)
    if last is None or failure is None:
        raise UsageError(
            f"the last run of {kata.slug} has no failing check to replay: `kata check {kata.slug}` makes one"
        )
    attempt = read_attempt(learner.attempt(kata))
    options = Options(
        seed=last.seed,
        device=last.device,
        exactly=(failure.id,),
        write_replay=True,
        ignore_needs=True,
        find_mistakes=False,
    )
    graded = grader.grade(kata, attempt, options, watch)
    now = next((result for result in graded.verdict.checks if result.id == failure.id), None)
    if now is None:
        raise UsageError(f"{kata.slug} has no check {failure.id} any more: `kata check {kata.slug}` runs those it has")
    if graded.replay is None:
        return Replayed(now, None)
    script = attempt.path.absolute().with_name(f"replay_{graded.replay.check}.py")
    write_atomically(script.with_suffix(graded.replay.data_suffix), graded.replay.data)
    write_atomically(script, graded.replay.script.encode("utf-8", "backslashreplace"))
    return Replayed(now, script)
