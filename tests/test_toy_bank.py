"""The toy bank, graded for real: each feature of the interface that checks are written against, right and wrong."""

import random
import re
import time
from copy import deepcopy
from pathlib import Path

import msgspec
import observed
import psutil
import pytest
import torch
import toy

from grader.errors import Unavailable
from grader.grading import Graded, Grader, Options
from grader.judge.rng import Rng
from grader.judge.seeds import derive
from grader.verdict import CheckResult, State, Verdict

SLUGS = sorted(path.parent.name for path in toy.BANK.glob("katas/*/kata.toml"))
SEED = "00000000000000aa"


@pytest.fixture(scope="module")
def lone_grader():
    """A judge and workers in interpreters of their own, as where forking is not safe."""
    with Grader(fork=False) as grader:
        yield grader


def by_id(graded: Graded) -> dict[str, CheckResult]:
    return {check.id: check for check in graded.verdict.checks}


def states(graded: Graded) -> dict[str, str]:
    return {check.id.removeprefix("test_"): check.state.value for check in graded.verdict.checks}


def without_times(verdict: Verdict) -> Verdict:
    checks = [msgspec.structs.replace(check, seconds=0.0) for check in verdict.checks]
    return msgspec.structs.replace(verdict, checks=checks, seconds=None)


def reference(slug: str):
    kata = toy.toy_kata(slug)
    return kata, toy.made(toy.reference_text(kata))


@pytest.mark.parametrize("slug", [slug for slug in SLUGS if slug != "faulty"])
def test_a_reference_passes_everything(grader, slug):
    graded = grader.grade(*reference(slug))
    assert set(states(graded).values()) == {"passed"}, [c for c in graded.verdict.checks if c.state != "passed"]
    assert graded.verdict.passed
    assert graded.verdict.score == graded.verdict.max_score == 100


@pytest.mark.parametrize("judges", [1, 3])
@pytest.mark.parametrize("path", toy.toy_attempts(), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_an_attempt_ends_as_it_says_itself(grader, path, judges):
    assert not disagreements(grader, path, judges)


ALONE = ["lengths/imports_part_of_a_forbidden_module", "states/exits", "states/hangs", "states/prints"]


@pytest.mark.parametrize("name", ALONE)
def test_it_ends_so_without_forking_too(lone_grader, name):
    assert not disagreements(lone_grader, toy.BANK / "attempts" / f"{name}.py")


@pytest.mark.parametrize(("slug", "only"), [("resume", "goes_on_in_a_new_process"), ("states", None)])
def test_a_reference_passes_without_forking_too(lone_grader, slug, only):
    graded = lone_grader.grade(*reference(slug), Options(only=only))
    assert set(states(graded).values()) - {"not_selected"} == {"passed"}
    assert graded.verdict.isolation == "process"


def disagreements(grader: Grader, path: Path, judges: int = 1) -> list[str]:
    attempt = toy.read_toy(path)
    assert attempt.wanted, "it does not say how its checks end"
    only = tuple(attempt.wanted) if attempt.only else None
    options = Options(exactly=only, cpu_seconds=attempt.cpu_seconds, judges=judges)
    checks = by_id(grader.grade(attempt.kata, attempt.attempt, options))
    assert set(attempt.wanted) <= set(checks)
    others = toy.Wanted("not_selected" if attempt.only else "passed")
    told = [toy.differs(check, attempt.wanted.get(check.id, others)) for check in checks.values()]
    return [text for text in told if text]


# ---- seeds


def drawn(graded: Graded) -> str:
    """Numbers that a check drew, as its failure shows them."""
    return by_id(graded)["test_gradients_reach_input_and_parameters"].expected


def test_a_seed_repeats_everything_and_another_does_not(grader):
    attempt = toy.read_toy(toy.BANK / "attempts/gradients/cuts_the_graph.py")
    one, again, other = (grader.grade(attempt.kata, attempt.attempt, Options(seed=s)) for s in (SEED, SEED, None))
    assert without_times(one.verdict) == without_times(again.verdict)
    assert drawn(one) != drawn(other)
    assert one.verdict.seed == SEED != other.verdict.seed


def test_a_check_alone_draws_what_it_draws_among_others(grader):
    attempt = toy.read_toy(toy.BANK / "attempts/gradients/cuts_the_graph.py")
    whole = grader.grade(attempt.kata, attempt.attempt, Options(seed=SEED))
    alone = grader.grade(attempt.kata, attempt.attempt, Options(seed=SEED, only="gradients_reach_input"))
    assert drawn(whole) == drawn(alone)


def test_the_generators_of_a_worker_follow_the_seed(grader):
    kata = toy.toy_kata("sampling")
    attempt = toy.changed(
        kata, "_from = from_the_worker\n\n\ndef from_the_worker():\n    print(_from())\n    return []"
    )
    outputs = [
        by_id(grader.grade(kata, attempt, Options(seed=seed)))["test_attempt_and_reference_start_alike"].output
        for seed in (SEED, SEED, "00000000000000ab")
    ]
    assert outputs[0] == outputs[1] != outputs[2]
    assert outputs[0].startswith("[0.")


# ---- trained checks

COIN = """
def coin():
    return random.random() < 0.5
"""


def seed_with(wanted: list[bool]) -> str:
    """A seed whose first and second worker throw these coins."""
    for number in range(1000):
        seed = f"{number:016x}"
        draws = [derive(seed, "test_luck_is_tried_twice", "worker", *again) for again in ((), ("again",))]
        if [random.Random(draw).random() < 0.5 for draw in draws] == wanted:
            return seed
    raise AssertionError("no such seed")


@pytest.mark.parametrize(
    ("coins", "state"),
    [([True, False], "passed"), ([False, True], "passed"), ([False, False], "failed")],
    ids=["at once", "the second time", "never"],
)
def test_a_trained_check_is_repeated_once_with_another_seed(grader, coins, state):
    kata = toy.toy_kata("sampling")
    graded = grader.grade(kata, toy.changed(kata, COIN), Options(seed=seed_with(coins), only="luck"))
    assert states(graded)["luck_is_tried_twice"] == state


# ---- selection


def test_a_selection_by_name_sentence_or_part(grader):
    kata, attempt = reference("states")
    for only, selected in (("inverse", 1), ("TWICE", 2), ("whatever the number", 1), ("second", 3)):
        graded = grader.grade(kata, attempt, Options(only=only))
        assert list(states(graded).values()).count("passed") == selected, only
        assert list(states(graded).values()).count("not_selected") == 5 - selected
        assert not graded.verdict.passed


def test_a_check_that_is_selected_alone_waits_for_nobody(grader):
    kata = toy.toy_kata("states")
    attempt = toy.changed(kata, "def double(x):\n    return 0 if x == 3 else 2 * x")
    waiting = states(grader.grade(kata, attempt))
    assert waiting["double_is_twice_for_any_number"] == "waiting"
    for options in (Options(only="whatever the number"), Options(ignore_needs=True)):
        assert states(grader.grade(kata, attempt, options))["double_is_twice_for_any_number"] == "passed"


# ---- what is announced, measured and left behind


@pytest.mark.parametrize("judges", [1, 2, 7])
def test_every_check_is_planned_and_told_once(grader, judges):
    events = []
    graded = grader.grade(*reference("states"), Options(judges=judges), watch=events.append)
    assert [type(event).__name__ for event in events] == ["Plan", *["Checked"] * 5, "End"]
    assert [c.id for c in events[0].checks] == [e.check.id for e in events[1:-1]] == list(by_id(graded))
    needs = {c.id: c.needs for c in events[0].checks}
    assert needs["test_total_of_nothing"] == "test_total_is_the_sum"


def test_what_is_printed_stands_under_the_check_that_printed_it(grader):
    attempt = toy.read_toy(toy.BANK / "attempts/states/prints.py")
    checks = by_id(grader.grade(attempt.kata, attempt.attempt))
    assert checks["test_double_is_twice"].output == "doubling 3\n"
    long = checks["test_total_is_the_sum"].output
    assert long.startswith("line 0\n")
    assert long.endswith("line 1999\n")
    assert len(long) < 9_000


def test_a_device_that_is_not_there_is_refused(grader):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(Unavailable, match="no cuda device here"):
        grader.grade(*reference("values"), Options(device="cuda"))
    assert Unavailable.exit_code == 2


def test_no_process_is_left_of_ranks_that_failed(grader):
    attempt = toy.read_toy(toy.BANK / "attempts/ranks/raises_in_one.py")
    options = Options(exactly=tuple(attempt.wanted))
    grader.grade(attempt.kata, attempt.attempt, options)
    before = len(descendants(grader))
    result = by_id(grader.grade(attempt.kata, attempt.attempt, options))["test_the_mean_over_ranks"]
    assert result.state is State.ERROR
    deadline = time.monotonic() + 5
    while len(descendants(grader)) > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(descendants(grader)) <= before


def descendants(grader: Grader) -> list[psutil.Process]:
    return [child for process in observed.launched(grader) for child in observed.children(process, recursive=True)]


def test_the_design_note_quotes_checks_that_run():
    note = (Path(__file__).parents[1] / "docs" / "design" / "check-interface.md").read_text()
    quoted = re.findall(r"```python\n(.*?)```", note, re.DOTALL)
    checks = "\n".join(path.read_text() for path in toy.BANK.glob("katas/*/checks.py"))
    assert len(quoted) == 5
    assert [snippet for snippet in quoted if snippet not in checks] == []


# ---- the check's own generator


def test_a_deep_copy_of_rng_draws_the_same_once_more():
    rng = Rng(5)
    twin = deepcopy(rng)
    assert type(twin) is Rng
    assert rng.standard_normal(3).tolist() == twin.standard_normal(3).tolist()
    assert rng.integers(9) == twin.integers(9)
