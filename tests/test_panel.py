"""Several judges that share the checks of one attempt: the verdict is the one that a single judge would have given."""

import os

import pytest

from grader.errors import HarnessFault
from grader.judge.protocol import Checked, End, Event, Plan, PlannedCheck
from grader.judge.turns import queue_of_turns, turns
from grader.panel import MOST_JUDGES, Panel, judges_here
from grader.verdict import CheckResult, MistakeMatch, Seconds, State

PLAN = Plan(
    [
        PlannedCheck("test_a", "part", "a", 1, None, False),
        PlannedCheck("test_b", "part", "b", 1, "test_a", False),
        PlannedCheck("test_c", "part", "c", 1, "test_b", False),
        PlannedCheck("test_d", "part", "d", 1, None, False),
    ]
)


def result(id: str, state: State = State.PASSED, **more: object) -> CheckResult:
    return CheckResult(id=id, part="part", title=id[-1], points=1, state=state, **more)


def end(*results: CheckResult, isolation: str = "full", missing: tuple[str, ...] = ()) -> End:
    return End(list(results), Seconds(2.0, 0.5, 0.25), isolation, list(missing))


def heard(panel: Panel, *events: Event) -> list[Event]:
    return [said for event in events for said in panel.hear(event)]


def ends(*answers: CheckResult, **options: bool) -> dict[str, str]:
    """How the checks end where one judge gives those answers, in that order, and another gives none."""
    panel = Panel(2, **options)
    said = heard(panel, PLAN, PLAN, *map(Checked, answers), end(), end(*answers))
    return {check.id[-1]: check.state.value for check in said[-1].checks}


def test_answers_are_passed_on_in_the_order_of_the_plan():
    panel = Panel(2)
    assert heard(panel, PLAN, PLAN) == [PLAN]
    assert heard(panel, Checked(result("test_b"))) == []
    said = heard(panel, Checked(result("test_a")))
    assert [event.check.id for event in said] == ["test_a", "test_b"]


def test_what_was_run_although_the_check_that_it_needs_failed_waits():
    answers = [result("test_c", State.TIMEOUT), result("test_b"), result("test_d"), result("test_a", State.FAILED)]
    assert ends(*answers) == {"a": "failed", "b": "waiting", "c": "waiting", "d": "passed"}
    assert ends(*answers, ignore_needs=True) == {"a": "failed", "b": "passed", "c": "timeout", "d": "passed"}


def test_what_needs_a_check_that_nobody_asked_for_does_not_wait():
    answers = [result(f"test_{name}", State.NOT_SELECTED) for name in "abd"]
    assert ends(*answers, result("test_c")) == dict.fromkeys("abd", "not_selected") | {"c": "passed"}


def test_what_needs_a_later_check_goes_first():
    panel = Panel(1)
    said = heard(
        panel,
        Plan([PlannedCheck("test_a", "part", "a", 1, "test_b", False), PLAN.checks[1]]),
        Checked(result("test_a")),
    )
    assert said[-1].check.state is State.PASSED, "as one judge runs them; lint finds it"


def test_a_check_that_no_judge_answers_is_a_fault_of_ours():
    assert ends(result("test_a"), result("test_d")) == {
        "a": "passed",
        "b": "harness_fault",
        "c": "waiting",
        "d": "passed",
    }


def test_the_ends_become_one():
    known = result("test_d", State.FAILED, mistake=MistakeMatch("slip", "mind the slip"))
    first = end(result("test_a"), known, isolation="partial", missing=("seccomp",))
    panel = Panel(2)
    heard(panel, PLAN, *(Checked(result(f"test_{name}")) for name in "abc"), Checked(result("test_d", State.FAILED)))
    assert heard(panel, first) == []
    (whole,) = heard(panel, end(result("test_b"), result("test_c")))
    assert whole.seconds == Seconds(2.0, 1.0, 0.5), "the longest time on the wall, and all computing"
    assert (whole.isolation, whole.isolation_missing) == ("partial", ["seccomp"])
    assert [check.id for check in whole.checks] == [check.id for check in PLAN.checks]
    assert whole.checks[-1].mistake == known.mistake


def test_judges_that_contradict_each_other_are_a_fault_of_ours():
    panel = Panel(2)
    heard(panel, PLAN, Checked(result("test_a")))
    with pytest.raises(HarnessFault, match="test_a was answered twice"):
        heard(panel, Checked(result("test_a")))
    with pytest.raises(HarnessFault, match="different plans"):
        heard(panel, Plan([]))


def test_each_turn_goes_to_one_judge():
    queue = queue_of_turns()
    first, second = turns(queue, 5), turns(queue, 5)
    taken = [next(first), next(second), next(second), *first, *second]
    os.close(queue)
    assert taken == [0, 1, 2, 3, 4]
    assert list(turns(None, 3)) == [0, 1, 2]


def test_there_is_a_judge_for_each_core_up_to_a_few():
    assert 1 <= judges_here() <= MOST_JUDGES
