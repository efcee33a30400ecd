"""The interview's state machine: every event in every state, and what must hold whatever happens and whenever."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grader.mock.events import (
    Answered,
    Begun,
    Closed,
    Continued,
    Drawn,
    Event,
    Finished,
    Graded,
    Opened,
    Paused,
    Rated,
    Saved,
)
from grader.mock.moment import Moment, seconds
from grader.mock.state import Impossible, Phase, State, apply, at_moment, begin

MINUTES = 10.0
LIMIT = 600.0
DRAWN = Drawn(katas=("pairs", "sums"), questions=("q1", "q2"), minutes=MINUTES, seed="0" * 16)


def moment(seconds_: float) -> Moment:
    return Moment(1_000_000.0 + seconds_, "boot", 50.0 + seconds_)


def after(*steps: tuple[float, Event]) -> State:
    state = begin(DRAWN, moment(0))
    for when, event in steps:
        state = apply(state, event, moment(when))
    return state


def saved(when: float, kata: str = "pairs", sha: str = "a") -> tuple[float, Saved]:
    return when, Saved(kata, sha, moment(when))


def graded(sha: str = "a", kata: str = "pairs") -> Graded:
    return Graded(kata, sha, 60, 100, {"first": (60, 100)})


STATES = {
    Phase.DRAWN: after(),
    Phase.RUNNING: after((0, Begun()), saved(5), (6, Answered("q1", "because"))),
    Phase.PAUSED: after((0, Begun()), saved(5), (6, Answered("q1", "because")), (9, Paused())),
    Phase.OVER: after((0, Begun()), saved(5), (6, Answered("q1", "because")), (9, Finished())),
    Phase.CLOSED: after(
        (0, Begun()), saved(5), (6, Answered("q1", "because")), (9, Finished()), (9, graded()), (9, Rated("q1", 2)),
        (9, Closed()),
    ),
}  # fmt: skip
EVENTS: dict[str, Event] = {
    "drawn": DRAWN,
    "opened": Opened("tty2"),
    "begun": Begun(),
    "saved": Saved("pairs", "b", moment(10)),
    "graded": graded(),
    "paused": Paused(),
    "continued": Continued(),
    "answered": Answered("q2", "since"),
    "rated": Rated("q1", 3),
    "finished": Finished(),
    "closed": Closed(),
}
ALLOWED = {
    Phase.DRAWN: {"opened", "begun"},
    Phase.RUNNING: {"opened", "saved", "graded", "paused", "answered", "finished"},
    Phase.PAUSED: {"opened", "graded", "continued", "finished"},
    Phase.OVER: {"opened", "graded", "rated"},
    Phase.CLOSED: {"opened", "graded"},
}


@pytest.mark.parametrize("phase", STATES)
@pytest.mark.parametrize("name", EVENTS)
def test_every_event_in_every_state_is_taken_or_refused(phase, name):
    state = STATES[phase]
    assert state.phase is phase
    if name in ALLOWED[phase]:
        assert apply(state, EVENTS[name], moment(10)).last == moment(10)
    else:
        with pytest.raises(Impossible):
            apply(state, EVENTS[name], moment(10))


# ---- the clock


def test_time_runs_only_while_it_runs():
    state = after((100, Begun()), (160, Paused()), (1000, Continued()))
    assert (state.elapsed, state.paused, state.pauses) == (60, 840, 1)
    assert at_moment(state, moment(1030)).elapsed == 90


def test_the_bell_rings_while_nobody_looks():
    state = at_moment(after((0, Begun())), moment(5000))
    assert (state.phase, state.elapsed, state.left) == (Phase.OVER, LIMIT, 0)


def test_a_wall_clock_that_is_set_changes_nothing_within_a_boot():
    state = after((0, Begun()))
    for wall in (0.0, 5e9):
        assert at_moment(state, Moment(wall, "boot", 50.0 + 42)).elapsed == 42


def test_across_a_reboot_the_wall_clock_counts_and_never_backwards():
    state = after((0, Begun()), (10, Opened("tty1")))
    assert at_moment(state, Moment(1_000_100.0, "other", 3.0)).elapsed == 100
    assert at_moment(state, Moment(999_000.0, "other", 3.0)).elapsed == 10


def test_a_closed_laptop_is_time_that_passes():
    asleep = Moment(1_000_300.0, "boot", 350.0)  # the boot clock goes on in suspend
    assert at_moment(after((0, Begun())), asleep).elapsed == 300


# ---- what counts


def test_the_last_version_before_the_bell_counts_for_each_kata():
    state = after((0, Begun()), saved(10), saved(20, "sums", "s"), saved(30, sha="b"))
    assert {kata: version.sha256 for kata, version in state.counting.items()} == {"pairs": "b", "sums": "s"}


def test_a_save_before_the_bell_counts_even_if_it_is_seen_after():
    state = after((0, Begun()), (590, Opened("tty1")), (900, Opened("tty2")))
    state = apply(state, Saved("pairs", "late", moment(595)), moment(901))
    assert state.counting["pairs"].elapsed == 595


@pytest.mark.parametrize("when", [600, 601, 900])
def test_a_save_at_the_bell_or_later_does_not(when):
    state = after((0, Begun()), saved(10))
    with pytest.raises(Impossible, match="over by then"):
        apply(state, Saved("pairs", "late", moment(when)), moment(901))


def test_a_save_after_finishing_does_not_count():
    with pytest.raises(Impossible, match="over by then"):
        apply(after((0, Begun()), (50, Finished())), Saved("pairs", "late", moment(60)), moment(61))


def test_closing_waits_for_every_grade_and_rating():
    over = after((0, Begun()), saved(5), (6, Answered("q1", "because")), (7, Answered("q2", "")), (9, Finished()))
    for missing in ([], [graded()], [Rated("q1", 1)]):
        state = over
        for event in missing:
            state = apply(state, event, moment(10))
        with pytest.raises(Impossible):
            apply(state, Closed(), moment(11))
    whole = apply(apply(over, graded(), moment(10)), Rated("q1", 1), moment(10))
    assert apply(whole, Closed(), moment(11)).phase is Phase.CLOSED


def test_an_empty_answer_needs_no_rating():
    state = after((0, Begun()), (6, Answered("q1", "")), (9, Finished()))
    assert state.unrated == ()
    with pytest.raises(Impossible):
        apply(state, Rated("q1", 1), moment(10))


@pytest.mark.parametrize("drawn", [replace_ for replace_ in ("nothing", "no time")])
def test_an_interview_of_nothing_is_not_begun(drawn):
    empty = Drawn(katas=(), questions=(), minutes=10, seed="") if drawn == "nothing" else Drawn(("a",), (), 0.0, "")
    with pytest.raises(Impossible):
        begin(empty, moment(0))


# ---- whatever happens, whenever

clocks = st.builds(Moment, st.floats(0, 2e9), st.sampled_from(["boot", "other"]), st.floats(0, 1e6))
happenings = st.one_of(
    st.sampled_from([event for name, event in EVENTS.items() if name != "saved"]),
    st.builds(Saved, st.sampled_from(["pairs", "sums", "else"]), st.sampled_from("abc"), clocks),
    st.builds(graded, st.sampled_from("abc")),
)
histories = st.lists(st.tuples(happenings, clocks), max_size=25)


def told(history: list[tuple[Event, Moment]]) -> list[State]:
    """Every state of that history; what is impossible is left out, as the terminal would."""
    states = [begin(DRAWN, moment(0))]
    for event, at in history:
        try:
            states.append(apply(states[-1], event, at))
        except Impossible:
            states.append(at_moment(states[-1], at))
    return states


@settings(max_examples=300)
@given(histories)
def test_time_never_runs_backwards_nor_past_the_bell(history):
    states = told(history)
    for earlier, later in itertools.pairwise(states):
        assert 0 <= earlier.elapsed <= later.elapsed <= LIMIT
        assert earlier.paused <= later.paused


@settings(max_examples=300)
@given(histories)
def test_no_event_is_lost_and_what_is_over_stays_over(history):
    states = told(history)
    for earlier, later in itertools.pairwise(states):
        assert later.versions[: len(earlier.versions)] == earlier.versions
        assert earlier.answers.items() <= later.answers.items()
        assert set(earlier.grades) <= set(later.grades)
        assert not (earlier.over and not later.over)


@settings(max_examples=300)
@given(histories)
def test_every_version_that_counts_was_saved_while_the_clock_ran(history):
    final = told(history)[-1]
    elapsed = [version.elapsed for version in final.versions]
    assert elapsed == sorted(elapsed)
    assert all(0 <= when < LIMIT for when in elapsed)
    last = {version.kata: version for version in final.versions}
    assert final.counting == last


@settings(max_examples=200)
@given(histories)
def test_replaying_a_history_gives_the_same_state(history):
    assert told(history)[-1] == told(history)[-1]
    assert replace(told(history)[-1]) == told(history)[-1]


@given(clocks, clocks)
def test_no_two_moments_are_a_negative_time_apart(one, other):
    assert seconds(one, other) >= 0
