"""Hostile attempts, each a file of tests/attacks: whatever they try, what is wrong does not pass.

`tests/hostile.py` tells how a file says what is expected of it.
"""

import dataclasses
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import hostile
import observed
import pytest

from grader.grading import Grader, Options

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="isolation by namespaces, Landlock and seccomp")

GIGABYTE = 10**9
ONE_CHECK = "test_double_adds_x_to_itself"
"""Enough at level `process`, where each check that does not pass starts an interpreter."""


def each(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", paths, ids=lambda path: path.stem)


FORGERIES = hostile.corpus("forge")
FORGERIES_AT_LEVEL_PROCESS = [path for path in FORGERIES if hostile.read(path).elsewhere is not None]


@pytest.fixture(scope="module")
def peaks(grader: Grader) -> Iterator[dict[int, int]]:
    with observed.peak_memory(grader) as peaks:
        yield peaks


@pytest.fixture(scope="module")
def processes() -> Iterator[Grader]:
    """Everything in interpreters of their own, as where forking is not safe."""
    with Grader(fork=False) as grader:
        yield grader


@each(hostile.corpus("."))
def test_the_controls_end_as_they_must(grader: Grader, path: Path) -> None:
    control = hostile.read(path)
    verdict = grader.grade(control.kata, control.attempt).verdict
    assert hostile.surprises(verdict, control.expected) == []
    assert verdict.isolation == "full"


@each(FORGERIES)
def test_no_forgery_passes(grader: Grader, peaks: dict[int, int], path: Path) -> None:
    forgery = hostile.read(path)
    start = time.monotonic()
    verdict = grader.grade(forgery.kata, forgery.attempt, forgery.options).verdict
    assert hostile.surprises(verdict, forgery.expected) == []
    assert not verdict.passed
    assert verdict.isolation == "full"
    assert time.monotonic() - start < forgery.within
    assert max(peaks.values(), default=0) < GIGABYTE


def test_nothing_is_left_of_them(grader: Grader, peaks: dict[int, int]) -> None:
    assert observed.left_over(grader) == []
    assert peaks, "no judge was ever looked at"
    assert not Path("/tmp/kata-attack-was-run").exists()


@each(FORGERIES_AT_LEVEL_PROCESS)
def test_no_forgery_passes_at_level_process(processes: Grader, path: Path) -> None:
    forgery = hostile.read(path)
    assert forgery.elsewhere is not None
    options = dataclasses.replace(forgery.options, exactly=(ONE_CHECK,))
    verdict = processes.grade(forgery.kata, forgery.attempt, options).verdict
    (check,) = (check for check in verdict.checks if check.state != "not_selected")
    assert check.state in forgery.elsewhere["double"], check.message
    assert not verdict.passed
    assert verdict.isolation == "process"


class TestOneInterpreterForManyChecks:
    """At level `process` an attempt stays in its interpreter until its run is over."""

    @each(hostile.corpus("process"))
    def test_what_stays_there_forges_nothing(self, processes: Grader, path: Path) -> None:
        stayer = hostile.read(path)
        verdict = processes.grade(stayer.kata, stayer.attempt).verdict
        assert hostile.surprises(verdict, stayer.expected) == []

    def test_it_is_gone_when_the_next_attempt_comes(self, processes: Grader) -> None:
        for path in (hostile.CORPUS / "process" / "stays_for_the_next.py", hostile.CORPUS / "wrong.py"):
            tried = hostile.read(path)
            verdict = processes.grade(tried.kata, tried.attempt, Options(only="double")).verdict
            assert hostile.surprises(verdict, tried.expected) == []
