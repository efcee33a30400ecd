"""The line that counts checks while they run: on standard error, on a terminal alone, and gone in the end."""

from typing import TextIO


class Ticker:
    """Shows nothing before `begin`."""

    def __init__(self, err: TextIO, term: str) -> None:
        self.err, self.shown = err, False
        self.on = err.isatty() and term not in ("", "dumb", "unknown")
        self.done = self.total = 0

    def begin(self) -> None:
        self._show("Checking…")

    def expect(self, total: int) -> None:
        self.done, self.total = 0, total
        self._count()

    def step(self) -> None:
        self.done += 1
        self._count()

    def clear(self) -> None:
        if self.shown:
            self._write("\r\x1b[K")
            self.shown = False

    def _count(self) -> None:
        self._show(f"Checking… {self.done}/{self.total}")

    def _show(self, text: str) -> None:
        if self.on:
            self._write(f"\r{text}\x1b[K")
            self.shown = True

    def _write(self, text: str) -> None:
        encoding = self.err.encoding or "ascii"
        self.err.write(text.encode(encoding, "replace").decode(encoding))
        self.err.flush()
