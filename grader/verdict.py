"""What the judge says of one attempt: types that cross from judge to command line, and JSON to script against."""

from collections.abc import Iterable, Sequence
from enum import StrEnum

import msgspec

FORMAT = 1


class State(StrEnum):
    """How one check ended. The states are never merged."""

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    CRASHED = "crashed"
    WAITING = "waiting"
    NOT_ATTEMPTED = "not_attempted"
    NOT_SELECTED = "not_selected"
    NOT_MEASURABLE = "not_measurable"
    HARNESS_FAULT = "harness_fault"


def holds_back(state: State) -> bool:
    """Whether a check that ended so is one that others wait for in vain."""
    return state not in (State.PASSED, State.NOT_SELECTED)


LEVELS = ("full", "partial", "process")
"""How well the attempt is kept from the judge, from the best down."""


class MistakeMatch(msgspec.Struct, frozen=True):
    """A known mistake whose replies equal the attempt's on the calls of a failed check."""

    id: str
    advice: str


class CheckResult(msgspec.Struct, frozen=True, kw_only=True):
    """How one check went."""

    id: str
    """Name of the test function."""
    part: str
    title: str
    """The sentence that the learner sees: the check's docstring."""
    points: int
    state: State
    seconds: float = 0.0
    message: str = ""
    """What happened, in words; for a raised exception also the learner's own frames, a line each."""
    call: str = ""
    expected: str = ""
    got: str = ""
    mistake: MistakeMatch | None = None
    output: str = ""
    """What the attempt printed during this check, head and tail. Untrusted text: escape it before showing it."""


class PartScore(msgspec.Struct, frozen=True):
    id: str
    score: int
    max: int


def part_scores(parts: Iterable[str], checks: Sequence[CheckResult]) -> list[PartScore]:
    """What each part is worth: only what passed counts."""
    return [
        PartScore(
            part,
            sum(check.points for check in checks if check.part == part and check.state is State.PASSED),
            sum(check.points for check in checks if check.part == part),
        )
        for part in parts
    ]


class AttemptRef(msgspec.Struct, frozen=True):
    path: str
    sha256: str


class Seconds(msgspec.Struct, frozen=True):
    """Wall seconds of the run, and those spent computing in the attempt's and in the reference's calls."""

    total: float
    attempt: float
    reference: float


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The whole verdict; `msgspec.json.encode` of it is what `kata check --json` prints."""

    format: int = FORMAT
    kata: str
    attempt: AttemptRef
    seed: str
    """16 hexadecimal digits; `kata check --seed` takes them."""
    device: str
    isolation: str
    """One of LEVELS."""
    isolation_missing: list[str]
    score: int
    max_score: int
    passed: bool
    parts: list[PartScore]
    checks: list[CheckResult]
    seconds: Seconds
