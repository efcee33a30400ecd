"""Known mistakes: on the reference they are caught, and an attempt that answers like exactly one is recognised."""

import time
from types import ModuleType

import pytest
import toy

from grader.grading import Grader, Options
from grader.judge.programs import Mistake, read_programs
from grader.sandbox.program import Patch, Program, apply, load
from grader.verdict import CheckResult

MISTAKES = read_programs(toy.toy_kata("mistaken")).mistakes
SHARED = {"truncates", "floors", "never_ends", "counts_from_one"}
"""Another mistake answers likewise, or not in time."""


@pytest.fixture
def module() -> ModuleType:
    source = toy.reference_text(toy.toy_kata("mistaken")).encode()
    return load(Program("mistaken_reference", "reference.py", source))


def graded(grader: Grader, source: str, check: str, **options: object) -> CheckResult:
    kata = toy.toy_kata("mistaken")
    verdict = grader.grade(kata, toy.changed(kata, source), Options(exactly=(check,), **options)).verdict
    (result,) = [result for result in verdict.checks if result.id == check]
    return result


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.id)
def test_a_mistake_is_caught_by_its_check_and_knows_itself(grader, mistake: Mistake):
    result = graded(grader, "", mistake.caught_by, patches=(mistake.patch,), cpu_seconds=0.2)
    assert result.state in ("failed", "error", "timeout")
    assert (result.mistake and result.mistake.id) == (None if mistake.id in SHARED else mistake.id)


def test_the_advice_comes_with_it(grader):
    result = graded(grader, "def double(x): return x * 0.5", "test_double_is_twice")
    assert result.mistake is not None
    assert result.mistake.advice == "Twice, not half."


def test_a_mistake_that_draws_from_a_generator_knows_itself(grader):
    kata = toy.toy_kata("sampling")
    wrong = toy.changed(kata, (toy.BANK / "attempts" / "sampling" / "ignores_the_probabilities.py").read_text())
    (result,) = [check for check in grader.grade(kata, wrong).verdict.checks if check.state == "failed"]
    assert result.mistake is not None
    assert result.mistake.id == "all_alike"


def test_nobody_looks_for_mistakes_when_not_asked(grader):
    wrong = "def double(x): return x * 0.5"
    assert graded(grader, wrong, "test_double_is_twice", find_mistakes=False).mistake is None


def test_a_mistake_that_never_ends_costs_a_second_and_leaves_the_rest_unnamed(grader):
    start = time.monotonic()
    kata = toy.toy_kata("mistaken")
    wrong = "def rows(n): return [i + 1 for i in range(n)]\ndef double(x): return x * 0.5"
    checks = {c.id: c for c in grader.grade(kata, toy.changed(kata, wrong)).verdict.checks}
    assert checks["test_rows_count_up"].mistake is None
    assert checks["test_double_is_twice"].mistake is not None
    assert time.monotonic() - start < 10


def test_a_slow_check_is_not_tried_again(grader):
    wrong = "def double(x):\n    for _ in range(4 * 10**7): pass\n    return x * 0.5"
    assert graded(grader, wrong, "test_double_is_twice").mistake is None


# ---- patches


def patch(source: str, *replaces: str, name: str = "new") -> Patch:
    return Patch(source, name, replaces)


def test_every_user_of_a_replaced_name_sees_the_new_one(module):
    apply(patch("def new(x): return -x", "double"), module)
    assert (module.double(3), module.shifted(3)) == (-3, -2)


def test_a_patch_uses_what_the_reference_defines_and_its_own_helpers(module):
    apply(patch("OFFSET = 10\ndef help(x): return OFFSET + FACTOR * x\ndef new(x): return help(x)", "double"), module)
    assert module.shifted(1) == 13


def test_a_class_may_build_on_the_one_it_replaces(module):
    source = "class Layer(Layer):\n    def forward(self, x): return -super().forward(x)"
    apply(patch(source, "Layer", name="Layer"), module)
    assert (module.made(2).forward(3), type(module.Layer(2).copy())) == (-7, module.Layer)


def test_several_are_replaced_by_the_members_of_a_class(module):
    source = "class new:\n    def double(x): return 0\n    def scale(self): return self.weight"
    apply(patch(source, "double", "Layer.scale"), module)
    assert (module.double(5), module.Layer(-2).scale()) == (0, -2)


def test_a_name_that_is_not_there_cannot_be_replaced(module):
    with pytest.raises(ValueError, match=r"there is no .Layer\.backward. to replace"):
        apply(patch("def new(self): pass", "Layer.backward"), module)


def test_a_helper_may_not_take_a_name_of_the_reference(module):
    with pytest.raises(ValueError, match="a helper takes the name 'double'"):
        apply(patch("def double(x): return x\ndef new(x): return double(x)", "shifted"), module)
