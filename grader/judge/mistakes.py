"""Recognising a known mistake: the attempt answers the calls of a failed check exactly as the mistake does."""

import contextlib
import signal
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

import msgspec

from grader.comparison.compare import close
from grader.judge.programs import Mistake
from grader.judge.run import Run
from grader.sandbox import frames, wire
from grader.sandbox.program import Program, load
from grader.sandbox.proxy import Conversation, LocalCarrier
from grader.sandbox.servant import Servant
from grader.sandbox.transcript import Asked, Exchange, Frame, Transcript
from grader.sandbox.worker import seed_everything
from grader.verdict import CheckResult, MistakeMatch, State

BUDGET_SECONDS = 1.0
SLOW_CHECK_SECONDS = 0.3
RTOL, ATOL = 1e-4, 1e-9


class OutOfTime(BaseException):
    """The budget is spent; no `except Exception` of a mistake stops this."""


def recognise(run: Run, results: list[CheckResult]) -> list[CheckResult]:
    """The results, those that did not pass with the one mistake that answers likewise, while the time lasts."""
    deadline = time.monotonic() + BUDGET_SECONDS
    return [_with_mistake(run, result, deadline) for result in results]


def _with_mistake(run: Run, result: CheckResult, deadline: float) -> CheckResult:
    conversation = run.evidence.get(result.id)
    if (
        result.state not in (State.FAILED, State.ERROR)
        or run.cpu_seconds.get(result.id, 0.0) > SLOW_CHECK_SECONDS
        or conversation is None
        or not conversation.transcript.repeatable
    ):
        return result
    try:
        with _time_limit(deadline - time.monotonic()):
            found = _only_match(run, result, conversation.transcript)
    except OutOfTime:
        return result
    if time.monotonic() >= deadline:  # the alarm was taken for the answer of a mistake: not all have been heard
        return result
    return msgspec.structs.replace(result, mistake=found and MistakeMatch(found.id, found.advice))


def _only_match(run: Run, result: CheckResult, transcript: Transcript) -> Mistake | None:
    """The one mistake of that check that answers as the attempt did, where the reference does not. Raises OutOfTime."""
    alike = [
        mistake
        for mistake in run.programs.mistakes
        if mistake.caught_by == result.id and _answers_alike(run.programs.mistaken(mistake), transcript)
    ]
    if len(alike) != 1 or _answers_alike(run.programs.reference, transcript):
        return None
    return alike[0]


@contextlib.contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise OutOfTime after so long: a mistake may never end, and it runs in the judge."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, stop)
    # Again and again: the first may come where everything is caught.
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3), 0.05)
    try:
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:  # where the alarm came just now, in the line above
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _answers_alike(program: Program, transcript: Transcript) -> bool:
    """Whether that program, asked the same in the same order, gives the attempt's replies."""
    processes: dict[int, LocalCarrier] = {}
    for exchange in transcript.exchanges:
        key = id(exchange.conversation)
        try:
            carrier = processes[key] = processes.get(key) or _process(program, exchange.conversation.host.seed)
        except Exception:  # a mistake that does not fit the reference; lint tells
            return False
        if not _same_reply(carrier, exchange):
            return False
    return True


def _process(program: Program, seed: int) -> LocalCarrier:
    carrier = LocalCarrier()
    seed_everything(seed)
    carrier.servant = Servant(program, load(program), carrier.ask)
    return carrier


def _same_reply(carrier: LocalCarrier, exchange: Exchange) -> bool:
    if exchange.reply is None:
        return False
    caller = _Caller(exchange)
    reply = carrier.request(exchange.request, caller.answer)
    if caller.differs or caller.left:
        return False
    mine, theirs = _plain(reply), _plain(exchange.reply)
    if mine[0] == "raise" or theirs[0] == "raise":
        return bool(mine[0] == theirs[0] and mine[1]["type_name"] == theirs[1]["type_name"])
    return close(mine[1:], theirs[1:], rtol=RTOL, atol=ATOL) and _carry_gradients(mine) == _carry_gradients(theirs)


class _Caller:
    """Gives a mistake the answers that the attempt got to its calls back, as long as it asks the same."""

    def __init__(self, exchange: Exchange) -> None:
        self.conversation: Conversation = exchange.conversation
        self.left: list[Asked] = list(exchange.asked)
        self.differs = False

    def answer(self, head: bytearray, buffers: list[bytearray]) -> list[frames.Buffer]:
        asked = self.left.pop(0) if self.left else None
        if asked is None or not close(_plain((head, buffers)), _plain(asked.frame), rtol=RTOL, atol=ATOL):
            self.differs = True
            raise ValueError("another question than the attempt's")
        return self.conversation.say(asked.answer)


def _plain(frame: Frame) -> Any:
    return wire.decode(*frame, _stand_for)


def _carry_gradients(value: Any) -> list[bool]:
    """For each tensor in a reply, whether it is part of a graph."""
    if isinstance(value, list | tuple):
        return [flag for item in value for flag in _carry_gradients(item)]
    if isinstance(value, dict):
        return _carry_gradients(list(value.values()))
    flag = getattr(value, "requires_grad", None)
    return [flag] if isinstance(flag, bool) else []


def _stand_for(tag: str, number: int, _name: str) -> Any:
    return f"{tag}{number}"
