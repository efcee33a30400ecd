"""The command that grades many people's files: grade."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from grader.batch import Grade, Journal, Outcome, grade_all, submissions
from grader.batch.formats import FORMATS, Statistics
from grader.batch.journal import NAME
from grader.cli.options import Isolation, whole_number
from grader.cli.session import Session
from grader.errors import UsageError
from grader.grading import Options
from grader.render.batch import row_view, statistics_view

MOST_JOBS = 64


def grade(
    context: typer.Context,
    folder: Annotated[str, typer.Argument(metavar="DIR", help="A folder that holds one for each person.")],
    jobs: Annotated[str | None, typer.Option("--jobs", metavar="N", help="Attempts at once; as many as cores.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the last one was interrupted.")] = False,
    form: Annotated[str | None, typer.Option("--format", metavar="F", help=f"One of {', '.join(FORMATS)}.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Look for known mistakes too; takes longer.")] = False,
    isolation: Isolation = "auto",
) -> None:
    """Grade a folder of people: a row for each file.

    DIR/PERSON/ holds files named as `kata start` names them.

    Ends with 0 if every file has its row, whatever it says; 3 if a row is a fault of ours.
    """
    session: Session = context.obj
    count = (os.cpu_count() or 1) if jobs is None else whole_number(jobs, "--jobs", MOST_JOBS)
    write = document(form)
    files = submissions(Path(folder))
    journal, catalogue = Journal(Path(folder) / NAME), session.learner.catalogue
    if not resume:
        journal.clear()
    left = journal.left(files, catalogue)
    done, width = len(files) - len(left), max(len(file.name) for file in files)
    with session.grading(isolation, "Grading…") as grader:
        session.ticker.count(done, len(files))
        for row in grade_all(catalogue, grader, left, Options(find_mistakes=explain), count):
            journal.add(row)
            if write is None:
                session.ticker.clear()
                session.screen.show(row_view(row, width))
            done += 1
            session.ticker.count(done, len(files))
    statistics = Statistics()
    rows = statistics.counting(journal.rows(files))
    if write is None:
        deque(rows, maxlen=0)
        session.screen.show(statistics_view(statistics))
    else:
        for piece in write(rows):
            session.screen.raw(piece)
    raise typer.Exit(3 if statistics.outcomes[Outcome.FAULT] else 0)


def document(name: str | None) -> Callable[[Iterable[Grade]], Iterator[str]] | None:
    """What writes that format. Raises UsageError."""
    if name is not None and name not in FORMATS:
        raise UsageError(f"--format takes one of {', '.join(FORMATS)}, not {name!r}; leave it out for a table")
    return FORMATS[name] if name else None
