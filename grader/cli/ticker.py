"""The line that counts checks while they run: on standard error, on a terminal alone, and gone in the end."""

from typing import TextIO


class Ticker:
    """Shows nothing before `begin`, and counts what it was last told to begin."""

    def __init__(self, err: TextIO, term: str) -> None:
        self.err, self.shown = err, False
        self.on = err.isatty() and term not in ("", "dumb", "unknown")
        self.what, self.done, self.total = "", 0, 0

    def begin(self, what: str = "Checking…") -> None:
        self.what = what
        self._show(what)

    def expect(self, total: int) -> None:
        self.count(0, total)

    def step(self) -> None:
        self.count(self.done + 1, self.total)

    def count(self, done: int, total: int) -> None:
        self.done, self.total = done, total
        self._show(f"{self.what} {done}/{total}")

    def clear(self) -> None:
        if self.shown:
            self._write("\r\x1b[K")
            self.shown = False

    def _show(self, text: str) -> None:
        if self.on:
            self._write(f"\r{text}\x1b[K")
            self.shown = True

    def _write(self, text: str) -> None:
        encoding = self.err.encoding or "ascii"
        self.err.write(text.encode(encoding, "replace").decode(encoding))
        self.err.flush()
