"""Commands that only look: kata alone, list, version."""

from typing import Annotated

import typer

from grader import __version__
from grader.cli.options import Json
from grader.cli.session import Session
from grader.practice import progress
from grader.render.katas import list_json, list_view, overview_view


def overview(context: typer.Context) -> None:
    """What is in progress, what comes next, and what to type."""
    session: Session = context.obj
    session.screen.show(overview_view(progress.overview(session.learner)))
    session.warn(*session.learner.broken)


def list_katas(
    context: typer.Context,
    track: Annotated[str | None, typer.Option("--track", help="Only katas of this track.")] = None,
    priority: Annotated[str | None, typer.Option("--priority", help="Only P0, P1 or P2.")] = None,
    json: Json = False,
) -> None:
    """All katas, with your state and best score."""
    session: Session = context.obj
    rows = progress.selected(progress.rows(session.learner), track, priority)
    if json:
        session.screen.raw(list_json(rows) + "\n")
    else:
        session.screen.show(list_view(rows))
    session.warn(*session.learner.broken)


def version(context: typer.Context) -> None:
    """The version of this program."""
    session: Session = context.obj
    session.screen.raw(f"kata {__version__}\n")
