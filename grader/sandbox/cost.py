"""What a call costs, read from outside the process that runs it: nothing the process does can change the reading."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from grader.sandbox.proxy import Conversation, Function, Handle, as_function

Measured = Callable[..., Any]
"""A function over there, a handle that can be called, or the `run` of a module, for what a probe costs."""


class NotMeasurable(Exception):
    """This platform cannot measure it."""


def peak_bytes(function: Measured, *args: Any, **kwargs: Any) -> int:
    """Bytes of memory that the call's process needed at its highest, beyond what it held when asked.

    Arguments and result count, as often as they are held; what the libraries read in at their first use counts too, 30
    MiB for torch, so that a small call should go before. Linux: VmHWM after a reset through clear_refs, less VmRSS
    before. Raises NotMeasurable elsewhere.
    """
    function, conversation = _confined(function)
    conversation.ask("trim")
    status = Path(f"/proc/{channel_of(conversation).pid}/status")
    try:
        status.with_name("clear_refs").write_text("5")
        before = _field(status, "VmRSS")
    except OSError as error:
        raise NotMeasurable(f"peak memory cannot be read here: {error.strerror}") from error
    function(*args, **kwargs)
    return _field(status, "VmHWM") - before


def cpu_seconds(function: Measured, *args: Any, **kwargs: Any) -> float:
    """CPU seconds of the call's process, all threads together, from the request to the reply."""
    function, conversation = _confined(function)
    before = channel_of(conversation).cpu_seconds
    function(*args, **kwargs)
    return float(channel_of(conversation).cpu_seconds - before)


def _confined(function: Measured) -> tuple[Measured, Conversation]:
    """The function in a confined process of its own, where it is not in one, and the conversation with that process."""
    if not isinstance(function, Function | Handle):
        module = function.__self__  # type: ignore[attr-defined]  # what is left is `module.run`
        if channel_of(module._conversation) is None:
            module = module.confined()
        return module.run, module._conversation
    function = as_function(function)
    conversation = function._conversation
    if channel_of(conversation) is None:
        if function._target[0] != "f":
            raise ValueError(
                "an object of the judge's own process cannot be measured: make it with `reference.confined()`"
            )
        conversation = conversation.host.confined()._conversation
    return Function(conversation, function._target, function._keep), conversation


def channel_of(conversation: Conversation) -> Any:
    """The way to the process; None where it is our own."""
    return getattr(conversation.carrier, "channel", None)


def _field(status: Path, name: str) -> int:
    for line in status.read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise NotMeasurable(f"{status} has no {name}")
