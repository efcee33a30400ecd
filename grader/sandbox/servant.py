"""Answers requests about one module: the same code in a confined worker and, for what we wrote ourselves, in the judge.

A request is a tuple of plain values and handles, a reply likewise:

    ("call", target, args, kwargs, keep, echo)     → ("ok", result, generator states, echoed arguments)
    ("get", handle, field, keep) ("fetch", handle) → ("ok", value)
    ("run", probe, args) ("has", name)             → ("ok", value)
    ("forward", target, kwargs, wrt, output)       → ("ok", output, is it differentiable, names of leaves)
    ("backward", upstream)                         → ("ok", {name: gradient or None})
    ("join", rank, count, meeting place)           → ("ok", None)

A target is ("f", name), ("h", handle) or ("m", handle, method). Whatever the module raises is the reply
("raise", report).
"""

import sys
import traceback
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import msgspec

from grader.sandbox import frames, wire
from grader.sandbox.program import Program, remember_lines

MAX_FRAMES = 6
MAX_MESSAGE = 2_000
MAX_FETCHED = wire.MAX_KEYS

Ask = Callable[[int, tuple[Any, ...], dict[str, Any]], Any]
"""Calls back: (number of the callback, args, kwargs) → its result."""


class Kept:
    """Wraps a result that stays here, whatever its type."""

    def __init__(self, value: Any) -> None:
        self.value = value


class Missing(AttributeError):
    """The module does not define what it was asked for."""


class Report(msgspec.Struct, frozen=True):
    """An exception as data. It comes from an untrusted process: every field is only text to show."""

    kind: str
    """raised, not_attempted, memory, missing, syntax or forbidden"""
    type_name: str
    bases: tuple[str, ...]
    message: str
    frames: tuple[tuple[int, str, str], ...] = ()
    """Line number, function and text of the module's own frames, outermost first."""


class Servant:
    """One module, its probes, and the handles given out for its objects."""

    def __init__(self, program: Program, module: ModuleType, ask: Ask, *, device: str = "") -> None:
        self.program, self.module, self.ask, self.device = program, module, ask, device
        self.handles: list[Any] = []
        self.numbers: dict[int, int] = {}
        self.pending: tuple[Any, dict[str, Any]] | None = None
        self.probes: ModuleType | None = None

    def answer(self, head: bytes | bytearray, buffers: list[bytearray]) -> list[frames.Buffer]:
        """The reply to one request, as pieces of a frame. Never raises for what the module does."""
        try:
            op, *rest = wire.decode(head, buffers, self.resolve, device=self.device)
            reply = getattr(self, f"op_{op}")(*rest)
        except BaseException as error:
            return self.refuse(error)
        return self.pack(("ok", *reply))

    def pack(self, reply: tuple[Any, ...]) -> list[frames.Buffer]:
        try:
            return wire.encode(reply, self.foreign)
        except BaseException as error:
            return self.refuse(error)

    def refuse(self, error: BaseException) -> list[frames.Buffer]:
        return wire.encode(("raise", msgspec.to_builtins(report(error, self.program.filename))), _nothing_foreign)

    def resolve(self, tag: str, number: int, _name: str) -> Any:
        if tag == "h":
            return self.handles[number]
        return lambda *args, **kwargs: self.ask(number, args, kwargs)

    def foreign(self, value: Any) -> list[Any]:
        if isinstance(value, Kept):
            value = value.value
        number = self.numbers.get(id(value))
        if number is None or self.handles[number] is not value:
            number = self.numbers[id(value)] = len(self.handles)
            self.handles.append(value)
        return ["h", number, type(value).__name__[:100]]

    def find(self, target: tuple[Any, ...]) -> Any:
        if target[0] == "h":
            return target[1]
        if target[0] == "m":
            return getattr(target[1], target[2])
        found: Any = self.module
        for name in target[1].split("."):
            found = getattr(found, name, None)
        if found is None:
            raise Missing(target[1])
        return found

    def op_call(
        self, target: tuple[Any, ...], args: list[Any], kwargs: dict[str, Any], keep: bool, echo: bool
    ) -> tuple[Any, ...]:
        result = self.find(target)(*args, **kwargs)
        states = [x for x in (*args, *kwargs.values()) if _is_generator(x)]
        return (Kept(result) if keep else result, states, [args, kwargs] if echo else None)

    def op_get(self, owner: Any, field: Any, keep: bool) -> tuple[Any, ...]:
        an_item = isinstance(field, int) or (isinstance(owner, dict) and field in owner)
        found = owner[field] if an_item else getattr(owner, field)
        return (Kept(found) if keep else found,)

    def op_fetch(self, value: Any) -> tuple[Any, ...]:
        if isinstance(value, Iterator):
            return ([x for x, _ in zip(value, range(MAX_FETCHED), strict=False)],)
        return (value,)

    def op_has(self, name: str) -> tuple[Any, ...]:
        return (hasattr(self.module, name),)

    def op_run(self, name: str, args: list[Any]) -> tuple[Any, ...]:
        if self.probes is None:
            self.probes = ModuleType("probes")
            remember_lines("probes.py", self.program.probes)
            exec(compile(self.program.probes, "probes.py", "exec", dont_inherit=True), self.probes.__dict__)
        return (getattr(self.probes, name)(self.module, *args),)

    def op_join(self, rank: int, count: int, meeting_place: str) -> tuple[Any, ...]:
        """Make the process group of several workers; gloo over loopback."""
        torch: Any = wire.torch_module()
        torch.distributed.init_process_group("gloo", init_method=f"file://{meeting_place}", rank=rank, world_size=count)
        return (None,)

    def op_forward(
        self, target: tuple[Any, ...], kwargs: dict[str, Any], wrt: list[str], output: int
    ) -> tuple[Any, ...]:
        leaves: dict[str, Any] = {}
        for name in wrt:
            owner, _, rest = name.partition(".")
            if rest:
                leaves |= {f"{name}/{key}": parameter for key, parameter in kwargs[owner].named_parameters()}
            else:
                leaves[name] = kwargs[name].requires_grad_()
        result = self.find(target)(**kwargs)
        if isinstance(result, tuple | list):
            result = result[output]
        torch = wire.torch_module()
        differentiable = torch is not None and isinstance(result, torch.Tensor) and result.requires_grad
        self.pending = (result, leaves)
        return (result.detach() if differentiable else result, differentiable, list(leaves))

    def op_backward(self, upstream: Any) -> tuple[Any, ...]:
        torch: Any = wire.torch_module()
        assert self.pending is not None
        result, leaves = self.pending
        self.pending = None
        # A product and not `grad_outputs`, which makes torch import sympy: 0.4 s, in every worker.
        grads = torch.autograd.grad((result * upstream).sum(), list(leaves.values()), allow_unused=True)
        return (dict(zip(leaves, grads, strict=True)),)


def report(error: BaseException, filename: str) -> Report:
    """The exception as data, with the frames of `filename` alone."""
    text = _text(error)
    if isinstance(error, SyntaxError) and error.filename == filename:
        return _syntax(error)
    stack = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in stack if frame.filename == filename][-MAX_FRAMES:]
    shown = tuple((frame.lineno or 0, frame.name[:100], (frame.line or "")[:200]) for frame in own)
    bases = tuple(base.__name__[:100] for base in type(error).__mro__[:12])
    raised_here = bool(stack) and stack[-1].filename == filename
    return Report(_kind(error, raised_here), type(error).__name__[:100], bases, text[:MAX_MESSAGE], shown)


def _syntax(error: SyntaxError) -> Report:
    line = (error.text or "").rstrip("\n")[:200]
    return Report(
        "syntax", type(error).__name__, ("SyntaxError",), str(error.msg)[:MAX_MESSAGE], ((error.lineno or 0, "", line),)
    )


def _kind(error: BaseException, raised_here: bool) -> str:
    names = {base.__name__ for base in type(error).__mro__}
    if isinstance(error, Missing):
        return "missing"
    if isinstance(error, NotImplementedError) and raised_here:
        return "not_attempted"
    if isinstance(error, MemoryError) or "can't allocate memory" in _text(error) or "OutOfMemoryError" in names:
        return "memory"
    return "forbidden" if "Forbidden" in names else "raised"


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:
        return "(its message cannot be shown)"


def _is_generator(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Generator)


def _nothing_foreign(value: Any) -> list[Any]:
    raise wire.WireError(f"a {type(value).__name__} in a report")
