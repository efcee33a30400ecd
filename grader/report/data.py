"""What a report tells, as plain values: gathered from catalogue and history, shown by the other modules."""

from datetime import datetime

import msgspec

FORMAT = 1


class Point(msgspec.Struct, frozen=True):
    """A score at a moment: unix seconds, or minutes of an interview."""

    at: float
    score: int
    label: str = ""


class Line(msgspec.Struct, frozen=True):
    """One kata in the overview."""

    slug: str
    title: str
    track: str
    priority: str
    state: str
    best: int | None
    due: float | None = None
    """Unix seconds; None for what was never passed."""


class Mastery(msgspec.Struct, frozen=True):
    """A track or a pillar of questions, 0 to 100."""

    name: str
    percent: int
    of: str
    """What it is made of, in words."""


class Part(msgspec.Struct, frozen=True):
    """A part of a kata."""

    id: str
    title: str
    score: int
    max: int
    minutes: float | None = None
    """Until it was complete; None where it is not, or nobody knows."""


class Check(msgspec.Struct, frozen=True):
    """A check of the verdict shown."""

    title: str
    part: str
    state: str
    points: int
    message: str = ""
    output: str = ""


class Answer(msgspec.Struct, frozen=True):
    """A question of an interview."""

    question: str
    answer: str
    model: str
    rating: int
    points: int


class Speed(msgspec.Struct, frozen=True):
    """A workload that was timed."""

    name: str
    ratio: float
    low: float
    high: float
    verdict: str


class KataPart(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one kata."""

    slug: str
    title: str
    score: int
    max: int
    versions: int
    hints: int
    parts: list[Part]
    checks: list[Check] = []
    mistakes: list[str] = []
    points: list[Point] = []
    speeds: list[Speed] = []


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One report; `kata report --format json` prints it."""

    format: int = FORMAT
    kind: str
    """`progress`, `kata` or `mock`."""
    title: str
    made: float
    """Unix seconds."""
    headline: str
    katas: list[KataPart] = []
    questions: list[Answer] = []
    rule: str = ""
    """How the headline's number was made."""
    lines: list[Line] = []
    days: dict[str, int] = {}
    """Runs by day, as 2026-01-31."""
    mastery: list[Mastery] = []
    next: list[str] = []
    """Commands to go on with."""


def day(when: float) -> str:
    """The local day of a moment in unix seconds, as 2026-01-31."""
    return datetime.fromtimestamp(when).date().isoformat()
