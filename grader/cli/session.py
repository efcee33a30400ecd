"""What the commands of one invocation share: the learner, the screen, and the grader once one is needed."""

import gc
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from grader.bank import Catalogue
from grader.cli.ticker import Ticker
from grader.errors import KataError, UsageError
from grader.history import History, default_path
from grader.practice.learner import Learner
from grader.render.screen import Screen

if TYPE_CHECKING:
    from grader.grading import Grader


class Session:
    """Built for every command; opens nothing before a command asks."""

    def __init__(
        self, stack: ExitStack, where: Path, banks: Sequence[Path], grader: "Grader | None", ticker: Ticker
    ) -> None:
        self.banks, self.ticker = banks, ticker
        self.screen = Screen(sys.stdout, sys.stderr, sys.stdin)
        load, open_history = partial(Catalogue.load, banks), partial(History.open, default_path(), now=time.time)
        self.learner = stack.enter_context(Learner(load, open_history, where, time.time))
        self._stack, self._grader = stack, grader

    def grader(self, isolation: str) -> "Grader":
        """The one that was there first of all, if it will do; else a new one, closed with the session."""
        fork = may_fork(isolation)
        if self._grader is None or self._grader.fork != fork:
            # Half of the time that a command takes which only looks.
            from grader.grading import Grader

            self._grader = self._stack.enter_context(Grader(fork=fork))
        return self._grader

    @contextmanager
    def grading(self, isolation: str = "auto", what: str = "Checking…") -> "Iterator[Grader]":
        """A grader, with a count on a terminal while it is used."""
        gc.enable()  # it was off for a quick start; from here on there is time, and with many katas garbage
        self.ticker.begin(what)
        try:
            yield self.grader(isolation)
        finally:
            self.ticker.clear()

    def warn(self, *errors: KataError | None) -> None:
        """One line for each that there is."""
        for error in errors:
            if error is not None:
                self.screen.warn(error)


def may_fork(isolation: str) -> bool:
    """`process` keeps to one interpreter for all checks; so does `auto` where forking is not known to be safe."""
    if isolation not in ("auto", "process"):
        raise UsageError(f"--isolation takes auto or process, not {isolation!r}")
    return isolation == "auto" and sys.platform == "linux"
