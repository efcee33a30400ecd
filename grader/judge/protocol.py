"""What the command line sends a judge, and the events it answers with: one JSON line each."""

from typing import Any

import msgspec

from grader.sandbox.program import Patch
from grader.timing import Timing
from grader.verdict import CheckResult, Seconds


class Brief(msgspec.Struct, frozen=True):
    """What a template judge is made for."""

    folder: str
    """The kata's own folder, `…/katas/<slug>`."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt to grade."""

    path: str
    source: bytes
    sha256: str
    seed: str
    patches: tuple[Patch, ...] = ()
    only: str | None = None
    """Grade the checks whose name, sentence or part holds this text."""
    exactly: tuple[str, ...] | None = None
    """Grade these checks, by name."""
    ignore_needs: bool = False
    device: str = "cpu"
    require_full: bool = False
    find_mistakes: bool = True
    write_replay: bool = False
    cpu_seconds: float | None = None
    """A limit below the kata's own, for trying what is known to hang."""
    threads: int = 1
    probe_rounding: bool = False
    """Also try each comparison with its expected value rounded to float16, and report those that would still pass."""
    bench_seconds: float | None = None
    """Time the workloads, each for that long at most, and grade nothing."""


class PlannedCheck(msgspec.Struct, frozen=True):
    id: str
    part: str
    title: str
    points: int
    needs: str | None
    trained: bool


class Plan(msgspec.Struct, frozen=True, tag_field="event", tag="plan"):
    checks: list[PlannedCheck]


class Checked(msgspec.Struct, frozen=True, tag_field="event", tag="check"):
    check: CheckResult


class Replay(msgspec.Struct, frozen=True, tag_field="event", tag="replay"):
    """A script that repeats the first failing check's calls, and the data it loads."""

    check: str
    script: str
    data: bytes
    data_suffix: str


class LooseComparison(msgspec.Struct, frozen=True, tag_field="event", tag="loose"):
    """A comparison that the expected value, rounded to float16, would pass."""

    check: str
    line: int


class Fault(msgspec.Struct, frozen=True, tag_field="event", tag="fault"):
    """The judge could not do its work."""

    message: str


class Refused(msgspec.Struct, frozen=True, tag_field="event", tag="refused"):
    """Nothing was graded, for a reason the caller can mend."""

    message: str


class Begun(msgspec.Struct, frozen=True, tag_field="event", tag="begun"):
    """So many workloads are going to be timed."""

    count: int


class Timed(msgspec.Struct, frozen=True, tag_field="event", tag="timed"):
    """One workload is done."""

    timing: Timing


class End(msgspec.Struct, frozen=True, tag_field="event", tag="end"):
    """What a judge, or a panel of them, has found out."""

    checks: list[CheckResult]
    seconds: Seconds
    isolation: str
    isolation_missing: list[str]


Event = Plan | Checked | Replay | LooseComparison | Begun | Timed | Fault | Refused | End
_encoder = msgspec.json.Encoder()


def line(value: Any) -> bytes:
    return _encoder.encode(value) + b"\n"
