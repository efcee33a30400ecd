"""Study plans and what is due: pure rules, held for every catalogue, and the command that shows them."""

import time
from datetime import date, timedelta

import pytest
from cli_tools import RIGHT, SLUG, WRONG
from hypothesis import given, settings
from hypothesis import strategies as st

from grader.errors import UsageError
from grader.history import Event, History
from grader.practice.calendar import as_ics, as_markdown
from grader.practice.due import AGAIN, EASY, GOOD, HARD, Effort, rated, reviews
from grader.practice.plan import MOCK_MINUTES, PRESETS, Phase, Plan, plan, preset

FIRST = date(2026, 11, 23)


class Kata:
    """What a plan looks at."""

    def __init__(self, slug: str, minutes: int = 30, needs: tuple[str, ...] = (), track: str = "t") -> None:
        self.slug, self.minutes, self.prerequisites, self.track = slug, minutes, needs, track
        self.title = f"The {slug}, a kata; with, signs"


CHAIN = [Kata("a"), Kata("b", needs=("a",)), Kata("c", 45, ("b",)), Kata("d", 20)]


TWO_WEEKS = (Phase("all", 2),)


def made(katas=CHAIN, passed=(), due=(), phases=TWO_WEEKS, hours=7.0) -> Plan:
    return plan(katas, passed, due, phases, hours, FIRST)


def order(found: Plan) -> list[str]:
    """Slugs as they are begun for the first time."""
    return list(dict.fromkeys(item.subject for day in found.days for item in day.items if item.what == "kata"))


def test_new_katas_come_in_order_and_every_day_is_there():
    found = made()
    assert order(found) == ["a", "b", "c", "d"]
    assert [day.date for day in found.days] == [FIRST + timedelta(days=n) for n in range(14)]
    assert not found.left_out


def test_what_is_passed_is_left_out_and_what_is_due_comes_first():
    found = made(passed=("a", "d"), due=("d",))
    assert order(found) == ["b", "c"]
    first = next(item for item in found.days[0].items if item.what != "quiz")
    assert (first.what, first.subject, first.command) == ("again", "d", "kata reset d")


def test_a_kata_that_was_new_comes_back():
    assert [item.subject for item in made().days[10].items if item.what == "again"] == ["a"]


def test_what_finds_no_room_is_said():
    found = made([Kata(letter, 60) for letter in "abcdefgh"], hours=3)
    assert found.left_out
    assert f"No room for: {', '.join(kata.slug for kata in found.left_out)}." in as_markdown(found)


def test_the_second_half_ends_its_weeks_with_a_mock_interview():
    found = made(phases=(Phase("all", 4, ("t",)),))
    mocks = [number for number, day in enumerate(found.days) if any(item.what == "mock" for item in day.items)]
    assert mocks == [20, 27]


def test_a_phase_takes_its_track_first_and_what_that_needs():
    katas = [Kata("x", track="other"), Kata("y", track="other"), Kata("z", track="mine", needs=("y",))]
    assert order(made(katas, phases=(Phase("mine", 1, ("mine",)),))) == ["y", "z", "x"]


@pytest.mark.parametrize("one", PRESETS, ids=lambda one: one.name)
def test_presets_last_as_long_as_they_say(one):
    assert preset(one.name) is one
    assert len(made(phases=one.phases, hours=one.hours).days) == 7 * one.weeks
    assert {"sprint": 3, "nine-weeks": 9, "course": 12}[one.name] == one.weeks


def test_an_unknown_preset_names_those_there_are():
    with pytest.raises(UsageError, match="sprint, nine-weeks, course"):
        preset("crash")


@st.composite
def catalogues(draw):
    katas: list[Kata] = []
    for number in range(draw(st.integers(1, 8))):
        needs = tuple(sorted(draw(st.sets(st.sampled_from([k.slug for k in katas]))) if katas else ()))
        katas.append(Kata(f"k{number}", draw(st.integers(5, 90)), needs, draw(st.sampled_from("tu"))))
    return katas


@settings(max_examples=150, deadline=None)
@given(catalogues(), st.floats(1, 40), st.integers(1, 6), st.sampled_from([(), ("t",), ("u",)]))
def test_nothing_comes_before_what_it_needs_and_no_day_is_too_long(katas, hours, weeks, tracks):
    found = made(katas, phases=(Phase("all", weeks, tracks),), hours=hours)
    begun = order(found)
    for kata in katas:
        if kata.slug in begun:
            assert all(begun.index(need) < begun.index(kata.slug) for need in kata.prerequisites)
    for day in found.days:
        assert day.minutes <= max(round(hours * 60 / 7), MOCK_MINUTES)
        for item in day.items:
            assert item.minutes > 0
    assert made(katas, phases=(Phase("all", weeks, tracks),), hours=hours) == found


def test_a_calendar_is_folded_escaped_and_has_an_event_a_day():
    text = as_ics(made(), now=0.0)
    lines = text.split("\r\n")
    assert all(len(line.encode()) <= 75 for line in lines)
    whole = text.replace("\r\n ", "")
    assert whole.count("BEGIN:VEVENT") == sum(bool(day.items) for day in made().days)
    assert "DTSTART;VALUE=DATE:20261123" in whole
    assert "The a\\, a kata\\; with\\, signs" in whole
    assert "DTSTAMP:19700101T000000Z" in whole


# ---- what is due


@pytest.mark.parametrize(
    ("effort", "rating"),
    [
        (Effort(10, 0, 2), EASY),
        (Effort(10, 1, 2), GOOD),
        (Effort(None, 0, 0), GOOD),
        (Effort(10, 0, 3), GOOD),
        (Effort(61, 0, 0), HARD),
        (Effort(10, 2, 0), HARD),
        (Effort(10, 0, 10), HARD),
        (Effort(10, 0, 0, gave_up=True), AGAIN),
    ],
)
def test_a_pass_is_rated_by_what_it_took(effort, rating):
    assert rated(effort, 30) == rating


def test_only_what_was_begun_anew_is_a_review(person):
    person.kata("start", SLUG)
    for source in (WRONG, RIGHT, RIGHT):
        person.write(source)
        person.kata("check", SLUG)
    person.kata("reset", SLUG, "--yes")
    person.kata("hint", SLUG)
    person.kata("hint", SLUG)
    person.write(RIGHT)
    person.kata("check", SLUG)
    with History.open(person.home / "history.db", now=time.time) as history:
        kata = type("K", (), {"slug": SLUG, "minutes": 7})()
        assert [review.rating for review in reviews(history, kata)] == [EASY, HARD]
        assert history.events(SLUG, Event.HINT)


def test_a_kata_is_due_once_it_is_likely_forgotten(person):
    person.kata("start", SLUG)
    person.write(RIGHT)
    person.kata("check", SLUG)
    assert "due" not in person.kata().out
    database = person.home / "history.db"
    with History.open(database, now=time.time) as history, history.writing() as db:
        for table in ("versions", "events"):
            db.execute(f"UPDATE {table} SET at = at - 90 * 86400")
    said = person.kata()
    assert "1 due" in said.out
    assert f"kata reset {SLUG}" in said.out


# ---- the command


def test_the_command_shows_a_plan_as_a_table_a_list_and_a_calendar(person):
    table = person.kata("plan", "--weeks", "1", "--hours", "7", "--from", "2026-11-23").out
    assert "week 1  by priority" in table
    assert "Mon 23 Nov" in table
    assert person.kata("plan", "sprint", "--format", "md").out.startswith("# 3 weeks, 12 hours each")
    assert person.kata("plan", "course", "--format", "ics").out.startswith("BEGIN:VCALENDAR")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("crash",), "there is no plan 'crash'"),
        (("sprint", "--weeks", "2"), "sprint has its own 3 weeks"),
        (("--weeks", "0"), "--weeks takes a number up to 52, not '0'"),
        (("--hours", "many"), "--hours takes a number up to 60, not 'many'"),
        (("--from", "tomorrow"), "--from takes a date such as 2026-01-31"),
        (("--track", "none"), "no kata is of track 'none'"),
        (("--format", "pdf"), "--format takes md or ics, not 'pdf'"),
    ],
)
def test_what_cannot_be_planned_says_why(person, arguments, told):
    said = person.kata("plan", *arguments)
    assert said.code == 2
    assert told in said.err
