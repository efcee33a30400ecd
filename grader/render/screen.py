"""The screen: where output goes, what it can show, and the one place that asks. Knows nothing of katas."""

import codecs
import os
from collections.abc import Callable
from typing import TextIO

from rich.console import Console, RenderableType

from grader.errors import UsageError
from grader.printable import printable

WIDEST = 100
"""Columns; longer lines are hard to read."""

ERRORS = "kata_signs"
PLAIN = str.maketrans("✓✗–·…×−≤≥“”", '+x--.x-<>""')


def _plain_signs(error: UnicodeError) -> tuple[str, int]:
    """What stands for our signs where the encoding has none: a similar letter, else the escaped code point."""
    assert isinstance(error, UnicodeEncodeError)
    plain = error.object[error.start : error.end].translate(PLAIN)
    return plain.encode("ascii", "backslashreplace").decode("ascii"), error.end


class Screen:
    """Writes to a terminal or to a pipe. Colour is for terminals alone, and NO_COLOR is heeded."""

    def __init__(self, out: TextIO, err: TextIO, answers: TextIO, *, width: int | None = None) -> None:
        codecs.register_error(ERRORS, _plain_signs)
        for stream in (out, err):
            getattr(stream, "reconfigure", lambda **_: None)(errors=ERRORS)
        getattr(answers, "reconfigure", lambda **_: None)(errors="replace")
        self.out, self.err, self.answers = out, err, answers
        self.console = Console(file=out, width=width, highlight=False, markup=False, emoji=False)
        self.console.width = min(self.console.width, WIDEST)

    @property
    def tty(self) -> bool:
        return self.console.is_terminal and not self.console.is_dumb_terminal

    @property
    def description(self) -> str:
        kind = f"{os.environ.get('TERM', 'unknown')} terminal" if self.console.is_terminal else "no terminal"
        colours = self.console.color_system or "no colour"
        return f"{kind}, {self.console.width} columns, {colours}, {self.console.encoding}"

    def show(self, *views: RenderableType) -> None:
        """Printed one below the other; no line ends in blanks."""
        self.raw("\n".join(self.rendered(*views)) + "\n")

    def rendered(self, *views: RenderableType) -> list[str]:
        """The lines that `show` would print."""
        with self.console.capture() as captured:
            self.console.print(*views, sep="\n")
        return [line.rstrip() for line in captured.get().removesuffix("\n").split("\n")]

    def raw(self, text: str) -> None:
        """As it is: for what is ours, or for a program to read."""
        self.out.write(text)
        self.out.flush()

    def say(self, line: str) -> None:
        """A line of ours, which may name files."""
        self.raw(f"{printable(line)}\n")

    def page(self, text: str, laid_out: Callable[[str], RenderableType]) -> None:
        """A longer text: laid out on a terminal, in a pipe as it is."""
        if self.tty:
            self.show(laid_out(text))
        else:
            self.raw(text if text.endswith("\n") else f"{text}\n")

    def warn(self, message: object) -> None:
        """One line on standard error."""
        self.err.write(f"kata: {printable(str(message))}\n")
        self.err.flush()

    def ask(self, prompt: str) -> str | None:
        """The line that answers, without its end; None when there are no more lines. Asks in a pipe too."""
        self.raw(prompt)
        line = self.answers.readline()
        if not (line.endswith("\n") and self.answers.isatty()):
            self.raw("\n")  # nobody has typed the line end that a terminal shows
        return line.rstrip("\r\n") if line else None

    def require_yes(self, question: str, yes: bool) -> None:
        """Asks, unless the answer came along. Raises UsageError for any other answer, or where nobody can be asked."""
        if yes:
            return
        if not self.answers.isatty():
            raise UsageError(f"{question} Nobody can be asked here: add --yes to say so")
        self.raw(f"{question} [y/N] ")
        if self.answers.readline().strip().casefold() not in ("y", "yes"):
            raise UsageError("not confirmed, so nothing was changed")
