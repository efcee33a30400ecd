"""Commands for those who write katas: new."""

import typer

from grader import scaffold
from grader.cli.options import Slug
from grader.cli.session import Session
from grader.render.katas import scaffold_view


def new(context: typer.Context, kata: Slug) -> None:
    """Write the files of a new kata, to be filled in.

    They go into the bank that --bank names, else into this folder.
    """
    session: Session = context.obj
    learner = session.learner
    files = scaffold.create(kata, session.banks[-1] if session.banks else learner.where)
    session.screen.show(scaffold_view(kata, [learner.nearby(file) for file in files], session.banks))
