"""When a kata is due again: spaced repetition (FSRS) over what really happened, not over what a learner feels.

A review is a pass of a kata that was begun anew: started, reset, or asked in a mock interview; one that failed in a
mock interview is a review too. Passing the same file once more says nothing. How well it went is read off the
history, by the rule of `rated`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from grader.bank import Kata
from grader.history import Event, History, Progress
from grader.practice.learner import Learner

if TYPE_CHECKING:
    pass

LONGEST_SITTING_HOURS = 12
"""What took longer was slept over: the time says nothing."""
AGAIN, HARD, GOOD, EASY = 1, 2, 3, 4


@dataclass(frozen=True, slots=True)
class Effort:
    """What one pass took."""

    minutes: float | None
    """None where nobody knows, or it was slept over."""
    hints: int
    """Levels seen, over all parts."""
    failures: int
    """Whole runs that did not pass."""
    gave_up: bool = False


@dataclass(frozen=True, slots=True)
class Review:
    """One time that a kata was tried from the beginning."""

    when: float
    """Unix seconds."""
    rating: int
    """1 again, 2 hard, 3 good, 4 easy."""


@dataclass(frozen=True, slots=True)
class Due:
    """A kata that was passed once, and when it should be tried again."""

    kata: Kata
    when: float
    """Unix seconds; in the past for what is due now."""
    reviews: int
    retrievability: float
    """The chance, by the model, that it would be passed now."""


def rated(effort: Effort, planned_minutes: int) -> int:
    """Again after giving up; hard with 2 hints or more, 10 failures or more, or over twice the time planned; easy
    without hints, with 2 failures at most, in half of the time planned; else good.

    >>> rated(Effort(12, 0, 1), 30), rated(Effort(25, 0, 4), 30), rated(Effort(None, 3, 4), 30)
    (4, 3, 2)
    """
    if effort.gave_up:
        return AGAIN
    if effort.hints >= 2 or effort.failures >= 10 or (effort.minutes or 0) > 2 * planned_minutes:
        return HARD
    quick = effort.minutes is not None and effort.minutes <= planned_minutes / 2
    return EASY if quick and not effort.hints and effort.failures <= 2 else GOOD


def due(learner: Learner) -> list[Due]:
    """Every kata that was ever passed, the most urgent first."""
    states = learner.history.states()
    passed = [
        kata for kata in learner.catalogue.katas if kata.slug in states and states[kata.slug].state is Progress.PASSED
    ]
    if not passed:
        return []
    scheduled = (_scheduled(kata, reviews(learner.history, kata), learner.now()) for kata in passed)
    return sorted((one for one in scheduled if one is not None), key=lambda one: one.when)


def due_now(learner: Learner) -> list[Due]:
    """Those that should be tried again by now."""
    return [one for one in due(learner) if one.when <= learner.now()]


def reviews(history: History, kata: Kata) -> list[Review]:
    """In the order in which they happened."""
    found: list[Review] = []
    fresh, began, hints, failures, gave_up = True, history.time_started(kata.slug), 0, 0, False
    for when, what in _timeline(history, kata):
        if what in ("pass", "mock pass") and (fresh or what == "mock pass"):
            effort = Effort(_minutes(began, when), hints, failures, gave_up)
            found.append(Review(when, rated(effort, kata.minutes)))
            fresh, hints, failures, gave_up = False, 0, 0, False
        elif what == "mock failure":
            found.append(Review(when, AGAIN))
        elif what == "failure":
            failures += 1
        elif what == "hint":
            hints += 1
        elif what == "gave up":
            gave_up = True
        elif what == "reset":
            fresh, began, hints, failures = True, when, 0, 0
    return found


def _timeline(history: History, kata: Kata) -> list[tuple[float, str]]:
    runs = [run for run in history.runs(kata.slug) if run.passed is not None and not run.selected]
    told = [
        (run.when, ("mock " if run.reason == "mock" else "") + ("pass" if run.passed else "failure")) for run in runs
    ]
    names = ((Event.HINT, "hint"), (Event.GAVE_UP, "gave up"), (Event.RESET, "reset"))
    told += [(at, name) for kind, name in names for at, _ in history.events(kata.slug, kind)]
    return sorted(_last_of_each_mock(told))


def _last_of_each_mock(told: Iterable[tuple[float, str]]) -> list[tuple[float, str]]:
    """Of the versions of one sitting in a mock interview only the last counts."""
    kept: list[tuple[float, str]] = []
    for when, what in sorted(told):
        sitting = kept and kept[-1][1].startswith("mock") and when - kept[-1][0] < LONGEST_SITTING_HOURS * 3600
        if what.startswith("mock") and sitting:
            kept.pop()
        kept.append((when, what))
    return kept


def _minutes(began: float | None, ended: float) -> float | None:
    if began is None or not 0 <= ended - began <= LONGEST_SITTING_HOURS * 3600:
        return None
    return (ended - began) / 60


def _scheduled(kata: Kata, done: list[Review], now: float) -> Due | None:
    if not done:
        return None
    import fsrs  # a fifth of the time of a command that only looks, so only once there is something to schedule

    scheduler = fsrs.Scheduler(learning_steps=(), relearning_steps=(), enable_fuzzing=False)
    card: fsrs.Card = fsrs.Card()
    for review in done:
        card, _ = scheduler.review_card(card, fsrs.Rating(review.rating), datetime.fromtimestamp(review.when, UTC))
    chance = scheduler.get_card_retrievability(card, datetime.fromtimestamp(now, UTC))
    return Due(kata, card.due.timestamp(), len(done), float(chance))
