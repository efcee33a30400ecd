"""A process in a pseudo-terminal, whose other end types and reads."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time

from cli_tools import BANK, Person

PATIENCE = 60.0
"""Seconds; never reached where it works."""


class Terminal:
    """A process in a terminal of its own."""

    def __init__(self, person: Person, *arguments: str) -> None:
        self.ours, theirs = pty.openpty()
        self.before = termios.tcgetattr(self.ours)
        command = [sys.executable, "-m", "grader", *arguments, "--bank", str(BANK)]
        environment = person.environment(TERM="xterm-256color", COLUMNS="100", LINES="60")
        self.process = subprocess.Popen(
            command, cwd=person.where, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True
        )
        os.close(theirs)
        self.text = ""

    def until(self, *wanted: str) -> str:
        """What is shown from the last clearing of the screen on, once all of that is in it."""
        end = time.monotonic() + PATIENCE
        while not all(text in self.screen for text in wanted):
            assert time.monotonic() < end, f"{wanted} never came: {self.screen[-3000:]!r}"
            if select.select([self.ours], [], [], 0.1)[0]:
                self.text += os.read(self.ours, 65536).decode()
        return self.screen

    @property
    def screen(self) -> str:
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.text.rpartition("\x1b[H")[2])

    def forget(self) -> None:
        self.text = ""

    def type(self, keys: str) -> None:
        os.write(self.ours, keys.encode())

    def read_on(self) -> None:
        """Take what has been shown meanwhile, so that the process is never held up."""
        while select.select([self.ours], [], [], 0)[0]:
            try:
                self.text += os.read(self.ours, 65536).decode(errors="replace")
            except OSError:
                return

    def kill(self) -> None:
        """As a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.ours)
