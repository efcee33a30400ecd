"""Recognising a known mistake: the attempt answers the calls of a failed check exactly as the mistake does."""

import time
from collections.abc import Iterable
from typing import Any

import msgspec

from grader.comparison.compare import close
from grader.judge.run import Run
from grader.judge.seeds import derive
from grader.sandbox import wire
from grader.sandbox.program import Program, load
from grader.sandbox.proxy import Conversation, Exchange, LocalCarrier
from grader.sandbox.servant import Servant
from grader.sandbox.worker import seed_everything
from grader.verdict import CheckResult, MistakeMatch, State

BUDGET_SECONDS = 1.0
SLOW_CHECK_SECONDS = 0.3
RTOL, ATOL = 1e-4, 1e-9


def recognise(run: Run, results: list[CheckResult]) -> list[CheckResult]:
    """The results, those that did not pass with the one mistake that answers likewise, while the time lasts."""
    deadline = time.monotonic() + BUDGET_SECONDS
    return [_with_mistake(run, result, deadline) for result in results]


def _with_mistake(run: Run, result: CheckResult, deadline: float) -> CheckResult:
    conversation = run.evidence.get(result.id)
    if (
        result.state not in (State.FAILED, State.ERROR)
        or result.seconds > SLOW_CHECK_SECONDS
        or conversation is None
        or not conversation.complete
    ):
        return result
    seed = derive(run.job.seed, result.id, "worker")
    alike = [
        mistake
        for mistake in _candidates(run, result, deadline)
        if _answers_alike(run.programs.mistaken(mistake), conversation, seed)
    ]
    if len(alike) != 1 or _answers_alike(run.programs.reference, conversation, seed):
        return result
    return msgspec.structs.replace(result, mistake=MistakeMatch(alike[0].id, alike[0].advice))


def _candidates(run: Run, result: CheckResult, deadline: float) -> Iterable[Any]:
    for mistake in run.programs.mistakes:
        if mistake.caught_by == result.id and time.monotonic() < deadline:
            yield mistake


def _answers_alike(program: Program, conversation: Conversation, seed: int) -> bool:
    """Whether that program, asked the same in the same order, gives the attempt's replies."""
    carrier = LocalCarrier()
    seed_everything(seed)
    carrier.servant = Servant(program, load(program), carrier.ask)
    return all(_same_reply(carrier, exchange, conversation) for exchange in conversation.exchanges)


def _same_reply(carrier: LocalCarrier, exchange: Exchange, conversation: Conversation) -> bool:
    if exchange.reply is None:
        return False
    repeated = Exchange(exchange.request)
    reply = carrier.request(exchange.request, lambda head, buffers: conversation.called_back(repeated, head, buffers))
    if repeated.asked != exchange.asked:
        return False
    mine, theirs = (wire.decode(head, buffers, _stand_for) for head, buffers in (reply, exchange.reply))
    if mine[0] == "raise" or theirs[0] == "raise":
        return bool(mine[0] == theirs[0] and mine[1]["type_name"] == theirs[1]["type_name"])
    return close(mine[1:], theirs[1:], rtol=RTOL, atol=ATOL) and _carry_gradients(mine) == _carry_gradients(theirs)


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
