"""What one call of a worker costs, by clocks that the worker cannot touch, or that are held to one."""

import math
import time
from dataclasses import dataclass
from typing import Any, Protocol

from grader.benching import Call
from grader.sandbox.clock import ProcessClock
from grader.sandbox.cost import channel_of, peak_bytes
from grader.sandbox.proxy import Conversation


@dataclass(slots=True)
class Cost:
    """Seconds by the clock that counts, CPU time or a GPU's events, and by the wall clock."""

    counted: float = 0.0
    wall: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.counted + other.counted, self.wall + other.wall)

    def each(self, calls: int, echo: "Cost") -> "Cost":
        """Of one of that many calls, less what carrying costs; a tenth of the reading is the least that is left."""
        return Cost(
            max(self.counted / calls - echo.counted, self.counted / calls / 10),
            max(self.wall / calls - echo.wall, self.wall / calls / 10),
        )


class Stopwatch(Protocol):
    """Reads one worker's clocks around its calls."""

    def time(self, call: Call) -> tuple[Any, Cost]:
        """The result, and what it cost."""

    def peak_bytes(self, call: Call) -> int:
        """What it needs at its highest, beyond what is held before. Raises NotMeasurable."""


class ProcessStopwatch:
    """CPU seconds, all threads together, from the end of the last call to the end of this one."""

    def __init__(self, conversation: Conversation) -> None:
        self.clock = ProcessClock(channel_of(conversation).pid)
        self.mark = self.clock.read()

    def time(self, call: Call) -> tuple[Any, Cost]:
        start = time.perf_counter()
        result = call.function(*call.args, **call.kwargs)
        wall = time.perf_counter() - start
        before, self.mark = self.mark, self.clock.read()
        return result, Cost(self.mark - before, wall)

    def peak_bytes(self, call: Call) -> int:
        return peak_bytes(call.function, *call.args, **call.kwargs)


class EventStopwatch:
    """Seconds by CUDA events that the worker reads, held to our wall clock: an attempt may have forged them.

    `beyond` is what a call may take by the wall clock besides: what is longer counts as computing.
    """

    def __init__(self, conversation: Conversation, beyond: float = math.inf) -> None:
        self.conversation, self.beyond = conversation, beyond
        conversation.ask("watch")

    def time(self, call: Call) -> tuple[Any, Cost]:
        start = time.perf_counter()
        result = call.function(*call.args, **call.kwargs)
        wall = time.perf_counter() - start
        return result, Cost(max(self._told(wall), wall - self.beyond), wall)

    def peak_bytes(self, call: Call) -> int:
        call.function(*call.args, **call.kwargs)
        told = self.conversation.ask("elapsed")[1]
        return told if isinstance(told, int) and told >= 0 else 0

    def _told(self, wall: float) -> float:
        told = self.conversation.ask("elapsed")[0]
        return told if isinstance(told, float) and 0 < told <= wall else wall


def stopwatch(conversation: Conversation, device: str, beyond: float = math.inf) -> Stopwatch:
    return EventStopwatch(conversation, beyond) if device.startswith("cuda") else ProcessStopwatch(conversation)
