"""Writing the calls of a failed check as a script that a learner can run, and step through, without any of our code."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np

from grader.comparison.text import printable
from grader.judge.protocol import Replay
from grader.judge.run import Run
from grader.judge.seeds import derive
from grader.sandbox import wire
from grader.sandbox.proxy import Conversation, Exchange, opened
from grader.verdict import CheckResult, State

PASSING = (
    State.PASSED,
    State.WAITING,
    State.NOT_SELECTED,
    State.NOT_ATTEMPTED,
    State.NOT_MEASURABLE,
    State.HARNESS_FAULT,
)
ANSWERS = '''
class Answers:
    """Gives the answers that the check gave, in order."""

    def __init__(self, answers):
        self.answers = iter(answers)

    def __call__(self, *args, **kwargs):
        print("asked", args, kwargs)
        return next(self.answers)
'''


def write(run: Run, results: Sequence[CheckResult]) -> None:
    """Emit a replay of the first check that did not pass and has calls to repeat; nothing when there is none."""
    for result in results:
        conversation = run.evidence.get(result.id)
        if result.state not in PASSING and conversation is not None and conversation.exchanges:
            seed = derive(run.job.seed, result.id, "worker")
            run.emit(_Script(run, result, conversation, seed).replay())
            return


class _Name:
    """Something that the script knows by a name."""

    def __init__(self, name: str) -> None:
        self.name = name


class _Script:
    def __init__(self, run: Run, result: CheckResult, conversation: Conversation, seed: int) -> None:
        self.module, self.result, self.conversation, self.seed = (
            run.programs.kata.module_name,
            result,
            conversation,
            seed,
        )
        self.torch = wire.torch_module()
        self.arrays: dict[str, Any] = {}
        self.known: dict[int, str] = {}
        self.lines: list[str] = []
        self.uses_answers = False
        self.leaves = "[]"

    def replay(self) -> Replay:
        for index, exchange in enumerate(self.conversation.exchanges):
            if index == len(self.conversation.exchanges) - 1:
                self.lines.append(
                    "breakpoint()  # step into the last call with `s`, look around with `p`, go on with `c`"
                )
            self.exchange(index, exchange)
        suffix = ".pt" if self.torch else ".npz"
        return Replay(
            self.result.id, "\n".join([*self.head(suffix), *self.lines, *self.tail()]) + "\n", self.data(), suffix
        )

    def head(self, suffix: str) -> list[str]:
        load = f'{"torch" if self.torch else "np"}.load(Path(__file__).with_suffix("{suffix}"))'
        imports = [
            "import random",
            "from pathlib import Path",
            "",
            "import numpy as np",
            *(["import torch"] if self.torch else []),
            "",
            f"import {self.module}",
        ]
        seeds = [
            f"random.seed({self.seed})",
            f"np.random.seed({self.seed % 2**32})",
            *([f"torch.manual_seed({self.seed})"] if self.torch else []),
        ]
        title = f'"""{printable(self.result.title)}: the calls of this check, as your file got them."""'.replace(
            "\\", "\\\\"
        )
        return [
            title,
            "",
            *imports,
            *(ANSWERS.splitlines() if self.uses_answers else []),
            "",
            f"data = {load}",
            *seeds,
            "",
        ]

    def tail(self) -> list[str]:
        told = [("expected", self.result.expected), ("got", self.result.got), ("what happened", self.result.message)]
        return ["", *(f"# {name}: {' '.join(printable(text).split())}" for name, text in told if text)]

    def exchange(self, index: int, exchange: Exchange) -> None:
        op, *rest = wire.decode(
            *opened(exchange.request), lambda tag, number, _name: self.argument(tag, number, exchange)
        )
        statement = getattr(self, f"write_{op}", self.write_unknown)(index, *rest)
        self.lines.append(statement)
        if exchange.reply is not None:
            reply = wire.decode(*exchange.reply, lambda _tag, number, _name: _Handle(number))
            self.name_handles(f"r{index}", reply[1] if reply[0] == "ok" and len(reply) > 1 else None)

    def argument(self, tag: str, number: int, exchange: Exchange) -> _Name:
        if tag == "h":
            return _Name(self.known.get(number, f"handle_{number}"))
        self.uses_answers = True
        return _Name(f"Answers({self.source(list(exchange.answered))})")

    def write_call(
        self, index: int, target: Any, args: list[Any], kwargs: dict[str, Any], _keep: bool, _echo: bool
    ) -> str:
        return f"r{index} = {self.call(target, args, kwargs)}\nprint(r{index})"

    def write_forward(self, index: int, target: Any, kwargs: dict[str, Any], wrt: list[str], output: int) -> str:
        leaves = [name for name in wrt if "." not in name]
        ready = "".join(f"{name} = {self.source(kwargs[name])}.requires_grad_()\n" for name in leaves)
        call = self.call(target, [], {key: _Name(key) if key in leaves else value for key, value in kwargs.items()})
        models = [self.source(kwargs[name.partition(".")[0]]) for name in wrt if "." in name]
        self.leaves = f"[{', '.join([*leaves, *(f'*{model}.parameters()' for model in models)])}]"
        r = f"r{index}"
        return f"{ready}{r} = {call}\n{r} = {r}[{output}] if isinstance({r}, (tuple, list)) else {r}\nprint({r})"

    def write_backward(self, index: int, upstream: Any) -> str:
        inputs = f"r{index - 1}, {self.leaves}, {self.source(upstream)}"
        return f"r{index} = torch.autograd.grad({inputs}, allow_unused=True)\nprint(r{index})"

    def write_get(self, index: int, owner: Any, field: str | int, _keep: bool) -> str:
        access = f"[{field!r}]" if isinstance(field, int) else f".{field}"
        return f"r{index} = {self.source(owner)}{access}\nprint(r{index})"

    def write_fetch(self, index: int, owner: Any) -> str:
        return f"r{index} = {self.source(owner)}\nprint(r{index})"

    def write_unknown(self, _index: int, *_rest: Any) -> str:
        return "# here the check looked inside with code of its own"

    def call(self, target: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
        kind, *what = target
        function = f"{self.module}.{what[0]}" if kind == "f" else ".".join([what[0].name, *what[1:]])
        shown = [self.source(value) for value in args] + [
            f"{key}={self.source(value)}" for key, value in kwargs.items()
        ]
        return f"{function}({', '.join(shown)})"

    def name_handles(self, path: str, value: Any) -> None:
        if isinstance(value, _Handle):
            self.known.setdefault(value.number, path)
        elif isinstance(value, list | tuple):
            for index, item in enumerate(value):
                self.name_handles(f"{path}[{index}]", item)
        elif isinstance(value, dict):
            for key, item in value.items():
                self.name_handles(f"{path}[{key!r}]", item)

    def source(self, value: Any) -> str:
        """An expression for the value; arrays are put aside and loaded."""
        if isinstance(value, _Name):
            return value.name
        if isinstance(value, np.ndarray) or (self.torch and isinstance(value, self.torch.Tensor)):
            return self.array(value)
        if type(value) in (list, tuple, set, frozenset):
            return self.container(value)
        if type(value) is dict:
            return "{" + ", ".join(f"{self.source(key)}: {self.source(item)}" for key, item in value.items()) + "}"
        if (isinstance(value, float) and value != value) or value in (float("inf"), float("-inf")):
            return f'float("{value}")'
        return repr(value)

    def container(self, value: Any) -> str:
        inside = ", ".join(self.source(item) for item in value)
        if type(value) is list:
            return f"[{inside}]"
        if type(value) is tuple:
            return f"({inside}{',' if len(value) == 1 else ''})"
        return f"{type(value).__name__}([{inside}])"

    def array(self, value: Any) -> str:
        name = f"a{len(self.arrays)}"
        numpy = isinstance(value, np.ndarray)
        self.arrays[name] = self.torch.from_numpy(value) if numpy and self.torch else value
        return f'data["{name}"]' + (".numpy()" if numpy and self.torch else "")

    def data(self) -> bytes:
        file = BytesIO()
        if self.torch:
            self.torch.save(self.arrays, file)
        else:
            np.savez(file, **self.arrays)
        return file.getvalue()


class _Handle:
    def __init__(self, number: int) -> None:
        self.number = number
