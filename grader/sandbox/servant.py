"""Answers requests about one module: the same code in a confined worker and, for what we wrote ourselves, in the judge.

A request is a tuple of plain values and handles, a reply likewise:

    ("call", target, args, kwargs, keep, echo)     → ("ok", result, generator states, echoed arguments)
    ("get", handle, field, keep) ("fetch", handle) → ("ok", value)
    ("run", probe, args) ("has", name)             → ("ok", value)
    ("forward", target, kwargs, wrt, output)       → ("ok", output, is it differentiable, names of leaves)
    ("backward", upstream)                         → ("ok", {name: gradient or None})
    ("trim",)                                      → ("ok", None)
    ("shift", bytes)                               → ("ok", None)
    ("watch",)                                     → ("ok", None): from now on calls are measured on the GPU
    ("elapsed",)                                   → ("ok", seconds, bytes) of the last call
    ("join", rank, count, meeting place)           → ("ok", None)

A target is ("f", name), ("h", handle) or ("m", handle, method). Whatever the module raises is the reply
("raise", report).
"""

import contextlib
import ctypes
import errno
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from grader.sandbox import frames, wire
from grader.sandbox.cuda import EventClock
from grader.sandbox.program import Program, remember_lines

MAX_FRAMES = 6
MAX_BASES = 12
MAX_MESSAGE = 2_000
MAX_NAME = 100
MAX_LINE = 200
MAX_FETCHED = wire.MAX_KEYS
_MMAP_THRESHOLD, _LARGE_BYTES = -3, 65_536

VALUES = {"call": 3, "forward": 3, "elapsed": 2}
"""How many values the reply to an operation brings, where it is not one."""

Ask = Callable[[int, tuple[Any, ...], dict[str, Any]], Any]
"""Calls back: (number of the callback, args, kwargs) → its result."""


Name = Annotated[str, Meta(max_length=MAX_NAME)]
Line = Annotated[str, Meta(max_length=MAX_LINE)]


class Kept:
    """Wraps a result that stays here, whatever its type."""

    def __init__(self, value: Any) -> None:
        self.value = value


class Missing(AttributeError):
    """The module does not define what it was asked for."""


class Report(msgspec.Struct, frozen=True):
    """An exception as data. It comes from an untrusted process: every field is only text to show."""

    kind: Name
    """raised, not_attempted, memory, missing, syntax or forbidden"""
    type_name: Name
    bases: Annotated[tuple[Name, ...], Meta(max_length=MAX_BASES)]
    message: Annotated[str, Meta(max_length=MAX_MESSAGE)]
    frames: Annotated[tuple[tuple[int, Name, Line], ...], Meta(max_length=MAX_FRAMES)] = ()
    """Line number, function and text of the module's own frames, outermost first."""


class Servant:
    """One module, its probes, and the handles given out for its objects."""

    def __init__(self, program: Program, module: ModuleType, ask: Ask, *, device: str = "") -> None:
        self.program, self.module, self.ask, self.device = program, module, ask, device
        self.handles: list[Any] = []
        self.numbers: dict[int, int] = {}
        self.pending: tuple[Any, dict[str, Any]] | None = None
        self.probes: ModuleType | None = None
        self.clock: EventClock | None = None

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
        return ["h", number, type(value).__name__[:MAX_NAME]]

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
        function = self.find(target)
        with self._measured():
            result = function(*args, **kwargs)
        states = [x for x in (*args, *kwargs.values()) if _is_generator(x)]
        return (Kept(result) if keep else result, states, [args, kwargs, _parameters(function)] if echo else None)

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
        with self._measured():
            return (getattr(self.probes, name)(self.module, *args),)

    def op_trim(self) -> tuple[Any, ...]:
        """Keep no free memory, now and from now on: what is in use can be seen from outside."""
        with contextlib.suppress(AttributeError):  # another C library than GNU's
            library = ctypes.CDLL(None)
            library.mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)
            library.malloc_trim(0)
        return (None,)

    def op_shift(self, size: int) -> tuple[Any, ...]:
        """Keep a block of that many bytes: what is allocated from now on lies elsewhere."""
        with contextlib.suppress(AttributeError):  # no such library
            ctypes.CDLL(None).malloc(ctypes.c_size_t(size))
        return (None,)

    def op_watch(self) -> tuple[Any, ...]:
        self.clock = EventClock(self.device)
        return (None,)

    def op_elapsed(self) -> tuple[Any, ...]:
        assert self.clock is not None
        return (self.clock.seconds, self.clock.bytes)

    def _measured(self) -> contextlib.AbstractContextManager[None]:
        return self.clock.measuring() if self.clock else contextlib.nullcontext()

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
    shown = tuple((frame.lineno or 0, frame.name[:MAX_NAME], (frame.line or "")[:MAX_LINE]) for frame in own)
    bases = tuple(base.__name__[:MAX_NAME] for base in type(error).__mro__[:MAX_BASES])
    raised_here = bool(stack) and stack[-1].filename == filename
    return Report(_kind(error, raised_here), type(error).__name__[:MAX_NAME], bases, text[:MAX_MESSAGE], shown)


def _syntax(error: SyntaxError) -> Report:
    line = (error.text or "").rstrip("\n")[:MAX_LINE]
    name, message = type(error).__name__[:MAX_NAME], str(error.msg)[:MAX_MESSAGE]
    return Report("syntax", name, ("SyntaxError",), message, ((error.lineno or 0, "", line),))


def _kind(error: BaseException, raised_here: bool) -> str:
    names = {base.__name__ for base in type(error).__mro__}
    if isinstance(error, Missing):
        return "missing"
    if isinstance(error, NotImplementedError) and raised_here:
        return "not_attempted"
    if _is_out_of_memory(error) or "OutOfMemoryError" in names:
        return "memory"
    return "forbidden" if "Forbidden" in names else "raised"


def _is_out_of_memory(error: BaseException) -> bool:
    refused = isinstance(error, OSError) and error.errno == errno.ENOMEM
    return refused or isinstance(error, MemoryError) or "can't allocate memory" in _text(error)


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:
        return "(its message cannot be shown)"


def _parameters(function: Any) -> list[str]:
    """The names of its positional parameters, as far as they can be told."""
    try:
        return [str(name) for name in inspect.signature(function).parameters]
    except (TypeError, ValueError):
        return []


def _is_generator(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Generator)


def _nothing_foreign(value: Any) -> list[Any]:
    raise wire.WireError(f"a {type(value).__name__} in a report")
