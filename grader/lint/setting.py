"""What every experiment of a lint shares: the kata, its programs and checks, and a laboratory to try things in."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from grader.bank import Kata
from grader.grading import Options
from grader.judge.programs import Programs
from grader.lint.laboratory import Laboratory, Series
from grader.lint.report import Effort, Rule

Told = Iterator[tuple[Rule, str]]
"""Findings on the way to a report."""


@dataclass(frozen=True, slots=True)
class Setting:
    kata: Kata
    laboratory: Laboratory
    effort: Effort
    programs: Programs
    checks: tuple[str, ...]
    """Their names, in order."""
    slow: tuple[str, ...]
    """Those that are worth fewer seeds."""
    first: Series
    """The reference on its first seed."""

    @property
    def reference(self) -> bytes:
        return self.programs.reference.source

    def options(self, seeds: int, slow_seeds: int, **more: Any) -> list[Options]:
        """Every check on `slow_seeds` seeds; those that are not slow on `seeds`."""
        fast = tuple(check for check in self.checks if check not in self.slow)
        whole = min(seeds, slow_seeds) if self.slow else seeds
        rest = seeds - whole if fast else 0
        return [every_check(**more)] * whole + [every_check(exactly=fast, **more)] * rest

    def seeds(self, check: str, fast: int, slow: int) -> int:
        return slow if check in self.slow else fast


def every_check(**more: Any) -> Options:
    """Each on its own merits, whatever became of those that it needs."""
    return Options(ignore_needs=True, **more)


def told(rule: Rule, messages: Iterable[str]) -> Told:
    for message in messages:
        yield rule, message
