"""The options that several commands share. All are flags or texts: what a text means is for others to say."""

import re
from typing import Annotated

import typer

from grader.errors import UsageError

Kata = Annotated[
    str | None, typer.Argument(help="A kata; else that of this folder, else the last started.", show_default=False)
]
Slug = Annotated[str, typer.Argument(help="A kata, as `kata list` names it.", show_default=False)]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Json = Annotated[bool, typer.Option("--json", help="For programs.")]
Isolation = Annotated[str, typer.Option("--isolation", help="auto, or process: one interpreter for all checks.")]


def number(text: str, option: str, most: float, *, least: float = 0.01) -> float:
    """A decimal number, from `least` to `most`. Raises UsageError."""
    if not re.fullmatch(r"\d{1,6}(\.\d{1,6})?", text) or not least <= float(text) <= most:
        raise UsageError(f"{option} takes a number up to {most:g}, not {text!r}")
    return float(text)


def whole_number(text: str, option: str, most: int, *, of: str = "") -> int:
    """From 1 to `most`, of whatever is counted. Raises UsageError."""
    if not re.fullmatch("[0-9]{1,6}", text) or not 1 <= int(text) <= most:
        raise UsageError(f"{option} takes a number{of and f' of {of}'} from 1 to {most}, not {text!r}")
    return int(text)
