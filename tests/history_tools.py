"""What the tests of the history share: a clock, a history at hand, and runs to put into it."""

from contextlib import AbstractContextManager
from pathlib import Path

from history_writer import make_verdict

from grader.history import History
from grader.verdict import State

SLUG = "toy-kata"


class Clock:
    """A clock that moves a second at each look, from 2026-01-01."""

    def __init__(self) -> None:
        self.at = 1_767_225_600.0

    def __call__(self) -> float:
        self.at += 1
        return self.at


def open_history(path: Path, busy_seconds: float = 5.0) -> AbstractContextManager[History]:
    return History.open(path, now=Clock(), busy_seconds=busy_seconds)


def run(history: History, score: int = 40, *, data: bytes = b"x", selected: bool = False, **states: State) -> int:
    """Records a run of `data` with a check for each named state; returns its number."""
    return history.record_run(make_verdict(data, score=score, **states), data, selected=selected)
