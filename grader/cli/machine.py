"""Commands about this installation: doctor."""

import typer

from grader.cli.session import Session
from grader.history import default_path
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
    for finding in examination.examine(session.learner, default_path(), session.grader("auto")):
        screen.show(finding_view(finding))
        faulty |= finding.health is Health.BAD
    raise typer.Exit(FAULTY if faulty else 0)
