"""One interview in one process: every event is judged, written down, and only then believed."""

import secrets
from collections.abc import Callable
from typing import Self

import msgspec

from grader.errors import UsageError
from grader.history import History, Interviews, Outrun
from grader.mock.events import Drawn, Event, Opened
from grader.mock.moment import Moment, now
from grader.mock.state import Impossible, State, apply, at_moment, begin


class Entry(msgspec.Struct, frozen=True):
    """An event as it is kept."""

    at: Moment
    event: Event


class Interview:
    """An interview that this process may be driving. Every event goes through `do`."""

    def __init__(self, store: Interviews, number: int, clock: Callable[[], Moment]) -> None:
        """An interview that was drawn before. Raises UsageError where there is nothing of it."""
        self.store, self.number, self.clock = store, number, clock
        self.terminal = secrets.token_hex(8)
        self.length = 0
        self.state = self._replayed()

    @classmethod
    def drawn(cls, store: Interviews, event: Drawn, clock: Callable[[], Moment]) -> Self:
        """A new one. Raises UsageError for one of nothing."""
        at = clock()
        try:
            begin(event, at)
        except Impossible as error:
            raise UsageError(f"{error}: `kata mock --help` shows how to ask for more") from error
        number = store.create()
        store.append(number, 0, _written(at, event))
        return cls(store, number, clock)

    def open(self) -> None:
        """From now on this terminal drives it, and no other does."""
        while True:
            try:
                self._append(Opened(self.terminal))
            except Outrun:
                self.state = self._replayed()
            else:
                return

    def do(self, event: Event) -> State:
        """The state after the event, which is on disk by then.

        Raises Impossible where it cannot happen, and Outrun where another terminal has taken over.
        """
        return self._append(event)

    def look(self) -> State:
        """The interview as it is now; writes nothing."""
        return at_moment(self.state, self.clock())

    def _append(self, event: Event) -> State:
        at = self.clock()
        state = apply(self.state, event, at)
        self.store.append(self.number, self.length, _written(at, event))
        self.state, self.length = state, self.length + 1
        return state

    def _replayed(self) -> State:
        entries = [msgspec.json.decode(text, type=Entry) for text in self.store.events(self.number)]
        if not entries or not isinstance(entries[0].event, Drawn):
            raise UsageError(f"mock interview {self.number} was never drawn: `kata mock` begins one")
        state = begin(entries[0].event, entries[0].at)
        for entry in entries[1:]:
            state = apply(state, entry.event, entry.at)
        self.length = len(entries)
        return state


def newest(history: History) -> Interview | None:
    """The interview that was begun last, over or not."""
    store = Interviews(history)
    number = store.newest()
    return None if number is None else Interview(store, number, now)


def _written(at: Moment, event: Event) -> str:
    return msgspec.json.encode(Entry(at, event)).decode()
