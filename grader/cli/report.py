"""The command that reports: report."""

import time
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from grader.cli.session import Session
from grader.errors import UsageError, WorkspaceError
from grader.report.data import Report
from grader.report.gather import kata_report, mock_report, progress_report
from grader.report.pages import FORMATS


def report(
    context: typer.Context,
    kata: Annotated[str | None, typer.Option("--kata", metavar="K", help="On one kata.")] = None,
    last_mock: Annotated[bool, typer.Option("--last-mock", help="On the last mock interview.")] = False,
    form: Annotated[str, typer.Option("--format", metavar="F", help=f"One of {', '.join(FORMATS)}.")] = "html",
    output: Annotated[str | None, typer.Option("--output", metavar="FILE", help="Where; - is here.")] = None,
    open_: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
) -> None:
    """How practice goes, or --kata, or --last-mock. HTML is written to a file, the others are printed."""
    session: Session = context.obj
    if form not in FORMATS:
        raise UsageError(f"--format takes one of {', '.join(FORMATS)}, not {form!r}")
    made = chosen(session, kata, last_mock)
    text = FORMATS[form](made)
    if output == "-" or (output is None and form != "html"):
        session.screen.raw(text)
        return
    path = session.learner.where / (output or f"kata-{made.kind}-{time.strftime('%Y-%m-%d')}.{form}")
    write(path, text)
    shown = session.learner.nearby(path)
    if open_:
        webbrowser.open(path.absolute().as_uri())
    session.screen.say(f"wrote {shown}")


def chosen(session: Session, kata: str | None, last_mock: bool) -> Report:
    """Raises UsageError for both at once, and where there is nothing to tell."""
    if kata is not None and last_mock:
        raise UsageError("--kata and --last-mock are two reports: ask for one of them")
    if last_mock:
        return mock_report(session.learner)
    return (
        progress_report(session.learner) if kata is None else kata_report(session.learner, session.learner.kata(kata))
    )


def write(path: Path, text: str) -> None:
    """Raises WorkspaceError."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise WorkspaceError(f"{path} cannot be written: {error.strerror}; --output names another file") from error
