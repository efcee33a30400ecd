"""The commands by name, each loaded when it is asked for, so that looking is fast however much grading imports."""

from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from grader.cli.look import overview
from grader.cli.session import Session
from grader.errors import UsageError

COMMANDS = {
    "list": "look:list_katas",
    "start": "work:start",
    "show": "read:show",
    "check": "judge:check",
    "watch": "watch:watch",
    "replay": "judge:replay",
    "bench": "judge:bench",
    "hint": "read:hint",
    "solution": "read:solution",
    "diff": "read:diff",
    "debrief": "read:debrief",
    "quiz": "quiz:quiz",
    "mock": "mock:mock",
    "plan": "plan:plan",
    "report": "report:report",
    "reset": "work:reset",
    "history": "work:history",
    "grade": "batch:grade",
    "doctor": "machine:doctor",
    "new": "author:new",
    "lint": "author:lint",
    "version": "look:version",
}
"""Module of this package and function, in the order in which help shows them."""

PLAIN: dict[str, Any] = {"add_completion": False, "rich_markup_mode": None, "pretty_exceptions_enable": False}
Misused: type[Exception] = typer.BadParameter.__bases__[0]
"""typer's error for arguments it cannot understand; it has no public name."""


class AsTyped:
    """Takes an option's text as it is: typer's own way imports pydantic, half of the time of a whole `kata list`."""

    def coerce(self, value: Any, **_where: Any) -> Any:
        return value


class Command(TyperCommand):
    """A command whose options are flags and texts."""

    def get_params(self, ctx: Any) -> Any:
        return as_typed(super().get_params(ctx))


class Commands(TyperGroup):
    """Loads a command when it is named."""

    def get_params(self, ctx: Any) -> Any:
        return as_typed(super().get_params(ctx))

    def list_commands(self, ctx: Any) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        del ctx
        if cmd_name not in COMMANDS:
            near = get_close_matches(cmd_name, COMMANDS, n=3)
            hint = f"did you mean {', '.join(near)}? " if near else ""
            raise UsageError(f"there is no command {cmd_name!r}: {hint}`kata --help` shows them all")
        module, _, function = COMMANDS[cmd_name].partition(":")
        single = typer.Typer(**PLAIN)
        single.command(cmd_name, cls=Command)(getattr(import_module(f"grader.cli.{module}"), function))
        return typer.main.get_command(single)


def as_typed(parameters: list[Any]) -> list[Any]:
    for parameter in parameters:
        parameter._runtime_param = AsTyped()  # private: a typer without it does not read it, and is only slower
    return parameters


app = typer.Typer(cls=Commands, epilog="--bank PATH, with any command, adds a folder of katas.", **PLAIN)


@app.callback(invoke_without_command=True)
def root(context: typer.Context) -> None:
    """Exercises for ML post-training interviews, graded by hidden checks."""
    if context.invoked_subcommand is None:
        overview(context)


def invoke(arguments: Sequence[str], session: Session) -> int:
    """Run a command; returns its exit code. Raises KataError, KeyboardInterrupt, and BrokenPipeError."""
    try:
        code = app(list(arguments), prog_name="kata", standalone_mode=False, obj=session)
    except Misused as error:
        told = error.format_message() if hasattr(error, "format_message") else str(error)
        raise UsageError(
            f"{told.rstrip('.')}: `kata --help` shows the commands, `kata COMMAND --help` their options"
        ) from None
    except SystemExit:
        # All that typer ends a process for, and with 1, which here means that an attempt did not pass.
        raise BrokenPipeError from None
    except typer.Abort:
        raise KeyboardInterrupt from None
    return code if isinstance(code, int) else 0
