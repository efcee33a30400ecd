"""A quiz: which questions are drawn, and how one after the other is asked, answered, rated and remembered.

Nothing here prints or reads: whoever asks is passed in.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Protocol

from grader.bank.questions import Question
from grader.errors import UsageError

WEAK, GOOD, STRONG = 1, 2, 3
NEVER = 0
ORDER = (WEAK, NEVER, GOOD, STRONG)
"""Last ratings in the order in which a quiz draws them."""


@dataclass(frozen=True, slots=True)
class Filters:
    """What the questions shall be about; None is anything."""

    pillar: str | None = None
    topic: str | None = None
    kata: str | None = None


@dataclass(frozen=True, slots=True)
class Rated:
    """A question that was answered, and the learner's own rating."""

    question: Question
    rating: int


@dataclass(frozen=True, slots=True)
class Summary:
    """How a quiz went."""

    asked: int
    """How many were drawn, answered or not."""
    rated: tuple[Rated, ...]

    @property
    def weak(self) -> tuple[Question, ...]:
        return tuple(one.question for one in self.rated if one.rating == WEAK)

    def count(self, rating: int) -> int:
        return sum(one.rating == rating for one in self.rated)


class Examiner(Protocol):
    """Who asks a learner."""

    def ask(self, question: Question, number: int) -> str | None:
        """The answer, empty where the learner has none; None when the learner has left. `number` is 1 for the first."""

    def rate(self, question: Question) -> int | None:
        """Shows the model answer; returns 1, 2 or 3, and None when the learner has left."""


def draw(
    questions: Iterable[Question], ratings: Mapping[str, int], seed: str, n: int, filters: Filters = Filters()
) -> tuple[Question, ...]:
    """Up to `n` questions that the filters let through, none twice: equal arguments draw equal questions.

    First what was rated weak last time, then what was never rated, then good, then strong; in each of these groups in
    an order that hangs on seed and id alone, so that a new question in the bank reorders no others. `ratings` holds the
    last one by question id.
    """

    def place(question: Question) -> tuple[int, bytes]:
        return ORDER.index(ratings.get(question.id, NEVER)), hashlib.sha256(f"{seed} {question.id}".encode()).digest()

    return tuple(sorted((one for one in questions if _fits(one, filters)), key=place)[:n])


def require_known(filters: Filters, questions: Sequence[Question]) -> None:
    """Raises UsageError where no question is of that pillar, topic or kata, or there is none at all."""
    if not questions:
        raise UsageError("no bank at hand has questions that can be used: `kata lint` tells what is wrong with them")
    _require("pillar", filters.pillar, (question.pillar for question in questions))
    _require("topic", filters.topic, (question.topic for question in questions))
    _require("kata", filters.kata, (slug for question in questions for slug in question.katas))


def hold(drawn: Sequence[Question], examiner: Examiner, record: Callable[[str, str, int], None]) -> Summary:
    """Ask one question at a time, until the last or until the learner leaves.

    `record` is given id, answer and rating of each as soon as it is rated.
    """
    rated: list[Rated] = []
    for number, question in enumerate(drawn, 1):
        answer = examiner.ask(question, number)
        rating = None if answer is None else examiner.rate(question)
        if answer is None or rating is None:
            break
        record(question.id, answer, rating)
        rated.append(Rated(question, rating))
    return Summary(len(drawn), tuple(rated))


def _fits(question: Question, filters: Filters) -> bool:
    return (
        filters.pillar in (None, question.pillar)
        and filters.topic in (None, question.topic)
        and (filters.kata is None or filters.kata in question.katas)
    )


def _require(what: str, asked: str | None, known: Iterable[str]) -> None:
    names = list(dict.fromkeys(known))
    if asked is not None and asked not in names:
        near = get_close_matches(asked, names, n=3)
        hint = f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(names)}."
        raise UsageError(f"no question is of the {what} {asked!r}: {hint} `kata quiz` asks from all")
