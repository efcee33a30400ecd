"""What a call costs, read from outside the process that runs it: nothing the process does can change the reading."""

from pathlib import Path
from typing import Any

from grader.sandbox.proxy import Conversation, Function


class NotMeasurable(Exception):
    """This platform cannot measure it."""


def peak_bytes(function: Function, *args: Any, **kwargs: Any) -> int:
    """Bytes of memory that the call's process needed at its highest, beyond what it held when asked.

    Linux: VmHWM after a reset through clear_refs, less VmRSS before. Raises NotMeasurable elsewhere.
    """
    function, pid = _confined(function)
    status = Path(f"/proc/{pid}/status")
    try:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
        before = _field(status, "VmRSS")
    except OSError as error:
        raise NotMeasurable(f"peak memory cannot be read here: {error.strerror}") from error
    function(*args, **kwargs)
    return _field(status, "VmHWM") - before


def cpu_seconds(function: Function, *args: Any, **kwargs: Any) -> float:
    """CPU seconds of the call's process, all threads together, from the request to the reply."""
    function, _ = _confined(function)
    channel = _channel(function._conversation)
    before = channel.cpu_seconds
    function(*args, **kwargs)
    return float(channel.cpu_seconds - before)


def _confined(function: Function) -> tuple[Function, int]:
    """The function in a confined process of its own, where it is not in one, and that process."""
    conversation = function._conversation
    if _channel(conversation) is None:
        if function._target[0] != "f":
            raise ValueError(
                "an object of the judge's own process cannot be measured: make it with `reference.confined()`"
            )
        conversation = conversation.host.confined()._conversation
        function = Function(conversation, function._target, function._keep)
    return function, int(_channel(conversation).pid)


def _channel(conversation: Conversation) -> Any:
    return getattr(conversation.carrier, "channel", None)


def _field(status: Path, name: str) -> int:
    for line in status.read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise NotMeasurable(f"{status} has no {name}")
