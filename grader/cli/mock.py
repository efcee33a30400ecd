"""The command that interviews: mock."""

from typing import Annotated

import typer

from grader.bank.questions import Question, Questions
from grader.cli.options import Isolation, number
from grader.cli.room import Room
from grader.cli.session import Session
from grader.errors import UsageError
from grader.history import Interviews
from grader.judge.seeds import fresh_seed
from grader.mock.draw import Wish, draw_katas, named_katas
from grader.mock.events import Drawn, Finished
from grader.mock.interview import Interview, newest
from grader.mock.moment import now
from grader.mock.running import Desk, fresh_folder
from grader.practice.check import full_seed
from grader.practice.due import due_now
from grader.practice.quiz import Filters, draw
from grader.render.mock import status_view

ACTIONS = ("resume", "status", "finish")
MOST_MINUTES, MOST_QUESTIONS = 24 * 60, 50


def mock(
    context: typer.Context,
    action: Annotated[str | None, typer.Argument(help=f"{', '.join(ACTIONS)}; else a new one.")] = None,
    minutes: Annotated[str, typer.Option("--minutes", metavar="N", help="How long.")] = "45",
    katas: Annotated[str | None, typer.Option("--katas", metavar="A,B", help="These; else drawn.")] = None,
    track: Annotated[str | None, typer.Option("--track", metavar="T", help="Drawn from this track.")] = None,
    priority: Annotated[str | None, typer.Option("--priority", metavar="P", help="Drawn from P0, P1 or P2.")] = None,
    questions: Annotated[str, typer.Option("--questions", metavar="N", help="How many.")] = "3",
    seed: Annotated[str | None, typer.Option("--seed", metavar="N", help="Draw as with that seed.")] = None,
    isolation: Isolation = "auto",
) -> None:
    """A timed mock interview, graded at the bell.

    The clock goes on whatever happens to this terminal: `kata mock resume` comes back to it.
    """
    session: Session = context.obj
    if action is None:
        wish = Wish(
            number(minutes, "--minutes", MOST_MINUTES),
            tuple(filter(None, (katas or "").split(","))),
            track,
            priority,
            int(number(questions, "--questions", MOST_QUESTIONS, least=0)),
        )
        interview = drawn(session, wish, fresh_seed() if seed is None else full_seed(seed))
    else:
        interview = found(session, action)
    if action == "status":
        session.screen.show(status_view(interview.look(), interview.number))
        return
    if action == "finish" and interview.look().under_way:
        interview.open()
        desk(session, interview).look_at_all()
        interview.do(Finished())
    with session.grading(isolation, "") as grader:
        session.ticker.clear()
        Room(session, grader, desk(session, interview), asked(session, interview)).enter()


def drawn(session: Session, wish: Wish, seed: str) -> Interview:
    """A new interview, its files laid out. Raises UsageError where one is running already."""
    learner = session.learner
    last = newest(learner.history)
    if last is not None and last.look().under_way:
        raise UsageError(
            f"mock interview {last.number} is not over: `kata mock resume` goes on with it, `kata mock finish` ends it"
        )
    catalogue = learner.catalogue
    chosen = (
        named_katas(catalogue.get, wish.katas)
        if wish.katas
        else draw_katas(
            catalogue.katas, learner.history.states(), [one.kata.slug for one in due_now(learner)], seed, wish
        )
    )
    bank = Questions.load(catalogue)
    questions = draw(bank.all, learner.history.ratings(), seed, wish.questions, Filters())
    event = Drawn(
        katas=tuple(kata.slug for kata in chosen),
        questions=tuple(question.id for question in questions),
        minutes=wish.minutes,
        seed=seed,
        folder=str(fresh_folder(learner.where)),
    )
    interview = Interview.drawn(Interviews(learner.history), event, now)
    desk(session, interview).lay_out()
    return interview


def found(session: Session, action: str) -> Interview:
    """The newest one. Raises UsageError where there is none, or the word is none of ours."""
    if action not in ACTIONS:
        raise UsageError(f"kata mock takes {', '.join(ACTIONS)}, or nothing for a new interview, not {action!r}")
    interview = newest(session.learner.history)
    if interview is None:
        raise UsageError("there was no mock interview yet: `kata mock` begins one")
    return interview


def desk(session: Session, interview: Interview) -> Desk:
    catalogue = session.learner.catalogue
    return Desk(interview, session.learner.history, {slug: catalogue.get(slug) for slug in interview.state.katas})


def asked(session: Session, interview: Interview) -> dict[str, Question]:
    """The questions of the interview that are still in the bank, by id."""
    bank = {question.id: question for question in Questions.load(session.learner.catalogue).all}
    return {id: bank[id] for id in interview.state.questions if id in bank}
