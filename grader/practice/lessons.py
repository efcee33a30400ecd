"""What teaches: hints, and once a kata is passed or given up its solution, the difference to it, and its debrief."""

import difflib
from dataclasses import dataclass

from grader.bank import Kata, Part, hint_text
from grader.bank.files import read_text
from grader.errors import UsageError
from grader.history import Event
from grader.mock.interview import newest
from grader.practice.learner import Learner
from grader.verdict import State
from grader.workspace import read_attempt

LEVELS = 3


@dataclass(frozen=True, slots=True)
class Hint:
    """The hints to one part that the learner has seen, the newest last."""

    kata: Kata
    part: Part
    texts: tuple[str, ...]
    """Markdown, from level 1 on."""

    @property
    def level(self) -> int:
        return len(self.texts)


def next_hint(learner: Learner, kata: Kata, part_id: str | None) -> Hint:
    """One level more than was shown of that part, or of the first that is not passed; recorded before it is returned.

    After the last level, all of them again. Raises UsageError where every part is passed, or an interview asks it.
    """
    require_no_interview(learner, kata)
    part = kata.part(part_id) if part_id is not None else _open_part(learner, kata)
    level = min(learner.history.hint_level(kata.slug, part.id) + 1, LEVELS)
    hint = Hint(kata, part, tuple(hint_text(kata, part.id, n) for n in range(1, level + 1)))
    learner.history.record_hint(kata.slug, part.id, level)
    return hint


def is_open(learner: Learner, kata: Kata) -> bool:
    """Whether the answers may be seen: the kata was passed once, or given up."""
    return learner.history.passed(kata.slug) or learner.history.gave_up(kata.slug)


def give_up(learner: Learner, kata: Kata) -> None:
    """Raises UsageError while a mock interview asks this kata."""
    require_no_interview(learner, kata)
    learner.history.record_event(kata.slug, Event.GAVE_UP)


def solution(learner: Learner, kata: Kata) -> str:
    """The reference's source. Raises UsageError before the kata is passed or given up."""
    _require_open(learner, kata, "the solution")
    learner.history.record_event(kata.slug, Event.SOLUTION)
    return read_text(kata.reference)


def debrief(learner: Learner, kata: Kata) -> str:
    """Markdown. Raises UsageError before the kata is passed or given up."""
    _require_open(learner, kata, "the debrief")
    learner.history.record_event(kata.slug, Event.DEBRIEF)
    return read_text(kata.debrief)


def difference(learner: Learner, kata: Kata) -> list[str]:
    """The lines of a unified diff from the attempt to the reference. Raises UsageError as `solution` does."""
    _require_open(learner, kata, "the difference to the solution")
    attempt = read_attempt(learner.attempt(kata))
    mine, ours = attempt.data.decode("utf-8", "replace").splitlines(), read_text(kata.reference).splitlines()
    name = str(learner.nearby(attempt.path))
    return list(difflib.unified_diff(mine, ours, name, "the reference", lineterm=""))


def require_no_interview(learner: Learner, kata: Kata) -> None:
    """Raises UsageError while a mock interview that asks this kata is not over."""
    interview = newest(learner.history)
    state = interview.look() if interview is not None else None
    if state is not None and kata.slug in state.katas and state.under_way:
        raise UsageError(
            f"a mock interview asks {kata.slug}: hints and answers are closed until it is over; "
            "`kata mock finish` ends it"
        )


def _require_open(learner: Learner, kata: Kata, what: str) -> None:
    require_no_interview(learner, kata)
    if not is_open(learner, kata):
        ways = f"`kata check {kata.slug}`, or `kata solution {kata.slug} --give-up`"
        raise UsageError(f"{what} of {kata.slug} is shown once you pass or give up: {ways}")


def _open_part(learner: Learner, kata: Kata) -> Part:
    """By the last verdict; the first part where there is none, or the attempt was reset since."""
    last = learner.history.last_verdict(kata.slug)
    if last is None or _reset_since_the_last_run(learner, kata):
        return kata.parts[0]
    judged = [check for check in last.checks if check.state is not State.NOT_SELECTED]
    unfinished = {check.part for check in judged if check.state is not State.PASSED}
    part = next((part for part in kata.parts if part.id in unfinished), None)
    if part is None:
        names = ", ".join(part.id for part in kata.parts)
        raise UsageError(
            f"all that was checked of {kata.slug} is passed: `kata hint {kata.slug} --part P`, P one of {names}"
        )
    return part


def _reset_since_the_last_run(learner: Learner, kata: Kata) -> bool:
    resets = learner.history.events(kata.slug, Event.RESET)
    runs = [version.when for version in learner.history.runs(kata.slug) if version.passed is not None]
    return bool(resets) and (not runs or resets[-1][0] >= max(runs))
