"""What passed between a check and a program, in order, and which request a value came from.

One transcript holds the requests to a module and to those that were made of it, by `restart` or in ranks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from grader.sandbox import wire

RECORDED_BYTES = 32 * 2**20
MAX_TRACED = 64

Frame = tuple[bytes | bytearray, list[bytearray]]


@dataclass(frozen=True, slots=True)
class Asked:
    """One call back during a request, and what the judge's function said to it."""

    frame: Frame
    number: int
    """Which function."""
    answer: Any
    """What it returned, or the exception that it raised."""


@dataclass(slots=True, eq=False)
class Exchange:
    """One request and its reply, as they travelled; enough to repeat it elsewhere."""

    conversation: Any
    request: list[Any]
    reply: Frame | None = None
    asked: list[Asked] = field(default_factory=list)
    """The calls back that it made, in order."""


class Transcript:
    """Remembers exchanges while they are small, and the origin of every value that came."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.latest: Exchange | None = None
        self.one_process_at_a_time = True
        """False once ranks take part: their requests cannot be repeated one after the other."""
        self._recorded_bytes = 0
        self._origins: dict[Any, tuple[Any, Exchange]] = {}

    @property
    def repeatable(self) -> bool:
        """Whether all of it was small enough to be remembered, and happened in one process at a time."""
        return self.one_process_at_a_time and self._recorded_bytes <= RECORDED_BYTES

    def add(self, exchange: Exchange) -> None:
        self.latest = exchange
        if self._has_room(exchange.request):
            self.exchanges.append(exchange)

    def add_asked(self, exchange: Exchange, asked: Asked) -> None:
        head, buffers = asked.frame
        if self._has_room([head, *buffers]):
            exchange.asked.append(asked)

    def add_reply(self, exchange: Exchange, reply: Frame) -> None:
        head, buffers = reply
        if self._has_room([head, *buffers]):
            exchange.reply = (bytes(head), buffers)

    def trace(self, value: Any, exchange: Exchange) -> None:
        """Remember that this value, and what it holds, came with that exchange, where its reply is remembered."""
        for item in _unpacked(value) if exchange.reply else ():
            identity = _identity(item)
            if identity not in self._origins or not isinstance(identity, int):
                # A handle may come again; where it came from first is told.
                self._origins[identity] = (item, exchange)

    def before(self, exchange: Exchange) -> Exchange | None:
        """The one before it, where both are remembered."""
        place = self.exchanges.index(exchange) if exchange in self.exchanges else 0
        return self.exchanges[place - 1] if place else None

    def _has_room(self, pieces: Sequence[Any]) -> bool:
        self._recorded_bytes += sum(len(piece) for piece in pieces)
        return self._recorded_bytes <= RECORDED_BYTES

    def origin(self, value: Any) -> Exchange | None:
        """The exchange that brought this very object, of a number or text the last that brought its like, or None."""
        known = self._origins.get(_identity(value))
        return known and known[1]


def _unpacked(value: Any) -> Iterator[Any]:
    yield value
    inside = _inside(value)
    for item in inside if len(inside) <= MAX_TRACED else ():
        yield from _unpacked(item)


def _inside(value: Any) -> Sequence[Any]:
    """What a container that came from a decoder holds."""
    if isinstance(value, wire.Record):
        return list(value.fields.values())
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list | tuple) else ()


def _identity(value: Any) -> Any:
    """What an object is known by. Python shares small plain values: of those, equal ones are the same."""
    return (type(value), value) if type(value) in (type(None), bool, int, float, str) else id(value)
