"""Commands that show a text: the prompt, a hint, and once a kata is passed or given up, its answers."""

from typing import Annotated

import typer

from grader.bank.files import read_text
from grader.cli.options import Kata, Yes
from grader.cli.session import Session
from grader.practice import lessons
from grader.render import pages


def show(context: typer.Context, kata: Kata = None) -> None:
    """The exercise's text."""
    session: Session = context.obj
    session.screen.page(read_text(session.learner.kata(kata).prompt), pages.markdown)


def hint(
    context: typer.Context,
    kata: Kata = None,
    part: Annotated[str | None, typer.Option("--part", help="A part; else the first that is not passed.")] = None,
) -> None:
    """The next hint: the idea, then the steps, then nearly the code."""
    session: Session = context.obj
    found = lessons.next_hint(session.learner, session.learner.kata(kata), part)
    session.screen.page(pages.hint_text(found), pages.markdown)


def solution(
    context: typer.Context,
    kata: Kata = None,
    give_up: Annotated[bool, typer.Option("--give-up", help="See it before you pass; it is remembered.")] = False,
    yes: Yes = False,
) -> None:
    """The solution, once you pass or with --give-up."""
    session: Session = context.obj
    chosen = session.learner.kata(kata)
    if give_up and not lessons.is_open(session.learner, chosen):
        session.screen.require_yes(f"Give up on {chosen.slug}, and see the solution?", yes)
        lessons.give_up(session.learner, chosen)
    session.screen.page(lessons.solution(session.learner, chosen), pages.source)


def diff(context: typer.Context, kata: Kata = None) -> None:
    """Your attempt against the solution, once you pass."""
    session: Session = context.obj
    lines = lessons.difference(session.learner, session.learner.kata(kata))
    session.screen.page(pages.difference_text(lines), pages.difference)


def debrief(context: typer.Context, kata: Kata = None) -> None:
    """Why it works, and what is asked next, once you pass."""
    session: Session = context.obj
    session.screen.page(lessons.debrief(session.learner, session.learner.kata(kata)), pages.markdown)
