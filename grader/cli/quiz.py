"""The command that asks conceptual questions: quiz."""

from typing import Annotated

import typer

from grader.bank.questions import Question, Questions
from grader.cli.options import Json, whole_number
from grader.cli.session import Session
from grader.errors import UsageError
from grader.judge.seeds import fresh_seed
from grader.practice import quiz as practice
from grader.practice.quiz import STRONG, WEAK, Filters
from grader.render import quiz as views
from grader.render.screen import Screen

MOST = 1000
LONGEST = 32
"""Characters of a seed."""


def quiz(
    context: typer.Context,
    pillar: Annotated[str | None, typer.Option("--pillar", metavar="P", help="Only of this part of the field.")] = None,
    topic: Annotated[str | None, typer.Option("--topic", metavar="T", help="Only on this topic.")] = None,
    kata: Annotated[str | None, typer.Option("--kata", metavar="SLUG", help="Only what belongs to this kata.")] = None,
    number: Annotated[str, typer.Option("-n", metavar="N", help="How many.")] = "5",
    seed: Annotated[str | None, typer.Option("--seed", metavar="S", help="The same order as with that seed.")] = None,
    json: Json = False,
) -> None:
    """Answer conceptual questions, and rate your answers yourself.

    What you rated weak comes first next time. Ctrl-D ends; what was rated is kept.
    """
    session: Session = context.obj
    count, seed = whole_number(number, "-n", MOST, of="questions"), fresh_seed() if seed is None else plain(seed)
    forgotten = session.learner.forgive_history()
    found = Questions.load(session.learner.catalogue)
    filters = Filters(pillar, topic, session.learner.kata(kata).slug if kata else None)
    practice.require_known(filters, found.all)
    history = session.learner.history
    drawn = practice.draw(found.all, history.ratings(), seed, count, filters)
    if json:
        session.screen.raw(views.quiz_json(drawn, seed) + "\n")
    else:
        summary = practice.hold(drawn, Terminal(session.screen, len(drawn)), history.record_answer)
        session.screen.show(views.summary_view(summary, seed))
    session.warn(forgotten, *found.broken)


class Terminal:
    """Asks on a screen, whose answers may as well come from a pipe."""

    def __init__(self, screen: Screen, total: int) -> None:
        self.screen, self.total = screen, total

    def ask(self, question: Question, number: int) -> str | None:
        self.screen.show(views.question_view(question, number, self.total))
        return self.screen.ask(views.ANSWER)

    def rate(self, question: Question) -> int | None:
        """Asks until it gets a rating or the end."""
        self.screen.show(views.answer_view(question))
        while (line := self.screen.ask(views.RATING)) is not None:
            if line.strip() in map(str, range(WEAK, STRONG + 1)):
                return int(line)
        return None


def plain(seed: str) -> str:
    """Raises UsageError for what could not be typed again."""
    if not (seed.isascii() and seed.isalnum() and len(seed) <= LONGEST):
        raise UsageError(f"--seed takes up to {LONGEST} letters and digits, not {seed!r}")
    return seed
