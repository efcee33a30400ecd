"""Mock interviews as they were written down: numbered events of each, in order, none ever changed.

What an event means is the interview's business; here it is a text with a number. Two processes that write the same
number are told apart: the second has seen an older interview than there is.
"""

import sqlite3

from grader.errors import HistoryError
from grader.history.store import History


class Outrun(HistoryError):
    """Another process wrote that event first: read the interview again."""


class Interviews:
    """The interviews of a history."""

    def __init__(self, history: History) -> None:
        self._history = history

    def create(self) -> int:
        """A new one without events; returns its number."""
        with self._history.writing() as db:
            row = db.execute("INSERT INTO interviews (at, utc) VALUES (?, ?)", self._history.moment())
            return int(row.lastrowid or 0)

    def append(self, interview: int, n: int, event: str) -> None:
        """Write event number `n`, counted from 0. Raises Outrun where there is one already."""
        try:
            with self._history.writing() as db:
                db.execute("INSERT INTO interview_events VALUES (?, ?, ?)", (interview, n, event))
        except HistoryError as error:
            if isinstance(error.__cause__, sqlite3.IntegrityError):
                raise Outrun("another terminal has gone on with this interview: `kata mock resume`") from error
            raise

    def events(self, interview: int) -> list[str]:
        rows = self._history.read("SELECT event FROM interview_events WHERE interview = ? ORDER BY n", interview)
        return [event for (event,) in rows]

    def newest(self) -> int | None:
        """The number of the last one made."""
        rows = self._history.read("SELECT max(id) FROM interviews")
        return rows[0][0] if rows else None
