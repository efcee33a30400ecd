"""The score sheet of an interview, by a rule that a reader can redo by hand (docs/mock.md).

    katas      the mean of their scores, each 0 to 100, of the version that counts; one that was never saved has 0
    questions  the mean over all that were drawn: weak or unanswered 0, good 60, strong 100
    total      0.8 × katas + 0.2 × questions, or the one of them that there is, rounded down
    band       strong hire from 90, hire from 75, lean hire from 60, lean no hire from 40, else no hire

Speed, mistakes, versions and pauses are on the sheet and count for nothing.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from grader.mock.state import State

KATAS, QUESTIONS = Fraction(8, 10), Fraction(2, 10)
WORTH = {0: 0, 1: 0, 2: 60, 3: 100}
"""Points of a question by its rating; 0 is unanswered."""


class Band(StrEnum):
    STRONG_HIRE = "strong hire"
    HIRE = "hire"
    LEAN_HIRE = "lean hire"
    LEAN_NO_HIRE = "lean no hire"
    NO_HIRE = "no hire"


FROM = ((90, Band.STRONG_HIRE), (75, Band.HIRE), (60, Band.LEAN_HIRE), (40, Band.LEAN_NO_HIRE), (0, Band.NO_HIRE))


@dataclass(frozen=True, slots=True)
class PartLine:
    """One part of a kata, at the version that counts."""

    id: str
    score: int
    max: int
    minutes: float | None
    """On the interview's clock, when a version that had all of it was first saved."""


@dataclass(frozen=True, slots=True)
class KataLine:
    """One kata of the interview."""

    slug: str
    score: int
    max: int
    versions: int
    """How many were saved before the bell."""
    parts: tuple[PartLine, ...]
    mistakes: tuple[str, ...]
    """Known mistakes that were recognised in any graded version."""


@dataclass(frozen=True, slots=True)
class QuestionLine:
    """One question of the interview."""

    id: str
    answer: str
    rating: int
    """1 weak, 2 good, 3 strong; 0 where nothing was answered, or not rated yet."""

    @property
    def points(self) -> int:
        return WORTH[self.rating]


@dataclass(frozen=True, slots=True)
class Sheet:
    """How an interview went."""

    katas: tuple[KataLine, ...]
    questions: tuple[QuestionLine, ...]
    minutes: float
    limit_minutes: float
    pauses: int
    paused_minutes: float
    seed: str

    @property
    def kata_mean(self) -> Fraction | None:
        return _mean([Fraction(100 * line.score, line.max) if line.max else Fraction(0) for line in self.katas])

    @property
    def question_mean(self) -> Fraction | None:
        return _mean([Fraction(line.points) for line in self.questions])

    @property
    def total(self) -> int:
        """0 to 100."""
        katas, questions = self.kata_mean, self.question_mean
        if katas is None or questions is None:
            return math.floor(katas if katas is not None else questions if questions is not None else 0)
        return math.floor(KATAS * katas + QUESTIONS * questions)

    @property
    def band(self) -> Band:
        return next(band for least, band in FROM if self.total >= least)


def sheet(state: State) -> Sheet:
    """Of an interview in any state: what is not known yet counts as nothing."""
    return Sheet(
        katas=tuple(_kata(state, slug) for slug in state.katas),
        questions=tuple(
            QuestionLine(id, state.answers.get(id, ""), state.ratings.get(id, 0)) for id in state.questions
        ),
        minutes=state.elapsed / 60,
        limit_minutes=state.limit / 60,
        pauses=state.pauses,
        paused_minutes=state.paused / 60,
        seed=state.seed,
    )


def _kata(state: State, slug: str) -> KataLine:
    versions = [version for version in state.versions if version.kata == slug]
    graded = [(version, state.grades[version.sha256]) for version in versions if version.sha256 in state.grades]
    counting = state.counting.get(slug)
    final = state.grades.get(counting.sha256) if counting else None
    first: dict[str, float] = {}
    for version, grade in graded:
        for part, (score, most) in grade.parts.items():
            if score == most:
                first.setdefault(part, version.elapsed / 60)
    parts = tuple(
        PartLine(id, score, most, first.get(id)) for id, (score, most) in (final.parts if final else {}).items()
    )
    mistakes = tuple(dict.fromkeys(name for _, grade in graded for name in grade.mistakes))
    score, most = (final.score, final.max_score) if final else (0, 100)
    return KataLine(slug, score, most, len(versions), parts, mistakes)


def _mean(values: list[Fraction]) -> Fraction | None:
    return sum(values, Fraction(0)) / len(values) if values else None
