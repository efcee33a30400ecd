"""What lint says of a kata: findings, and the figures of what was tried."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum


class Rule(StrEnum):
    """What a kata has to keep; docs/lint.md tells each in a paragraph."""

    MANIFEST = "manifest"
    FILES = "files"
    STRAY = "stray"
    TODO = "todo"
    NAMES = "names"
    TEXTS = "texts"
    QUESTIONS = "questions"
    EXAMPLES = "examples"
    SIGNATURES = "signatures"
    CHECKS = "checks"
    STUB = "stub"
    REFERENCE = "reference"
    ALTERNATIVES = "alternatives"
    ROUNDING = "rounding"
    BUDGET = "budget"
    DEADLINE = "deadline"
    MISTAKES = "mistakes"
    IMPOSTORS = "impostors"
    REDUNDANT = "redundant"
    BENCHES = "benches"
    JUDGE = "judge"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: what it is, which thing it is about, what to do."""

    rule: Rule
    kata: str
    message: str
    level: str = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """How much was tried."""

    checks: int = 0
    alternatives: int = 0
    mistakes: int = 0
    """Mistakes that were caught as they should be."""
    impostors: int = 0
    """Impostors that failed every check."""
    seeds: int = 0
    """Seeds on which the reference was graded."""
    grades: int = 0
    questions: int = 0
    """Only of a bank's own report: conceptual questions, those of its katas too."""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of linting one kata, or what is a bank's own."""

    kata: str
    """A kata's slug; of a bank the name of its own file."""
    findings: tuple[Finding, ...]
    figures: Figures = field(default_factory=Figures)

    @property
    def passed(self) -> bool:
        return not self.findings


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the linting of a kata is. What is done never shrinks; what there is to do grows as it becomes known."""

    kata: str
    done: int
    total: int


Watcher = Callable[[Progress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """On how many seeds each thing is tried. A check is slow from `SLOW_SECONDS` on."""

    fast: int = 20
    slow: int = 3
    alternative: int = 5
    slow_alternative: int = 1
    mistake: int = 1
    slow_mistake: int = 1
    patience: int = 5
    """An impostor that passes a check on that many seeds in a row has passed it; 0 leaves impostors out."""
    matrix: int = 0
    """Seeds of every mistake against the checks down to its own; 0 leaves that out."""
    bench_seconds: float = 0.0
    """For each workload of benches.py; without any it is only tried."""
    time_alternatives: bool = False


SLOW_SECONDS = 0.3
QUICK = Effort()
LIGHT = Effort(fast=3, slow=1, alternative=1, patience=1)
"""For a kata that has not changed: that what it is judged by still works for it."""
FULL = Effort(
    slow=20,
    alternative=20,
    slow_alternative=20,
    mistake=20,
    slow_mistake=20,
    matrix=3,
    bench_seconds=3.0,
    time_alternatives=True,
)
