"""Single keys from a terminal, without Return, while a context lasts."""

import codecs
import os
import sys
import termios
import threading
import tty
from collections.abc import Callable
from typing import Any, TextIO


class Keys:
    """Calls `tell` with each key that is typed. Where there is no terminal, with none.

    The terminal is as it was afterwards, however the context ends.
    """

    def __init__(self, stdin: TextIO, tell: Callable[[str], None]) -> None:
        self.on = stdin.isatty()
        self.fd = stdin.fileno() if self.on else -1
        self.tell = tell
        self.before: list[Any] = []

    def __enter__(self) -> "Keys":
        if self.on:
            self.before = termios.tcgetattr(self.fd)
            tty.setcbreak(self.fd, termios.TCSANOW)
            threading.Thread(target=self._read, name="keys", daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        if self.on:
            termios.tcsetattr(self.fd, termios.TCSADRAIN, self.before)

    def forget(self) -> None:
        """Drop what was typed and not read."""
        if self.on:
            termios.tcflush(self.fd, termios.TCIFLUSH)

    def _read(self) -> None:
        decoder = codecs.getincrementaldecoder(sys.stdin.encoding or "ascii")("replace")
        while data := os.read(self.fd, 1024):
            for key in decoder.decode(data):
                self.tell(key)
