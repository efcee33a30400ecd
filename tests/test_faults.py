"""Faults, each an attempt of tests/attacks/faults: each gets its state in time, and nothing else suffers.

`tests/hostile.py` tells how a file says what is expected of it. Where a file spoils one function alone, the checks of
the others are the control: they come after it, and pass.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import hostile
import observed
import pytest

from grader.grading import Grader
from grader.sandbox.channel import WALL_FACTOR

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="isolation by namespaces, Landlock and seccomp")

GIGABYTE = 10**9
PATIENCE_SECONDS = 2.0
"""Beyond its deadline a check may take so long."""

FAULTS = hostile.corpus("faults")
FAULTS_AT_LEVEL_PROCESS = [path for path in FAULTS if hostile.read(path).elsewhere is not None]


def each(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", paths, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def processes() -> Iterator[Grader]:
    """One interpreter serves all checks, until one of them breaks it."""
    with Grader(fork=False) as grader:
        yield grader


@pytest.fixture(scope="module")
def peaks(grader: Grader) -> Iterator[dict[int, int]]:
    with observed.peak_memory(grader) as peaks:
        yield peaks


@each(FAULTS)
def test_a_fault_costs_its_check_and_no_more(grader: Grader, peaks: dict[int, int], path: Path) -> None:
    fault = hostile.read(path)
    verdict = grader.grade(fault.kata, fault.attempt, fault.options).verdict
    assert hostile.surprises(verdict, fault.expected) == []
    deadline = WALL_FACTOR * (fault.limit or fault.kata.limits.cpu_seconds)
    assert max(check.seconds for check in verdict.checks) < deadline + PATIENCE_SECONDS
    assert observed.left_over(grader) == []
    assert max(peaks.values(), default=0) < GIGABYTE


def test_after_all_of_them_the_same_grader_still_grades(grader: Grader, peaks: dict[int, int]) -> None:
    control = hostile.read(hostile.CORPUS / "right.py")
    assert grader.grade(control.kata, control.attempt).verdict.passed
    assert peaks, "no judge was ever looked at"


@each(FAULTS_AT_LEVEL_PROCESS)
def test_a_fault_costs_its_check_and_no_more_at_level_process(processes: Grader, path: Path) -> None:
    fault = hostile.read(path)
    assert fault.elsewhere is not None
    verdict = processes.grade(fault.kata, fault.attempt, fault.options).verdict
    assert hostile.surprises(verdict, fault.elsewhere) == []
