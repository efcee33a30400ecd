"""Commands about a learner's own file: start, reset, history."""

from typing import Annotated

import typer

from grader.cli.options import Kata, Slug, Yes
from grader.cli.session import Session
from grader.errors import UsageError
from grader.practice import folder
from grader.render.katas import history_view, started_view


def start(context: typer.Context, kata: Slug) -> None:
    """Write a kata's stub and prompt here; nothing is overwritten."""
    session: Session = context.obj
    learner = session.learner
    forgotten = learner.forgive_history()
    chosen = learner.kata(kata)
    started = folder.start(learner, chosen)
    created = [learner.nearby(path) for path in started.created]
    session.screen.show(started_view(chosen, learner.nearby(started.path), created))
    session.warn(forgotten)


def reset(context: typer.Context, kata: Kata = None, yes: Yes = False) -> None:
    """Begin anew with the stub; the history keeps what you have."""
    session: Session = context.obj
    chosen = session.learner.kata(kata)
    path = session.learner.nearby(session.learner.attempt(chosen))
    session.screen.require_yes(
        f"Put the stub in place of {path}? `kata history {chosen.slug}` keeps what is there.", yes
    )
    folder.reset(session.learner, chosen)
    session.screen.say(f"{path} is the stub again; `kata history {chosen.slug} --restore N` brings an old version back")


def history(
    context: typer.Context,
    kata: Kata = None,
    restore: Annotated[str | None, typer.Option("--restore", metavar="N", help="Bring version N back.")] = None,
) -> None:
    """The versions of your attempt; --restore N brings one back."""
    session: Session = context.obj
    chosen = session.learner.kata(kata)
    if restore is None:
        session.screen.show(history_view(chosen, folder.versions(session.learner, chosen)))
    else:
        path = session.learner.nearby(folder.restore(session.learner, chosen, number(restore)))
        session.screen.say(f"{path} is version {restore} again; what was there is a version too. next: kata check")


def number(text: str) -> int:
    """A version's number. Raises UsageError."""
    if not text.isdecimal():
        raise UsageError(f"--restore takes a version's number, not {text!r}: `kata history` lists them")
    return int(text)
