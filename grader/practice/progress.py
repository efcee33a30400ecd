"""How far a learner is: every kata with its standing, what is in progress, and what comes next."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from grader.bank import Kata, is_of
from grader.history import Progress, Standing
from grader.practice.due import Due, due_now
from grader.practice.learner import Learner

UNKNOWN = Standing(Progress.NEW, None)


@dataclass(frozen=True, slots=True)
class Row:
    """One kata and how the learner stands with it."""

    kata: Kata
    standing: Standing


@dataclass(frozen=True, slots=True)
class Overview:
    """What `kata` alone tells."""

    total: int
    passed: int
    started: tuple[Row, ...]
    """In progress, the last started first."""
    next: Kata | None
    due: tuple[Due, ...] = ()
    """What was passed once and should be tried again now."""
    broken: int = 0
    """Katas that cannot be started, because their own files are wrong."""

    @property
    def brand_new(self) -> bool:
        return not self.started and not self.passed


def rows(learner: Learner) -> tuple[Row, ...]:
    """All katas, in the order to take them."""
    states = learner.history.states()
    return tuple(Row(kata, states.get(kata.slug, UNKNOWN)) for kata in learner.catalogue.katas)


def selected(all_rows: Iterable[Row], track: str | None, priority: str | None) -> tuple[Row, ...]:
    """Those of one track and of one priority, where such is asked for; upper or lower case is the same."""
    return tuple(row for row in all_rows if is_of(row.kata, track, priority))


def overview(learner: Learner) -> Overview:
    every = rows(learner)
    last = learner.history.last_started()
    started = [row for row in every if row.standing.state is Progress.STARTED]
    return Overview(
        total=len(every),
        passed=sum(row.standing.state is Progress.PASSED for row in every),
        started=tuple(sorted(started, key=lambda row: last is None or row.kata.slug != last[0])),
        next=next_kata(learner, [row.kata.slug for row in started]),
        due=tuple(due_now(learner)),
        broken=len(learner.catalogue.broken),
    )


def next_kata(learner: Learner, but: Collection[str]) -> Kata | None:
    """The first that is not passed, whose prerequisites are, leaving out `but`; None when there is none."""
    states = learner.history.states()
    known = {kata.slug for kata in learner.catalogue.katas}
    done = {slug for slug in known if states.get(slug, UNKNOWN).state is Progress.PASSED}
    open_katas = (kata for kata in learner.catalogue.katas if kata.slug not in done.union(but))
    return next((kata for kata in open_katas if known.intersection(kata.prerequisites) <= done), None)
