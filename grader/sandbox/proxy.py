"""What a check holds: a module, its functions and its objects, wherever they run.

One interface, two transports. A `Carrier` takes a request's frame to a servant and brings the reply back: to a worker
over its channel, or to a servant in this process. Both pass through the same codec, so copies, types and handles
behave alike.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from grader.sandbox import frames, wire
from grader.sandbox.channel import BrokenReply, WorkerLost
from grader.sandbox.program import Program
from grader.sandbox.servant import VALUES, Report, Servant
from grader.sandbox.transcript import Asked, Exchange, Frame, Transcript

CALLBACK = msgspec.msgpack.encode(["t", ["callback", None, None, None]])[:-3]

AnswerCallback = Callable[[bytearray, list[bytearray]], list[frames.Buffer] | None]


class Raised(Exception):
    """The module raised; `report` tells what, and `exchange` which call it was."""

    def __init__(self, report: Report, exchange: Exchange) -> None:
        super().__init__(f"{report.type_name}: {report.message}")
        self.report, self.exchange = report, exchange


class Carrier(Protocol):
    def request(self, pieces: list[frames.Buffer], answer_callback: AnswerCallback) -> Frame: ...

    def lose(self, error: WorkerLost) -> None:
        """Nothing more is believed or asked; safe to call twice."""


class Host(Protocol):
    """The process side of a module: what a check may do beyond calling."""

    program: Program
    seed: int
    """Of the program's own random generators."""

    def restart(self) -> "Module": ...
    def confined(self) -> "Module": ...
    def path(self, name: str) -> str: ...
    def read_bytes(self, name: str) -> bytes: ...
    def ranks(self, count: int) -> "Ranks": ...


class Conversation:
    """Requests to one module in one process."""

    def __init__(self, carrier: Carrier, host: Host) -> None:
        self.carrier, self.host = carrier, host
        self.callbacks: list[Callable[..., Any]] = []
        self.handles: dict[int, Handle] = {}
        self.transcript = Transcript()
        self.waiting = False
        """Whether a request is on its way, so that no other can be."""
        self.objection: AssertionError | None = None
        """What a function of the check's found wrong when it was called back."""

    def ask(self, *request: Any) -> Any:
        """The reply's values, without the leading "ok". Raises Raised, or WorkerLost from a channel."""
        if self.waiting:
            raise RuntimeError("whoever calls this function waits for its answer, and cannot be asked anything before")
        exchange = Exchange(self, wire.encode(request, self.foreign))
        self.transcript.add(exchange)
        report, values = self._carried(exchange, VALUES.get(request[0], 1))
        if self.objection is not None:
            raise self.objection  # the program may have caught it
        if report is not None:
            raise Raised(report, exchange)
        self.transcript.trace(values, exchange)
        return values

    def foreign(self, value: Any) -> list[Any]:
        if isinstance(value, Handle):
            if value._conversation is not self:
                raise wire.WireError("a handle of another process cannot be an argument here")
            return ["h", value._number, ""]
        if isinstance(value, Function) and value._conversation is self:
            raise wire.WireError(f"{value._target[-1]} is over there already; a probe can pass it on")
        if callable(value) and not isinstance(value, type | Module):
            if value not in self.callbacks:
                self.callbacks.append(value)
            return ["c", self.callbacks.index(value), ""]
        raise wire.WireError(
            f"{type(value).__name__} cannot be an argument; pass plain values, tensors, arrays, handles or functions"
        )

    def resolve(self, tag: str, number: int, name: str) -> Any:
        if tag != "h":
            raise wire.WireError("a callback cannot be a result")
        return self.handles.setdefault(number, Handle(self, number, name))

    def _carried(self, exchange: Exchange, count: int) -> tuple[Report | None, list[Any]]:
        """What the program raised, or that many values. Raises WorkerLost."""
        self.waiting = True
        try:
            frame = self.carrier.request(exchange.request, lambda *frame: self.called_back(exchange, *frame))
            told = self._decode_reply(*frame, count)
        except WorkerLost as lost:
            lost.exchange = exchange  # type: ignore[attr-defined]  # known to grader.judge.seen alone
            self.carrier.lose(lost)
            raise
        finally:
            self.waiting = False
        self.transcript.add_reply(exchange, frame)
        return told

    def _decode_reply(self, head: bytes | bytearray, buffers: list[bytearray], count: int) -> tuple[Report | None, Any]:
        try:
            match wire.decode(head, buffers, self.resolve):
                case ("ok", *values) if len(values) == count:
                    return None, values
                case ("raise", dict() as report):
                    return msgspec.convert(report, Report), []
        except ValueError as error:
            raise BrokenReply(str(error)) from error
        raise BrokenReply("what arrived is not a reply")

    def called_back(self, exchange: Exchange, head: bytearray, buffers: list[bytearray]) -> list[frames.Buffer] | None:
        if not head.startswith(CALLBACK):
            return None
        try:
            _, number, args, kwargs = wire.decode(head, buffers, self.resolve)
            function = self.callbacks[range(len(self.callbacks))[number]]
        except (wire.WireError, ValueError, TypeError, IndexError) as error:
            raise BrokenReply(f"a broken call back: {error}") from error
        try:
            answer = function(*args, **kwargs)
        except Exception as error:  # whatever the check's function raises is for the attempt to see
            answer = error
            if isinstance(error, AssertionError):
                self.objection = self.objection or error
        self.transcript.add_asked(exchange, Asked((bytes(head), buffers), number, answer))
        return self.say(answer)

    def say(self, answer: Any) -> list[frames.Buffer]:
        """The answer to a call back, as it travels."""
        try:
            if not isinstance(answer, Exception):
                return wire.encode(("value", answer), self.foreign)
        except wire.WireError as error:
            answer = error
        return wire.encode(("throw", type(answer).__name__, str(answer)), self.foreign)


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

    def __getattr__(self, name: str) -> "Function":
        """A class's own function: `Stack.of`."""
        kind, *_, last = self._target
        if kind != "f" or name.startswith("_"):
            raise AttributeError(name)
        return Function(self._conversation, ("f", f"{last}.{name}"))


class Handle:
    """An object that stays over there. It has calls, method calls and `get`; `checking.fetch` copies its value."""

    __slots__ = ("_conversation", "_number", "type_name")

    def __init__(self, conversation: Conversation, number: int, type_name: str) -> None:
        self._conversation, self._number, self.type_name = conversation, number, type_name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return as_function(self)(*args, **kwargs)

    def __getattr__(self, name: str) -> Function:
        if name.startswith("_"):
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
        if name.startswith("_"):
            raise AttributeError(name)
        return Function(self._conversation, ("f", name))

    def has(self, name: str) -> bool:
        """Whether the module defines that name."""
        return bool(self._conversation.ask("has", name)[0])

    def run(self, probe: str, *args: Any) -> Any:
        """What a function of probes.py returns, run over there as `probe(module, *args)`."""
        return self._conversation.ask("run", probe, list(args))[0]

    def restart(self) -> "Module":
        """The same program in a new process, with the same scratch folder; this one and its handles are no more."""
        fresh = self._conversation.host.restart()
        fresh._conversation.transcript = self._conversation.transcript
        return fresh

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
        ranks = self._conversation.host.ranks(count)
        self._conversation.transcript.one_process_at_a_time = False
        for conversation in ranks._conversations:
            conversation.transcript = self._conversation.transcript
        return ranks


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

    def lose(self, error: WorkerLost) -> None:
        """What we wrote ourselves is not lost: the error is told, and that is all."""

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


def as_function(function: Function | Handle) -> Function:
    """What a handle is when it is called."""
    return function if isinstance(function, Function) else Function(function._conversation, ("h", function))


def is_generator(value: Any) -> bool:
    torch = wire.torch_module()
    return torch is not None and isinstance(value, torch.Generator)
