"""What lint says of a series of verdicts: here made up, so that chance is in the test's hands."""

from concurrent.futures import Future

import pytest
from lint_bank import GOOD, LEAST, SLUG

from grader.bank import Catalogue
from grader.grading import Graded, Options
from grader.judge.programs import read_programs
from grader.judge.protocol import LooseComparison
from grader.lint.laboratory import Series
from grader.lint.report import Rule
from grader.lint.setting import Setting
from grader.lint.solutions import CERTAIN, Reference
from grader.verdict import AttemptRef, CheckResult, Seconds, State, Verdict

CHECK, LINE = "test_of_chance", 12


class MadeUp:
    """A laboratory where one check passes always, and its comparison is loose on the first `lucky` seeds."""

    def __init__(self, lucky: int) -> None:
        self.lucky, self.seeds = lucky, 0

    def grade(self, name: str, _source: bytes, options: list[Options]) -> Series:
        return Series(name, tuple(self.one(how) for how in options))

    def one(self, how: Options) -> Future[Graded]:
        loose = []
        if how.probe_rounding:
            self.seeds += 1
            loose = [LooseComparison(CHECK, LINE)] * 2 if self.seeds <= self.lucky else []
        seconds = Seconds(0.0, 0.0, 0.0)
        result = CheckResult(id=CHECK, part="part", title="", points=100, state=State.PASSED)
        verdict = Verdict(
            kata=SLUG, attempt=AttemptRef("", ""), seed="", device="cpu", isolation="full", isolation_missing=[],
            score=100, max_score=100, passed=True, parts=[], checks=[result], seconds=seconds,
        )  # fmt: skip
        future: Future[Graded] = Future()
        future.set_result(Graded(verdict, loose=loose))
        return future


@pytest.mark.parametrize(("lucky", "tried"), [(0, 2), (1, 2), (2, CERTAIN), (CERTAIN - 1, CERTAIN)])
def test_a_comparison_that_is_loose_by_luck_is_tried_again_and_not_told(lucky: int, tried: int) -> None:
    told, seeds = rounding(lucky)
    assert told == []
    assert seeds == tried


def test_a_comparison_that_is_loose_on_every_seed_is_told_once() -> None:
    told, seeds = rounding(CERTAIN)
    assert seeds == CERTAIN
    (message,) = told
    assert message.startswith(f"checks.py, line {LINE} ({CHECK}): the expected value rounded to float16 passes, on all")
    assert f"of {CERTAIN} seeds" in message


def rounding(lucky: int) -> tuple[list[str], int]:
    """What is said of comparisons that are loose on so many seeds, and on how many they were tried."""
    kata, laboratory = Catalogue.of([GOOD]).get(SLUG), MadeUp(lucky)
    first = laboratory.grade("the reference", b"", [Options(probe_rounding=True)])
    setting = Setting(kata, laboratory, LEAST, read_programs(kata), (CHECK,), (), first)  # type: ignore[arg-type]  # it grades
    return [message for rule, message in Reference(setting).findings() if rule is Rule.ROUNDING], laboratory.seeds
