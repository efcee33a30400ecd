"""A study plan: what to do on which day, from priorities, prerequisites, minutes and history. Pure.

Katas come in the catalogue's order, which puts P0 before P1 before P2 and what is needed before what needs it; what is
due again comes before what is new. A day holds its share of the week's hours: questions first, then katas; one that
does not fit goes on the day after. The last day of each week in the second half is a mock interview.
"""

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from grader.bank import Kata
from grader.errors import UsageError

DAYS = 7
QUIZ_MINUTES = 10
MOCK_MINUTES = 60
LEAST_MINUTES = 15
"""Nothing is begun for less, unless that is all it takes."""
LEARNING = 1.5
"""A kata that is new takes longer than in an interview: reading, hints, debrief."""
AGAIN = 0.5
"""And one that was passed before takes less."""
REVIEW_DAYS = 10
"""When something that was new is tried again, if the plan lasts so long."""


@dataclass(frozen=True, slots=True)
class Phase:
    """Some weeks of a plan with their own subject."""

    title: str
    weeks: int
    tracks: tuple[str, ...] = ()
    """Katas of these come first; none is all."""
    pillars: tuple[str, ...] = ()
    """What questions are about."""


@dataclass(frozen=True, slots=True)
class Preset:
    """A plan that people follow."""

    name: str
    what: str
    hours: int
    """A week."""
    phases: tuple[Phase, ...]

    @property
    def weeks(self) -> int:
        return sum(phase.weeks for phase in self.phases)


LM, ALIGNMENT, BASICS, SYSTEMS = "language models", "alignment", "foundations", "systems"
PRESETS = (
    Preset(
        "sprint",
        "three weeks before an interview: P0 first, from attention to preferences, then P1",
        12,
        (
            Phase("attention and a GPT from scratch", 1, (BASICS, LM), ("foundations",)),
            Phase("preferences: DPO, its derivation, KL", 1, (ALIGNMENT,), ("alignment",)),
            Phase("memory and speed; mock interviews", 1, (), ("infrastructure", "evaluation", "interview-craft")),
        ),
    ),
    Preset(
        "nine-weeks",
        "two weeks each of foundations, SFT, preferences, evaluation, then interviews",
        6,
        (
            Phase("foundations", 2, (BASICS, LM), ("foundations",)),
            Phase("supervised fine-tuning and its data", 2, (LM,), ("synthetic-data", "alignment")),
            Phase("DPO and GRPO", 2, (ALIGNMENT,), ("alignment",)),
            Phase("evaluation and tools", 2, (SYSTEMS,), ("evaluation", "infrastructure")),
            Phase("mock interviews", 1, (), ("interview-craft",)),
        ),
    ),
    Preset(
        "course",
        "twelve weeks: foundations 2, alignment 4, production 4, interviews 2",
        5,
        (
            Phase("foundations", 2, (BASICS, LM), ("foundations", "interpretability")),
            Phase("alignment", 4, (ALIGNMENT,), ("alignment", "synthetic-data")),
            Phase("production", 4, (SYSTEMS, LM), ("infrastructure", "evaluation")),
            Phase("interviews", 2, (), ("interview-craft",)),
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Item:
    """Something to do on one day."""

    what: str
    """`kata`, `again`, `quiz` or `mock`."""
    minutes: int
    subject: str = ""
    """A slug, or a pillar."""
    title: str = ""
    goes_on: bool = False
    """It was begun on an earlier day."""

    @property
    def command(self) -> str:
        """What to type."""
        if self.what == "quiz":
            return f"kata quiz --pillar {self.subject}" if self.subject else "kata quiz"
        if self.what == "mock":
            return "kata mock"
        if self.goes_on:
            return f"kata check {self.subject}"
        return f"kata {'reset' if self.what == 'again' else 'start'} {self.subject}"


@dataclass(frozen=True, slots=True)
class Day:
    """One day of the plan."""

    date: date
    phase: str
    items: tuple[Item, ...]

    @property
    def minutes(self) -> int:
        return sum(item.minutes for item in self.items)


@dataclass(frozen=True, slots=True)
class Plan:
    """Every day, and what found no place."""

    days: tuple[Day, ...]
    left_out: tuple[Kata, ...]
    weeks: int
    hours: float

    @property
    def by_week(self) -> list[tuple[Day, ...]]:
        return [self.days[first : first + DAYS] for first in range(0, len(self.days), DAYS)]


@dataclass(slots=True)
class _Work:
    """A kata on its way through the days."""

    kata: Kata
    what: str
    left: int
    begun: bool = False


@dataclass(slots=True)
class _Queue:
    """What is still to be done, in order, and what comes back later."""

    work: deque[_Work]
    later: list[tuple[int, _Work]] = field(default_factory=list)

    def bring_back(self, day: int) -> None:
        """What is to be tried again from that day on, before what is new."""
        ready = [work for when, work in self.later if when <= day]
        self.later = [(when, work) for when, work in self.later if when > day]
        self.work.extendleft(reversed(ready))


def plan(
    katas: Sequence[Kata],
    passed: Collection[str],
    due: Iterable[str],
    phases: Sequence[Phase],
    hours: float,
    first: date,
) -> Plan:
    """Day by day from `first` on. `passed` and `due` are slugs; what is passed and not due is not planned.

    Raises UsageError where a week has less than an hour.
    """
    if hours < 1:
        raise UsageError(f"{hours:g} hours a week are no plan: give at least 1")
    weeks = sum(phase.weeks for phase in phases)
    minutes = round(hours * 60 / DAYS)
    due = list(due)
    again = [_Work(kata, "again", max(1, round(AGAIN * kata.minutes))) for kata in katas if kata.slug in due]
    new = [_Work(kata, "kata", round(LEARNING * kata.minutes)) for kata in katas if kata.slug not in passed]
    waiting = _Queue(deque([*again, *new]))
    days = []
    for number in range(weeks * DAYS):
        week = number // DAYS
        phase = _phase(phases, week)
        if number % DAYS == 0:
            waiting.work = _by_track(waiting.work, phase)
        last_of_week = number % DAYS == DAYS - 1
        mock = last_of_week and (week >= weeks // 2 or not phase.tracks)
        waiting.bring_back(number)
        items = _mock(minutes) if mock else _day(waiting, minutes, _pillar(phase, number), number)
        days.append(Day(first + timedelta(days=number), phase.title, tuple(items)))
    left = tuple(work.kata for work in waiting.work if work.what == "kata")
    return Plan(tuple(days), left, weeks, hours)


def preset(name: str) -> Preset:
    """Raises UsageError."""
    for one in PRESETS:
        if one.name == name:
            return one
    raise UsageError(f"there is no plan {name!r}: {', '.join(one.name for one in PRESETS)}")


def _day(waiting: _Queue, minutes: int, pillar: str, number: int) -> Iterable[Item]:
    left = minutes
    if minutes >= 3 * QUIZ_MINUTES:
        yield Item("quiz", QUIZ_MINUTES, pillar)
        left -= QUIZ_MINUTES
    while left > 0 and waiting.work:
        work = waiting.work[0]
        part = min(left, work.left)
        if part < min(work.left, LEAST_MINUTES):
            return
        yield Item(work.what, part, work.kata.slug, work.kata.title, work.begun)
        work.left, work.begun, left = work.left - part, True, left - part
        if work.left == 0:
            waiting.work.popleft()
            if work.what == "kata":
                back = _Work(work.kata, "again", max(1, round(AGAIN * work.kata.minutes)))
                waiting.later.append((number + REVIEW_DAYS, back))


def _mock(minutes: int) -> Iterable[Item]:
    yield Item("mock", max(minutes, MOCK_MINUTES))


def _by_track(work: Iterable[_Work], phase: Phase) -> deque[_Work]:
    """Those of the phase's tracks first, each after what it needs; what was begun stays in front."""
    work = list(work)
    front = [one for one in work if one.begun or one.what == "again"]
    new = {one.kata.slug: one for one in work if one not in front}
    ordered: dict[str, _Work] = {}
    seen: set[str] = set()

    def place(one: _Work) -> None:
        if one.kata.slug not in seen:
            seen.add(one.kata.slug)
            for slug in one.kata.prerequisites:
                if slug in new:
                    place(new[slug])
            ordered[one.kata.slug] = one

    for one in sorted(new.values(), key=lambda one: bool(phase.tracks) and one.kata.track not in phase.tracks):
        place(one)
    return deque([*front, *ordered.values()])


def _phase(phases: Sequence[Phase], week: int) -> Phase:
    ends = 0
    for phase in phases:
        ends += phase.weeks
        if week < ends:
            return phase
    raise ValueError("the plan is over by then")


def _pillar(phase: Phase, number: int) -> str:
    return phase.pillars[number % len(phase.pillars)] if phase.pillars else ""
