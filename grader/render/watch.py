"""The lines under a verdict that is watched."""

from pathlib import Path

from rich.console import RenderableType
from rich.text import Text

from grader.printable import printable
from grader.render.layout import Items

View = RenderableType

KEYS = (
    *(("h", "hint"), ("a", "all"), ("r", "rerun"), ("d", "diff"), ("s", "solution"), ("x", "reset")),
    *(("n", "next"), ("q", "quit")),
)


def keys_line(on: bool) -> RenderableType:
    """What can be typed; nothing where there is no keyboard."""
    return Items([Text.assemble((key, "bold cyan"), f" {word}") for key, word in KEYS]) if on else Text("")


def watched_line(path: Path) -> RenderableType:
    return Text(f"watching {printable(str(path))}: save it to check it", "dim")
