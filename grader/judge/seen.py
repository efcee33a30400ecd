"""What a learner is told of a check that did not pass: state, sentence, call, expected, got."""

import ast
from dataclasses import dataclass, replace
from typing import Any

from grader.comparison import describe
from grader.comparison.compare import CheckFailed
from grader.comparison.text import cut
from grader.judge.workshop import LoadFailed
from grader.printable import printable
from grader.sandbox import wire
from grader.sandbox.channel import Crashed, TimedOut, WorkerLost
from grader.sandbox.proxy import Conversation, Handle, Raised, RankFailed, opened
from grader.sandbox.servant import MAX_MESSAGE, Report
from grader.sandbox.transcript import Exchange, Transcript
from grader.verdict import State

LOADING = "loading the file"
KINDS = {"not_attempted": State.NOT_ATTEMPTED, "memory": State.MEMORY, "missing": State.ERROR, "syntax": State.ERROR}


@dataclass(frozen=True, slots=True)
class Seen:
    """How a check ended, in the words of a `CheckResult`."""

    state: State
    message: str = ""
    call: str = ""
    expected: str = ""
    got: str = ""


PASSED = Seen(State.PASSED)


def seen(error: BaseException, conversation: Conversation | None) -> Seen | None:
    """What that exception means for the check; None when it is none that an attempt causes.

    `conversation` is the one with the attempt, where there is one yet. What the reference raised is not the attempt's.
    """
    if isinstance(error, RankFailed):
        inner = seen(error.cause, conversation)
        return inner and replace(inner, message=f"rank {error.rank}: {inner.message}")
    if isinstance(error, CheckFailed):
        return _failed(error, conversation)
    if isinstance(error, AssertionError):
        return Seen(State.FAILED, _told(error), call=_last_call(conversation))
    if isinstance(error, LoadFailed):
        return _reported(error.report, LOADING)
    if not isinstance(error, Raised | WorkerLost):
        return None
    exchange: Exchange | None = getattr(error, "exchange", None)
    if exchange is not None and (
        conversation is None or exchange.conversation.transcript is not conversation.transcript
    ):
        return None
    return _reported(error.report, call_of(exchange)) if isinstance(error, Raised) else _lost(error, exchange)


def unusable(error: BaseException, conversation: Conversation | None) -> Seen:
    """The check tripped over what the attempt returned, though not over what the reference returns."""
    return Seen(
        State.FAILED,
        f"what came back could not be used: {type(error).__name__}: {_told(error)}",
        call=_last_call(conversation),
    )


def call_of(exchange: Exchange | None) -> str:
    """The call of an exchange as a learner would write it."""
    if exchange is None:
        return ""
    conversation = exchange.conversation
    op, *rest = wire.decode(
        *opened(exchange.request), lambda tag, number, _name: StandIn(tag, number, conversation.handles)
    )
    if op == "call":
        return describe.call(_name(rest[0]), rest[1], rest[2])
    if op == "forward":
        return "gradients of " + describe.call(_name(rest[0]), [], rest[1])
    if op == "run":
        return _probe(conversation.host.program.probes, rest[0])
    if op == "backward":
        return call_of(conversation.transcript.before(exchange))
    if op == "fetch":
        return call_of(conversation.transcript.origin(rest[0].handle))
    if op == "get":
        return _part_of(rest[1], rest[0], conversation)
    return "joining the process group" if op == "join" else ""


def _probe(source: bytes, name: str) -> str:
    """The first line of a probe's docstring, which its author wrote as the call that it makes."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            told = (ast.get_docstring(node) or "").partition("\n")[0]
            return told or f"a probe of the checks ({name})"
    return f"a probe of the checks ({name})"


def _part_of(field: str | int, owner: "StandIn", conversation: Conversation) -> str:
    what = f"item {field}" if isinstance(field, int) else f"field {field}"
    maker = conversation.transcript.origin(owner.handle)
    return f"{what} of {call_of(maker) if maker else owner.type_name}"


class StandIn:
    """Stands for a handle or a function in the description of a call."""

    def __init__(self, tag: str, number: int, handles: dict[int, Handle]) -> None:
        self.handle = handles.get(number) if tag == "h" else None
        self.type_name = self.handle.type_name if self.handle else ("object" if tag == "h" else "function")


def _name(target: tuple[Any, ...]) -> str:
    if target[0] == "f":
        return str(target[1])
    owner = target[1].type_name
    return owner if target[0] == "h" else f"{owner}.{target[2]}"


def _failed(error: CheckFailed, conversation: Conversation | None) -> Seen:
    transcript = conversation.transcript if conversation else Transcript()
    exchange = transcript.latest
    if hasattr(error, "subject") and not isinstance(error.subject, Handle):
        exchange = transcript.origin(error.subject) or exchange
    return Seen(State.FAILED, _told(error), call_of(exchange), error.expected, error.got)


def _last_call(conversation: Conversation | None) -> str:
    return call_of(conversation.transcript.latest) if conversation else ""


def _lost(error: WorkerLost, exchange: Exchange | None) -> Seen:
    call = call_of(exchange) or LOADING
    states: dict[type[WorkerLost], State] = {TimedOut: State.TIMEOUT, Crashed: State.CRASHED}
    return Seen(states.get(type(error), State.ERROR), _told(error), call)


def _told(error: BaseException) -> str:
    """What an exception says; parts of it may come from the attempt."""
    return cut(printable(cut(str(error), MAX_MESSAGE)), MAX_MESSAGE)


def _reported(report: Report, call: str) -> Seen:
    state = KINDS.get(report.kind, State.ERROR)
    lines = [printable(_sentence(report))]
    lines += [
        printable(f"line {number}{f', in {function}' if function else ''}: {text.strip()}")
        for number, function, text in report.frames
    ]
    return Seen(state, "\n".join(lines), call)


def _sentence(report: Report) -> str:
    if report.kind == "missing":
        return f"{report.message} is not defined in your file: is it misspelt or removed?"
    if report.kind == "not_attempted":
        return f"not attempted yet: {report.message}" if report.message else "not attempted yet"
    if report.kind == "memory":
        return f"out of memory: {report.message}"
    if report.type_name == "SystemExit":
        return f"it called exit ({report.message}); a function returns instead"
    if report.type_name == "ModuleNotFoundError":
        return f"{report.message}; your file may import Python's library, the kata's libraries and given files"
    return f"{report.type_name}: {report.message}"
