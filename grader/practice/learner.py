"""One learner at one command: the katas at hand, the folder they are in, and what is remembered of them."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import cached_property
from pathlib import Path
from typing import Self

from grader.bank import Catalogue, Kata
from grader.errors import BadKata, HistoryError, UsageError
from grader.history import History
from grader.workspace import attempt_path, find_current

OpenHistory = Callable[[], AbstractContextManager[History]]
NOWHERE = Path(":memory:")
"""SQLite's own name for a database that lasts as long as its connection."""


class Learner:
    """Reads the catalogue and opens the history once they are asked for, by the means it is given.

    `where` is absolute; `now` tells unix seconds.
    """

    def __init__(
        self, load: Callable[[], Catalogue], open_history: OpenHistory, where: Path, now: Callable[[], float]
    ) -> None:
        self._load, self._open_history, self.where, self.now = load, open_history, where, now
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._open.close()

    @cached_property
    def catalogue(self) -> Catalogue:
        """Raises BadKata where a bank that was asked for by name is none."""
        return self._load()

    @property
    def broken(self) -> Iterator[BadKata]:
        """What is wrong with katas that are at hand and cannot be used."""
        return (error for _, error in self.catalogue.broken)

    @cached_property
    def history(self) -> History:
        """Raises HistoryError."""
        return self._open.enter_context(self._open_history())

    def forgive_history(self) -> HistoryError | None:
        """What keeps the history from being opened; then one that ends with this command stands in for it."""
        try:
            self.history  # noqa: B018 - opens it
        except HistoryError as error:
            self.history = self._open.enter_context(History.open(NOWHERE, now=self.now))
            return error
        return None

    def kata(self, name: str | None) -> Kata:
        """The kata of that name, else that of this folder, else the last started. Raises UsageError."""
        return self.catalogue.get(name or find_current(self.where, self.catalogue.katas) or self._last_started())

    def attempt(self, kata: Kata) -> Path:
        """The learner's file of this kata. Raises WorkspaceError where there is none."""
        return attempt_path(kata, self.where, self.history.started_path(kata.slug))

    def nearby(self, path: Path) -> Path:
        """The path as one would type it here: relative where it lies in this folder."""
        return path.relative_to(self.where) if path.is_relative_to(self.where) else path

    def _last_started(self) -> str:
        last = self.history.last_started()
        if last is None:
            raise UsageError(
                "no kata is named, and none was started: `kata start NAME` starts one, `kata list` shows them"
            )
        return last[0]
