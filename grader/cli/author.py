"""Commands for those who write katas: new, lint."""

from collections.abc import Iterator
from typing import Annotated

import typer

from grader import scaffold
from grader.cli.options import Slug
from grader.cli.session import Session
from grader.cli.ticker import Ticker
from grader.grading import Grader
from grader.lint import Progress, Report, lint_all
from grader.lint import lint as lint_kata
from grader.practice.learner import Learner
from grader.render.katas import scaffold_view
from grader.render.linted import report_view

UNSOUND = 1


def new(context: typer.Context, kata: Slug) -> None:
    """Write the files of a new kata, to be filled in.

    They go into the bank that --bank names, else into this folder.
    """
    session: Session = context.obj
    learner = session.learner
    files = scaffold.create(kata, session.banks[-1] if session.banks else learner.where)
    session.screen.show(scaffold_view(kata, [learner.nearby(file) for file in files], session.banks))


def lint(
    context: typer.Context,
    kata: Annotated[str | None, typer.Argument(help="A kata; else all.", show_default=False)] = None,
    full: Annotated[bool, typer.Option("--full", help="More seeds, and every mistake against every check.")] = False,
    since: Annotated[
        str | None, typer.Option("--since", metavar="REF", help="Less for what is as it was then.")
    ] = None,
) -> None:
    """Prove that a kata keeps what is promised of katas.

    Ends with 1 where one does not.
    """
    session: Session = context.obj
    sound = True
    with session.grading(what="Linting…") as grader:
        for report in reports(session.learner, kata, grader, full, since, session.ticker):
            session.ticker.clear()
            session.screen.show(report_view(report))
            sound &= report.passed
    raise typer.Exit(0 if sound else UNSOUND)


def reports(
    learner: Learner, slug: str | None, grader: Grader, full: bool, since: str | None, ticker: Ticker
) -> Iterator[Report]:
    """Of that kata, or of all. Raises UnknownKata, and BadKata where the one that is asked for cannot be loaded."""

    def watch(progress: Progress) -> None:
        ticker.what = f"Linting {progress.kata}…"
        ticker.count(progress.done, progress.total)

    catalogue = learner.catalogue
    if slug is None:
        yield from lint_all(catalogue, grader, full=full, since=since, watch=watch)
    else:
        yield lint_kata(catalogue.get(slug), grader, full=full, catalogue=catalogue, watch=watch)
