"""The options that several commands share. All are flags or texts: what a text means is for others to say."""

from typing import Annotated

import typer

Kata = Annotated[
    str | None, typer.Argument(help="A kata; else that of this folder, else the last started.", show_default=False)
]
Slug = Annotated[str, typer.Argument(help="A kata, as `kata list` names it.", show_default=False)]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Json = Annotated[bool, typer.Option("--json", help="For programs.")]
Isolation = Annotated[str, typer.Option("--isolation", help="auto, or process: one interpreter for all checks.")]
