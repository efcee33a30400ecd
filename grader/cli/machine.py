"""Commands about this installation: doctor, version."""

import typer

from grader import __version__
from grader.cli.session import Session
from grader.practice import doctor as examination
from grader.practice.doctor import Finding, Health
from grader.render.machine import finding_view

FAULTY = 3


def doctor(context: typer.Context) -> None:
    """Look at this machine: what works, and what does not.

    Ends with 3 where something is broken.
    """
    session: Session = context.obj
    screen = session.screen
    screen.show(finding_view(Finding("terminal", Health.GOOD, screen.description)))
    faulty = False
    for finding in examination.examine(session.learner, session.grader("auto")):
        screen.show(finding_view(finding))
        faulty |= finding.health is Health.BAD
    raise typer.Exit(FAULTY if faulty else 0)


def version(context: typer.Context) -> None:
    """The version of this program."""
    session: Session = context.obj
    session.screen.raw(f"kata {__version__}\n")
