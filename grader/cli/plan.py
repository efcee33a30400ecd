"""The command that plans: plan."""

from datetime import date
from typing import Annotated

import typer

from grader.cli.options import number
from grader.cli.session import Session
from grader.errors import UsageError
from grader.history import Progress
from grader.practice.calendar import as_ics, as_markdown
from grader.practice.due import due_now
from grader.practice.plan import Phase, Plan, preset
from grader.practice.plan import plan as planned
from grader.practice.progress import rows, selected
from grader.render.plan import plan_view

MOST_WEEKS, MOST_HOURS = 52, 60


def plan(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="[PRESET]", help="sprint, nine-weeks or course.")] = None,
    weeks: Annotated[str | None, typer.Option("--weeks", metavar="N", help="How many; 3.")] = None,
    hours: Annotated[str | None, typer.Option("--hours", metavar="H", help="A week; 8.")] = None,
    track: Annotated[str | None, typer.Option("--track", metavar="T", help="Only katas of this track.")] = None,
    first: Annotated[str | None, typer.Option("--from", metavar="DATE", help="2026-01-31; else today.")] = None,
    form: Annotated[str | None, typer.Option("--format", metavar="F", help="md or ics.")] = None,
) -> None:
    """A day-by-day schedule of katas and questions."""
    session: Session = context.obj
    if form not in (None, "md", "ics"):
        raise UsageError(f"--format takes md or ics, not {form!r}; leave it out for a table")
    made = make(session, name, weeks, hours, track, first)
    if form is None:
        session.screen.show(plan_view(made))
    else:
        session.screen.raw(as_markdown(made) if form == "md" else as_ics(made, session.learner.now()))


def make(
    session: Session, name: str | None, weeks: str | None, hours: str | None, track: str | None, first: str | None
) -> Plan:
    """Raises UsageError for what means nothing."""
    learner = session.learner
    session.warn(learner.forgive_history())
    chosen = preset(name) if name is not None else None
    if chosen is not None and weeks is not None:
        raise UsageError(f"{chosen.name} has its own {chosen.weeks} weeks: leave --weeks out, or the name")
    phases = (
        chosen.phases if chosen else (Phase("by priority", int(number(weeks or "3", "--weeks", MOST_WEEKS, least=1))),)
    )
    every = selected(rows(learner), track, None)
    if not every:
        raise UsageError(f"no kata is of track {track!r}: `kata list` shows the tracks")
    passed = {row.kata.slug for row in every if row.standing.state is Progress.PASSED}
    a_week = number(hours or str(chosen.hours if chosen else 8), "--hours", MOST_HOURS, least=1)
    due = [one.kata.slug for one in due_now(learner)]
    begins = date.today() if first is None else day(first)
    return planned([row.kata for row in every], passed, due, phases, a_week, begins)


def day(text: str) -> date:
    """Raises UsageError."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--from takes a date such as 2026-01-31, not {text!r}") from None
