"""What a check holds: a module, its functions and its objects, wherever they run.

One interface, two transports. A `Carrier` takes a request's frame to a servant and brings the reply back: to a worker
over its channel, or to a servant in this process. Both pass through the same codec, so copies, types and handles
behave alike.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from grader.sandbox import frames, wire
from grader.sandbox.channel import BrokenReply
from grader.sandbox.servant import Report, Servant

RECORDED_BYTES = 32 * 2**20
CALLBACK = msgspec.msgpack.encode(["t", ["callback", None, None, None]])[:-3]

AnswerCallback = Callable[[bytearray, list[bytearray]], list[frames.Buffer] | None]
Frame = tuple[bytes | bytearray, list[bytearray]]


class Raised(Exception):
    """The module raised; `report` tells what, and `exchange` which call it was."""

    def __init__(self, report: Report, exchange: "Exchange") -> None:
        super().__init__(f"{report.type_name}: {report.message}")
        self.report, self.exchange = report, exchange


class Carrier(Protocol):
    def request(self, pieces: list[frames.Buffer], answer_callback: AnswerCallback) -> Frame: ...


class Host(Protocol):
    """The process side of a module: what a check may do beyond calling."""

    def restart(self) -> "Module": ...
    def confined(self) -> "Module": ...
    def path(self, name: str) -> str: ...
    def read_bytes(self, name: str) -> bytes: ...
    def ranks(self, count: int) -> "Ranks": ...


class Exchange(msgspec.Struct):
    """One request and its reply, as they travelled; enough to repeat it elsewhere."""

    request: list[Any]
    reply: Frame | None = None
    asked: list[bytes] = []
    """The heads of the callbacks it made, in order."""
    answered: list[Any] = []
    """What the judge's functions returned to them."""


class Conversation:
    """Requests to one module in one process, all of them remembered while they are small."""

    def __init__(self, carrier: Carrier, host: Host) -> None:
        self.carrier, self.host = carrier, host
        self.callbacks: list[Callable[..., Any]] = []
        self.handles: dict[int, Handle] = {}
        self.exchanges: list[Exchange] = []
        self.origins: dict[int, tuple[Any, Exchange]] = {}
        self.recorded_bytes = 0

    def ask(self, *request: Any) -> Any:
        """The reply's values, without the leading "ok". Raises Raised, or WorkerLost from a channel."""
        pieces = wire.encode(request, self.foreign)
        exchange = Exchange(pieces)
        self._remember(exchange)
        head, buffers = self.carrier.request(pieces, lambda head, buffers: self.called_back(exchange, head, buffers))
        exchange.reply = (bytes(head), buffers)
        verdict, *values = self._decode_reply(head, buffers)
        if verdict == "raise":
            raise Raised(msgspec.convert(values[0], Report), exchange)
        self._trace(values, exchange)
        return values

    def foreign(self, value: Any) -> list[Any]:
        if isinstance(value, Handle):
            if value._conversation is not self:
                raise wire.WireError("a handle of another process cannot be an argument here")
            return ["h", value._number, ""]
        if callable(value):
            if value not in self.callbacks:
                self.callbacks.append(value)
            return ["c", self.callbacks.index(value), ""]
        raise wire.WireError(
            f"a {type(value).__name__} cannot be an argument; pass plain values, tensors, arrays, handles or functions"
        )

    def resolve(self, tag: str, number: int, name: str) -> Any:
        if tag != "h":
            raise wire.WireError("a callback cannot be a result")
        return self.handles.setdefault(number, Handle(self, number, name))

    def origin(self, value: Any) -> Exchange | None:
        """The exchange that brought this very object, or the latest one."""
        known = self.origins.get(id(value))
        if known is not None:
            return known[1]
        return self.exchanges[-1] if self.exchanges else None

    @property
    def complete(self) -> bool:
        """Whether every exchange was small enough to be remembered."""
        return self.recorded_bytes <= RECORDED_BYTES

    def _decode_reply(self, head: bytes | bytearray, buffers: list[bytearray]) -> list[Any]:
        try:
            reply = wire.decode(head, buffers, self.resolve)
        except wire.WireError as error:
            raise BrokenReply(str(error)) from error
        if not isinstance(reply, tuple) or not reply or reply[0] not in ("ok", "raise"):
            raise BrokenReply("what arrived is not a reply")
        return list(reply)

    def called_back(self, exchange: Exchange, head: bytearray, buffers: list[bytearray]) -> list[frames.Buffer] | None:
        if not head.startswith(CALLBACK):
            return None
        try:
            _, number, args, kwargs = wire.decode(head, buffers, self.resolve)
            function = self.callbacks[range(len(self.callbacks))[number]]
        except (wire.WireError, ValueError, TypeError, IndexError) as error:
            raise BrokenReply(f"a broken call back: {error}") from error
        exchange.asked.append(bytes(head))
        try:
            exchange.answered.append(function(*args, **kwargs))
            return wire.encode(("value", exchange.answered[-1]), self.foreign)
        except Exception as error:  # whatever the check's function raises is for the attempt to see
            return wire.encode(("throw", type(error).__name__, str(error)), self.foreign)

    def _remember(self, exchange: Exchange) -> None:
        self.recorded_bytes += sum(len(piece) for piece in exchange.request)
        if self.recorded_bytes <= RECORDED_BYTES:
            self.exchanges.append(exchange)

    def _trace(self, values: Sequence[Any], exchange: Exchange) -> None:
        for value in values:
            if type(value) in (list, tuple, dict) and len(value) <= 64:
                self._trace(list(value.values()) if isinstance(value, dict) else value, exchange)
            if value is not None and not isinstance(value, bool | int | float | str):
                self.origins[id(value)] = (value, exchange)


class Function:
    """A function, class or method over there. Calling it copies the arguments there and the result back."""

    __slots__ = ("_conversation", "_keep", "_target")

    def __init__(self, conversation: Conversation, target: tuple[Any, ...], keep: bool = False) -> None:
        self._conversation, self._target, self._keep = conversation, target, keep

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._call(args, kwargs, echo=False)[0]

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any], *, echo: bool) -> tuple[Any, Any]:
        result, states, echoed = self._conversation.ask("call", self._target, list(args), kwargs, self._keep, echo)
        generators = [x for x in (*args, *kwargs.values()) if is_generator(x)]
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state.get_state())
        return result, echoed


class Handle:
    """An object that stays over there. It has calls, method calls and `get`; `checking.fetch` copies its value."""

    __slots__ = ("_conversation", "_number", "type_name")

    def __init__(self, conversation: Conversation, number: int, type_name: str) -> None:
        self._conversation, self._number, self.type_name = conversation, number, type_name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return Function(self._conversation, ("h", self))(*args, **kwargs)

    def __getattr__(self, name: str) -> Function:
        if name.startswith("__"):
            raise AttributeError(name)
        return Function(self._conversation, ("m", self, name))

    def __repr__(self) -> str:
        return f"<{self.type_name} over there>"

    def get(self, field: str | int, *, keep: bool = False) -> Any:
        """An attribute, an item by position, or an entry of a dict; with `keep` a handle of it, whatever it is."""
        return self._conversation.ask("get", self, field, keep)[0]


class Module:
    """An attempt or a reference, as a check sees it."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation

    def __getattr__(self, name: str) -> Function:
        if name.startswith("__"):
            raise AttributeError(name)
        return Function(self._conversation, ("f", name))

    def has(self, name: str) -> bool:
        """Whether the module defines that name."""
        return bool(self._conversation.ask("has", name)[0])

    def run(self, probe: str, *args: Any) -> Any:
        """What a function of probes.py returns, run over there as `probe(module, *args)`."""
        return self._conversation.ask("run", probe, list(args))[0]

    def restart(self) -> "Module":
        """The same program in a new process, with the same scratch folder."""
        return self._conversation.host.restart()

    def confined(self) -> "Module":
        """The same program in a confined process of its own; an attempt is in one already."""
        return self._conversation.host.confined()

    def path(self, name: str) -> str:
        """The path of a file in the scratch folder, to be an argument."""
        return self._conversation.host.path(name)

    def read_bytes(self, name: str) -> bytes:
        """What that file holds now; bytes, never loaded."""
        return self._conversation.host.read_bytes(name)

    def ranks(self, count: int) -> "Ranks":
        """That many processes with a gloo process group between them, and no other network."""
        return self._conversation.host.ranks(count)


class RankFailed(Exception):
    """One rank of several went wrong; `cause` is what it would have raised alone."""

    def __init__(self, rank: int, cause: Exception) -> None:
        super().__init__(f"rank {rank}: {cause}")
        self.rank, self.cause = rank, cause


class Ranks:
    """Several processes that run the same program together."""

    def __init__(
        self, conversations: Sequence[Conversation], ask_all: Callable[[list[tuple[Any, ...]]], list[Any]]
    ) -> None:
        self._conversations, self._ask_all = conversations, ask_all

    def run(self, probe: str, *args: Any) -> list[Any]:
        """The probe in every rank at once with the same arguments; one result a rank. Raises RankFailed."""
        return self.run_each(probe, [args] * len(self._conversations))

    def run_each(self, probe: str, args: Sequence[Sequence[Any]]) -> list[Any]:
        """The probe in every rank at once, each with arguments of its own."""
        return self._ask_all([("run", probe, list(own)) for own in args])


class LocalCarrier:
    """Takes requests to a servant in this process: for what we wrote ourselves."""

    def __init__(self) -> None:
        self.servant: Servant | None = None
        self.answer_callback: AnswerCallback | None = None

    def request(self, pieces: list[frames.Buffer], answer_callback: AnswerCallback) -> Frame:
        assert self.servant is not None
        self.answer_callback = answer_callback
        head, buffers = opened(pieces)
        return opened(self.servant.answer(head, buffers))

    def ask(self, number: int, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """What the servant calls for a callback."""
        assert self.servant is not None
        assert self.answer_callback is not None
        head, buffers = opened(self.servant.pack(("callback", number, list(args), dict(kwargs))))
        answer = self.answer_callback(bytearray(head), buffers)
        assert answer is not None
        verdict, *rest = wire.decode(*opened(answer), self.servant.resolve)
        if verdict == "value":
            return rest[0]
        raise wire.builtin_error(rest[0])(rest[1])


def opened(pieces: list[frames.Buffer]) -> Frame:
    """The head and the buffers of a frame that never left this process; buffers are copied as a socket would."""
    return bytes(pieces[1]), [bytearray(piece) for piece in pieces[2:]]


def is_generator(value: Any) -> bool:
    torch = wire.torch_module()
    return torch is not None and isinstance(value, torch.Generator)
