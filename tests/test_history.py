"""What a learner did is kept, and told back as it was."""

import itertools
import os
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from history_tools import SLUG, Clock, open_history, run
from history_writer import make_verdict
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from grader.errors import HistoryError
from grader.history import FAILING, Event, History, Progress, default_path
from grader.verdict import AttemptRef, State, Verdict
from grader.workspace import read_attempt, write_atomically

IN_MEMORY = Path(":memory:")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "history.db"


@pytest.fixture
def history(path: Path) -> Iterator[History]:
    with open_history(path) as history:
        yield history


# Progress


def test_a_new_history_knows_nothing(history: History) -> None:
    assert history.states() == {}
    assert history.last_started() is None
    assert history.started_path(SLUG) is None
    assert history.time_started(SLUG) is None
    assert history.last_verdict(SLUG) is None
    assert history.runs(SLUG) == []
    assert (history.best(SLUG), history.passed(SLUG), history.gave_up(SLUG)) == (None, False, False)
    assert (history.hint_level(SLUG, "double"), history.consecutive_failures(SLUG, "test_a")) == (0, 0)


def test_a_kata_goes_from_started_to_passed_and_stays_there(history: History) -> None:
    history.record_started(SLUG, Path("/home/me/toy-kata/toy_kata.py"))
    assert history.states() == {SLUG: (Progress.STARTED, None)}
    run(history, 40)
    assert history.states() == {SLUG: (Progress.STARTED, 40)}
    run(history, 100)
    run(history, 10)
    assert history.states() == {SLUG: ("passed", 100)}
    assert (history.best(SLUG), history.passed(SLUG)) == (100, True)


def test_a_run_without_a_start_counts_as_started(history: History) -> None:
    run(history, 0)
    assert history.states() == {SLUG: (Progress.STARTED, 0)}


def test_a_run_of_selected_checks_is_kept_but_is_never_the_best_nor_a_pass(history: History) -> None:
    run(history, 100, selected=True)
    assert history.states() == {SLUG: (Progress.STARTED, None)}
    run(history, 30)
    assert (history.best(SLUG), history.passed(SLUG)) == (30, False)
    assert [version.selected for version in history.runs(SLUG)] == [False, True]


def test_hints_alone_start_nothing(history: History) -> None:
    history.record_hint(SLUG, "double", 1)
    assert history.states() == {}


def test_the_last_started_kata_is_known_with_its_place(history: History) -> None:
    history.record_started("one", Path("/a/one/one.py"))
    history.record_started("two", Path("/a/two/two.py"))
    history.record_started("one", Path("/b/one/one.py"))
    assert history.last_started() == ("one", Path("/b/one/one.py"))
    assert history.started_path("two") == Path("/a/two/two.py")
    assert history.time_started("one") == Clock().at + 2  # the first look was at opening


def test_a_place_whose_name_is_not_unicode_is_found_again(history: History) -> None:
    place = Path("/home/me/caf\udce9/toy_kata.py")  # how Python writes the byte 0xe9 in a file name
    history.record_started(SLUG, place)
    assert history.last_started() == (SLUG, place)


def test_hint_levels_are_remembered_per_part_and_never_go_down(history: History) -> None:
    for part, level in [("double", 1), ("double", 2), ("triple", 1), ("double", 1)]:
        history.record_hint(SLUG, part, level)
    assert history.hint_level(SLUG, "double") == 2
    assert history.hint_level(SLUG, "triple") == 1
    assert history.hint_level("other", "double") == 0


def test_giving_up_is_remembered(history: History) -> None:
    history.record_event(SLUG, Event.GAVE_UP, {"after": "two hints"})
    assert history.gave_up(SLUG)
    assert not history.gave_up("other")


# Runs and versions


def test_versions_are_numbered_per_kata_and_listed_newest_first(history: History) -> None:
    assert run(history, 10, data=b"a") == 1
    history.record_run(make_verdict(b"z", kata="other"), b"z", selected=False)
    history.keep_attempt(SLUG, b"b", reason="reset")
    assert history.record_run(make_verdict(b"c", score=100), b"c", selected=False, context="mock") == 3
    assert [(v.n, v.reason, v.score, v.max_score, v.passed) for v in history.runs(SLUG)] == [
        (3, "mock", 100, 100, True),
        (2, "reset", None, None, None),
        (1, "practice", 10, 100, False),
    ]
    assert [history.attempt_bytes(version.sha256) for version in history.runs(SLUG)] == [b"c", b"b", b"a"]
    assert history.runs("other")[0].n == 1


def test_what_is_already_the_newest_version_is_not_kept_twice(history: History) -> None:
    run(history, data=b"a")
    history.keep_attempt(SLUG, b"a")
    assert len(history.runs(SLUG)) == 1
    run(history, data=b"b")
    history.keep_attempt(SLUG, b"a")
    assert [version.n for version in history.runs(SLUG)] == [3, 2, 1]


def test_the_same_bytes_are_stored_once(history: History, path: Path) -> None:
    for kata in ("one", "two"):
        for _ in range(3):
            history.record_run(make_verdict(b"same", kata=kata), b"same", selected=False)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT count(*) FROM attempts").fetchone() == (1,)


def test_restoring_an_old_version_loses_nothing(history: History, tmp_path: Path) -> None:
    file = tmp_path / "toy_kata.py"
    run(history, data=b"old")
    file.write_bytes(b"new and never graded")
    history.keep_attempt(SLUG, read_attempt(file).data, reason="restore")
    write_atomically(file, history.attempt_bytes(history.runs(SLUG)[-1].sha256))
    history.record_event(SLUG, Event.RESTORED, {"n": 1})
    assert file.read_bytes() == b"old"
    assert [history.attempt_bytes(version.sha256) for version in history.runs(SLUG)] == [
        b"new and never graded",
        b"old",
    ]


def test_a_run_is_refused_with_other_bytes_than_were_graded(history: History) -> None:
    with pytest.raises(HistoryError, match="not those that were graded"):
        history.record_run(make_verdict(b"graded"), b"other", selected=False)
    assert history.runs(SLUG) == []


def test_an_unknown_attempt_is_said(history: History) -> None:
    with pytest.raises(HistoryError, match=r"holds no attempt 00: `kata history NAME`"):
        history.attempt_bytes("00")


def test_times_are_kept_as_seconds_and_as_utc(history: History, path: Path) -> None:
    run(history)
    history.record_hint(SLUG, "double", 1)
    with closing(sqlite3.connect(path)) as db:
        for table, utc in (("versions", "2026-01-01T00:00:02+00:00"), ("events", "2026-01-01T00:00:03+00:00")):
            assert db.execute(f"SELECT utc FROM {table}").fetchall() == [(utc,)]
    assert history.runs(SLUG)[0].when == Clock().at + 2


def test_a_clock_that_was_set_back_changes_no_order(path: Path) -> None:
    times = iter([50.0, 40.0, 30.0, 20.0, 10.0])
    with History.open(path, now=lambda: next(times)) as history:
        run(history, data=b"first", a=State.PASSED)
        run(history, data=b"second", a=State.FAILED)
        history.record_started("one", Path("/one"))
        history.record_started("two", Path("/two"))
        assert [history.attempt_bytes(version.sha256) for version in history.runs(SLUG)] == [b"second", b"first"]
        assert history.consecutive_failures(SLUG, "a") == 1
        assert history.last_started() == ("two", Path("/two"))


@given(attempts=st.lists(st.binary(max_size=300), max_size=8))
def test_any_bytes_come_back_as_they_were(attempts: list[bytes]) -> None:
    with open_history(IN_MEMORY) as history:
        shas = [history.keep_attempt(SLUG, data) for data in attempts]
        assert [history.attempt_bytes(sha) for sha in shas] == attempts
        kept = [history.attempt_bytes(version.sha256) for version in reversed(history.runs(SLUG))]
    assert kept == [data for i, data in enumerate(attempts) if i == 0 or data != attempts[i - 1]]


# Verdicts and checks


def odd_verdict(path: str, output: str, points: int, seconds: float) -> Verdict:
    verdict = make_verdict(b"x", test_a=State.FAILED, test_b=State.HARNESS_FAULT)
    first = replace(verdict.checks[0], output=output, message=output, points=points, seconds=seconds)
    attempt = AttemptRef(path=path, sha256=verdict.attempt.sha256)
    return replace(verdict, attempt=attempt, checks=[first, *verdict.checks[1:]])


@given(
    verdict=st.builds(
        odd_verdict,
        path=st.binary(max_size=30).map(os.fsdecode),
        output=st.text(max_size=50),
        points=st.integers(0, 100),
        seconds=st.floats(0, 1e6),
    )
)
def test_a_verdict_comes_back_whole(verdict: Verdict) -> None:
    with open_history(IN_MEMORY) as history:
        history.record_run(verdict, b"x", selected=False)
        assert history.last_verdict(SLUG) == verdict


def test_the_last_verdict_is_that_of_the_newest_run_selected_or_not(history: History) -> None:
    run(history, 10)
    run(history, 20, selected=True)
    history.keep_attempt(SLUG, b"kept")
    last = history.last_verdict(SLUG)
    assert last is not None
    assert last.score == 20


def test_a_verdict_of_another_format_is_said_with_the_way_to_a_new_one(history: History, path: Path) -> None:
    run(history)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE runs SET verdict = ?", (zlib.compress(b'{"format": 0}'),))
    with pytest.raises(HistoryError, match=r"last verdict of toy-kata cannot be read .*`kata check toy-kata`"):
        history.last_verdict(SLUG)


def test_the_checks_of_a_run_are_kept_one_by_one(history: History, path: Path) -> None:
    run(history, test_a=State.PASSED, test_b=State.FAILED)
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT run, id, part, state, points, mistake FROM checks ORDER BY id").fetchall()
    assert rows == [(1, "test_a", "double", "passed", 10, None), (1, "test_b", "double", "failed", 10, "adds_one")]


@pytest.mark.parametrize("state", FAILING)
def test_every_way_to_fail_counts_as_a_failure_in_a_row(history: History, state: State) -> None:
    run(history, a=state)
    run(history, a=state)
    assert history.consecutive_failures(SLUG, "a") == 2


def test_a_pass_ends_the_row_of_failures(history: History) -> None:
    for state in (State.FAILED, State.FAILED, State.PASSED, State.FAILED):
        run(history, a=state, b=State.FAILED)
    assert history.consecutive_failures(SLUG, "a") == 1
    assert history.consecutive_failures(SLUG, "b") == 4
    assert history.consecutive_failures(SLUG, "unknown") == 0
    assert history.consecutive_failures("other", "a") == 0


@given(states=st.lists(st.sampled_from(State), max_size=8))
def test_runs_that_did_not_judge_a_check_are_passed_over(states: list[State]) -> None:
    with open_history(IN_MEMORY) as history:
        for state in states:
            run(history, a=state)
        since = list(itertools.takewhile(lambda state: state is not State.PASSED, reversed(states)))
        assert history.consecutive_failures(SLUG, "a") == sum(state in FAILING for state in since)


# Where it is


def test_the_history_is_where_kata_home_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KATA_HOME", str(tmp_path))
    assert default_path() == tmp_path / "history.db"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KATA_HOME", "~/katas")
    assert default_path() == tmp_path / "katas" / "history.db"


@pytest.mark.parametrize("unset", ["", None])
def test_without_kata_home_it_is_among_the_users_data(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, unset: str | None
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.delenv("KATA_HOME", raising=False) if unset is None else monkeypatch.setenv("KATA_HOME", unset)
    assert default_path().is_relative_to(tmp_path)
    assert default_path().parts[-2:] == ("kata", "history.db")
