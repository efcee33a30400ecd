"""The state machine of a mock interview: pure, and the only judge of what counts.

`apply(state, event, at)` gives the next state or raises Impossible; it reads no clock and writes nothing, so any
history of events can be replayed. Time runs only while the phase is `running`, never backwards, and never past the
bell: what happens later than the bell happens when it is over.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from grader.mock.events import (
    Answered,
    Begun,
    Closed,
    Continued,
    Drawn,
    Event,
    Finished,
    Graded,
    Opened,
    Paused,
    Rated,
    Saved,
)
from grader.mock.moment import Moment, seconds

LEVELS = (1, 2, 3)
WARNINGS = (0.5, 0.8, 1.0)
"""Parts of the time after which the learner is told."""


class Impossible(Exception):
    """The event cannot happen in that state; the message says why, in the learner's words."""


class Phase(StrEnum):
    DRAWN = "drawn"
    RUNNING = "running"
    PAUSED = "paused"
    OVER = "over"
    """The bell has rung, or the learner was done: nothing counts any more but what was saved before."""
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a kata's file that was saved before the bell."""

    kata: str
    sha256: str
    elapsed: float
    """Seconds on the interview's clock."""


@dataclass(frozen=True, slots=True)
class State:
    """All that is known of one interview."""

    katas: tuple[str, ...]
    questions: tuple[str, ...]
    limit: float
    """Seconds."""
    seed: str
    last: Moment
    """Of the newest event."""
    folder: str = ""
    phase: Phase = Phase.DRAWN
    terminal: str = ""
    elapsed: float = 0.0
    """Seconds on the interview's clock at `last`."""
    ran: tuple[Moment, float] | None = None
    """When the clock was last seen running, and what it showed; None before it ever ran."""
    paused: float = 0.0
    """Seconds for which it stood."""
    pauses: int = 0
    versions: tuple[Version, ...] = ()
    grades: dict[str, Graded] = field(default_factory=dict)
    """By the digest of the version."""
    answers: dict[str, str] = field(default_factory=dict)
    ratings: dict[str, int] = field(default_factory=dict)

    @property
    def left(self) -> float:
        """Seconds until the bell."""
        return max(0.0, self.limit - self.elapsed)

    @property
    def under_way(self) -> bool:
        """It was begun and is not over; its clock may stand."""
        return self.phase in (Phase.RUNNING, Phase.PAUSED)

    @property
    def over(self) -> bool:
        return self.phase in (Phase.OVER, Phase.CLOSED)

    @property
    def counting(self) -> dict[str, Version]:
        """By kata, the last version saved before the bell: the one that counts."""
        return {version.kata: version for version in self.versions}

    @property
    def ungraded(self) -> tuple[Version, ...]:
        """Versions that count and whose worth is not known yet."""
        return tuple(version for version in self.counting.values() if version.sha256 not in self.grades)

    @property
    def unanswered(self) -> tuple[str, ...]:
        return tuple(question for question in self.questions if question not in self.answers)

    @property
    def unrated(self) -> tuple[str, ...]:
        """Questions whose answer waits for the learner's own rating; who answered nothing has the lowest."""
        return tuple(question for question, answer in self.answers.items() if answer and question not in self.ratings)


def begin(drawn: Drawn, at: Moment) -> State:
    """The first state. Raises Impossible for an interview of nothing or of no time."""
    if not drawn.katas and not drawn.questions:
        raise Impossible("there is nothing to ask: no kata and no question was drawn")
    if not drawn.minutes > 0:
        raise Impossible(f"an interview of {drawn.minutes:g} minutes has no time")
    return State(drawn.katas, drawn.questions, drawn.minutes * 60, drawn.seed, at, drawn.folder)


def at_moment(state: State, at: Moment) -> State:
    """The same interview seen at that moment: its clock has gone on, and the bell may have rung."""
    passed = seconds(state.last, at)
    if state.phase is Phase.PAUSED:
        return replace(state, last=at, paused=state.paused + passed)
    if state.phase is not Phase.RUNNING:
        return replace(state, last=at)
    elapsed = state.elapsed + passed
    if elapsed >= state.limit:
        return replace(state, last=at, elapsed=state.limit, phase=Phase.OVER)
    return replace(state, last=at, elapsed=elapsed, ran=(at, elapsed))


def apply(state: State, event: Event, at: Moment) -> State:
    """The state after the event. Raises Impossible where it cannot happen."""
    handle: Callable[[State, Any], State] = _HANDLERS[type(event)]
    return handle(at_moment(state, at), event)


def _drawn(_state: State, _event: Drawn) -> State:
    raise Impossible("an interview is drawn once")


def _opened(state: State, event: Opened) -> State:
    return replace(state, terminal=event.terminal)


def _begun(state: State, _event: Begun) -> State:
    _require(state.phase is Phase.DRAWN, "the clock runs already, or is done")
    return _running(state)


def _saved(state: State, event: Saved) -> State:
    """A version that was saved while the clock ran counts, even if that is seen after the bell."""
    _require(event.kata in state.katas, "that kata is not asked here")
    _require(state.phase is not Phase.PAUSED, "the clock stands: go on first")
    _require(state.ran is not None and state.phase is not Phase.CLOSED, "nothing that is saved now counts")
    assert state.ran is not None
    since, then = state.ran
    earliest = state.versions[-1].elapsed if state.versions else 0.0
    elapsed = max(then + seconds(since, event.when), earliest)
    _require(elapsed < state.limit and (elapsed <= state.elapsed or not state.over), "it was over by then")
    version = Version(event.kata, event.sha256, min(elapsed, state.elapsed))
    return replace(state, versions=(*state.versions, version))


def _graded(state: State, event: Graded) -> State:
    known = {version.sha256 for version in state.versions}
    _require(event.sha256 in known, "that version was never saved in this interview")
    return replace(state, grades={**state.grades, event.sha256: event})


def _paused(state: State, _event: Paused) -> State:
    _require(state.phase is Phase.RUNNING, "the clock does not run")
    return replace(state, phase=Phase.PAUSED, pauses=state.pauses + 1)


def _continued(state: State, _event: Continued) -> State:
    _require(state.phase is Phase.PAUSED, "the clock does not stand")
    return _running(state)


def _answered(state: State, event: Answered) -> State:
    _require(event.question in state.unanswered, "that question is not asked here, or has its answer")
    _require(state.phase is Phase.RUNNING, "answers count while the clock runs")
    return replace(state, answers={**state.answers, event.question: event.answer})


def _rated(state: State, event: Rated) -> State:
    _require(state.phase is Phase.OVER, "answers are rated when the time is over")
    _require(event.question in state.unrated, "there is no answer to rate")
    _require(event.level in LEVELS, f"a rating is one of {LEVELS}")
    return replace(state, ratings={**state.ratings, event.question: event.level})


def _finished(state: State, _event: Finished) -> State:
    _require(state.under_way, "there is nothing to finish")
    return replace(state, phase=Phase.OVER)


def _closed(state: State, _event: Closed) -> State:
    _require(state.phase is Phase.OVER, "it is not over")
    _require(not state.ungraded, "a version that counts is not graded yet")
    _require(not state.unrated, "an answer is not rated yet")
    return replace(state, phase=Phase.CLOSED)


def _running(state: State) -> State:
    return replace(state, phase=Phase.RUNNING, ran=(state.last, state.elapsed))


_HANDLERS: dict[type, Callable[[State, Any], State]] = {
    Drawn: _drawn,
    Opened: _opened,
    Begun: _begun,
    Saved: _saved,
    Graded: _graded,
    Paused: _paused,
    Continued: _continued,
    Answered: _answered,
    Rated: _rated,
    Finished: _finished,
    Closed: _closed,
}


def _require(possible: bool, otherwise: str) -> None:
    if not possible:
        raise Impossible(otherwise)
