"""Writing the calls of a failed check as a script that a learner can run, and step through, without any of our code."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from grader.judge.literals import Literals, Named, Unknown
from grader.judge.protocol import Replay
from grader.judge.run import Run
from grader.printable import printable
from grader.sandbox import wire
from grader.sandbox.proxy import Handle, opened
from grader.sandbox.transcript import Exchange, Transcript
from grader.verdict import CheckResult, State

PASSING = (
    State.PASSED,
    State.WAITING,
    State.NOT_SELECTED,
    State.NOT_ATTEMPTED,
    State.NOT_MEASURABLE,
    State.HARNESS_FAULT,
)
STOP = "breakpoint()  # step into the last call with `s`, look around with `p`, go on with `c`"
ANSWERS = '''

class Answers:
    """A function of the check: gives the answers that it gave, in order."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def __call__(self, *args, **kwargs):
        print("asked", args, kwargs)
        if not self.answers:
            raise RuntimeError("the check was not asked so often")
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer
'''
GENERATOR = '''

def generator(state):
    """A generator in the state in which the check passed it."""
    made = torch.Generator()
    made.set_state(state)
    return made
'''


def write(run: Run, results: Sequence[CheckResult]) -> None:
    """Emit a replay of the first check that did not pass and has calls to repeat; nothing when there is none."""
    for result in results:
        conversation = run.evidence.get(result.id)
        if result.state in PASSING or conversation is None:
            continue
        scratch = str(PurePath(conversation.host.path("any")).parent)
        script = Script(run.programs.kata.module_name, result, conversation.host.seed, Literals(scratch))
        if script.repeats(conversation.transcript):
            run.emit(script.replay())
            return


class Script:
    """The script in the making."""

    def __init__(self, module: str, result: CheckResult, seed: int, literals: Literals) -> None:
        self.module, self.result, self.seed, self.literals = module, result, seed, literals
        self.known: dict[tuple[int, int], str] = {}
        """(process, number of a handle) → the expression that the script has for it"""
        self.answers: dict[str, list[str]] = {}
        self.steps: list[str] = []
        self.last_call: int | None = None
        """Which step is the last that runs the learner's code."""
        self.leaves = "[]"

    def repeats(self, transcript: Transcript) -> bool:
        """Write the steps of these exchanges; whether any can be repeated at all."""
        process: Any = None
        for index, exchange in enumerate(transcript.exchanges):
            if process not in (None, exchange.conversation):
                self.steps += ["# here the check started a new process", *self._seeds()]
                self.steps.append(f"importlib.reload({self.module})")
                self.literals.uses.add("importlib")
            process = exchange.conversation
            self._add(index, exchange, last=exchange is transcript.latest)
        return self.last_call is not None

    def replay(self) -> Replay:
        suffix = ".pt" if self.literals.torch else ".npz"
        assert self.last_call is not None
        steps = [*self.steps[: self.last_call], STOP, *self.steps[self.last_call :]]
        lines = [*self._head(suffix), *steps, *self._tail()]
        return Replay(self.result.id, "\n".join(lines) + "\n", self.literals.data(), suffix)

    def _add(self, index: int, exchange: Exchange, *, last: bool) -> None:
        try:
            step = self._step(index, exchange)
        except Unknown:
            step = "# here the check did something with what its own code had found"
        if not step:
            return
        reply = self._reply(exchange)
        if reply[0] == "ok":
            self._name_handles(exchange, f"r{index}", reply[1] if len(reply) > 1 else None)
        elif not last:
            caught = ["except Exception as error:", f'    print("r{index}: raised", repr(error))']
            step = "\n".join(["try:", *(f"    {line}" for line in step.splitlines()), *caught])
        self.steps.append(step)

    def _step(self, index: int, exchange: Exchange) -> str:
        op, *rest = wire.decode(*opened(exchange.request), self._resolver(exchange))
        self._add_answers(exchange)
        return _WRITERS[op](self, f"r{index}", *rest)

    def _resolver(self, exchange: Exchange) -> Callable[[str, int, str], Named]:
        process = id(exchange.conversation)

        def resolve(tag: str, number: int, _name: str) -> Named:
            if tag == "h":
                return Named(self.known.get((process, number)))
            name = f"answers_{number}"
            self.answers.setdefault(name, [])
            return Named(name)

        return resolve

    def _add_answers(self, exchange: Exchange) -> None:
        for asked in exchange.asked:
            said = wire.decode(*opened(exchange.conversation.say(asked.answer)), self._resolver(exchange))
            error = f"{wire.builtin_error(said[1]).__name__}({said[2]!r})" if said[0] == "throw" else ""
            self.answers[f"answers_{asked.number}"].append(error or self.literals.source(said[1]))

    def _reply(self, exchange: Exchange) -> Any:
        """The values of a reply; where there is none, or it raised, they are not to be named."""
        if exchange.reply is None:
            return ("lost",)
        return wire.decode(*exchange.reply, lambda _tag, number, name: Handle(exchange.conversation, number, name))

    def _name_handles(self, exchange: Exchange, path: str, value: Any) -> None:
        if isinstance(value, Handle):
            self.known.setdefault((id(exchange.conversation), value._number), path)
        elif isinstance(value, list | tuple):
            for index, item in enumerate(value):
                self._name_handles(exchange, f"{path}[{index}]", item)
        elif isinstance(value, dict):
            for key, item in value.items():
                self._name_handles(exchange, f"{path}[{key!r}]", item)
        elif isinstance(value, wire.Record):
            for name, item in value.fields.items():
                self._name_handles(exchange, f"{path}.{name}", item)

    def _call_step(self, result: str, target: Any, args: list[Any], kwargs: dict[str, Any], *_how: Any) -> str:
        return _shown(result, self._call(target, args, kwargs))

    def _forward_step(self, result: str, target: Any, kwargs: dict[str, Any], wrt: list[str], output: int) -> str:
        plain = {name: f"{result}_{name}" for name in wrt if "." not in name}
        ready = [f"{leaf} = {self.literals.source(kwargs[name])}.requires_grad_()" for name, leaf in plain.items()]
        call = self._call(target, [], kwargs | {name: Named(leaf) for name, leaf in plain.items()})
        models = [self.literals.source(kwargs[name.partition(".")[0]]) for name in wrt if "." in name]
        self.leaves = f"[{', '.join([*plain.values(), *(f'*{model}.parameters()' for model in models)])}]"
        pick = f"{result} = {result}[{output}] if isinstance({result}, (tuple, list)) else {result}"
        return "\n".join([*ready, f"{result} = {call}", pick, f'print("{result} =", {result})'])

    def _backward_step(self, result: str, upstream: Any) -> str:
        output = f"r{int(result[1:]) - 1}"
        inputs = f"{output}, {self.leaves}, {self.literals.source(upstream)}"
        return _shown(result, f"torch.autograd.grad({inputs}, allow_unused=True)")

    def _get_step(self, result: str, owner: Any, field: str | int, _keep: bool) -> str:
        name = self.literals.source(owner)
        if isinstance(field, int):
            return _shown(result, f"{name}[{field}]")
        return _shown(result, f"{name}[{field!r}] if isinstance({name}, dict) else {name}.{field}")

    def _fetch_step(self, result: str, owner: Any) -> str:
        name = self.literals.source(owner)
        return _shown(result, f'list({name}) if hasattr({name}, "__next__") else {name}')

    def _has_step(self, result: str, name: str) -> str:
        return _shown(result, f"hasattr({self.module}, {name!r})")

    def _run_step(self, _result: str, probe: str, _args: list[Any]) -> str:
        return f"# here the check looked inside with code of its own ({printable(probe)})"

    def _trim_step(self, _result: str) -> str:
        return ""

    def _join_step(self, _result: str, rank: int, count: int, _meeting_place: str) -> str:
        return f"# here process {rank} joined a group of {count}: what follows ran in all of them at once"

    def _call(self, target: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
        kind, owner, *method = target
        function = f"{self.module}.{owner}" if kind == "f" else ".".join([self.literals.source(owner), *method])
        shown = [self.literals.source(value) for value in args]
        shown += [f"{key}={self.literals.source(value)}" for key, value in kwargs.items()]
        self.last_call = len(self.steps)
        return f"{function}({', '.join(shown)})"

    def _seeds(self) -> list[str]:
        torch = [f"torch.manual_seed({self.seed})"] if self.literals.torch else []
        return [f"random.seed({self.seed})", f"np.random.seed({self.seed % 2**32})", *torch]

    def _head(self, suffix: str) -> list[str]:
        title = printable(self.result.title).replace("\\", "\\\\").replace('"', "'")
        uses = self.literals.uses
        modules = sorted({"random", *(uses - {"generator"})})
        load = "torch.load" if self.literals.torch else "np.load"
        answers = [f"{name} = Answers({', '.join(given)})" for name, given in self.answers.items()]
        return [
            f'"""{title}: the calls of this check, as your file got them."""',
            "",
            *(f"import {name}" for name in modules),
            "from pathlib import Path",
            "",
            "import numpy as np",
            *(["import torch"] if self.literals.torch else []),
            *(ANSWERS.splitlines() if answers else []),
            *(GENERATOR.splitlines() if "generator" in uses else []),
            *(["", ""] if answers or "generator" in uses else [""]),
            f'data = {load}(Path(__file__).with_suffix("{suffix}"))',
            *(["scratch = tempfile.mkdtemp()"] if "tempfile" in uses else []),
            *answers,
            *self._seeds(),
            f"import {self.module}  # after the seeds, as in the check",
            "",
        ]

    def _tail(self) -> list[str]:
        told = [("expected", self.result.expected), ("got", self.result.got), ("what happened", self.result.message)]
        return ["", *(f"# {name}: {' '.join(printable(text).split())}" for name, text in told if text)]


_WRITERS: dict[str, Callable[..., str]] = {
    "call": Script._call_step,
    "forward": Script._forward_step,
    "backward": Script._backward_step,
    "get": Script._get_step,
    "fetch": Script._fetch_step,
    "has": Script._has_step,
    "run": Script._run_step,
    "trim": Script._trim_step,
    "join": Script._join_step,
}


def _shown(result: str, expression: str) -> str:
    return f'{result} = {expression}\nprint("{result} =", {result})'
