"""Mock interviews in real terminals with a real clock, killed for real; and what is drawn and scored."""

import json
import random
import re
import shutil
import time
from fractions import Fraction
from pathlib import Path

import pytest
from cli_tools import RIGHT, ROOT, SLUG, WRONG, Person
from terminal import PATIENCE, Terminal

from grader.bank import Catalogue
from grader.errors import UsageError
from grader.history import History, Interviews, Outrun, Progress, Standing
from grader.mock.draw import Wish, draw_katas
from grader.mock.events import Begun, Drawn, Finished, Saved
from grader.mock.interview import Interview
from grader.mock.moment import now
from grader.mock.running import Desk
from grader.mock.sheet import Band, KataLine, QuestionLine, Sheet

TOY = ROOT / "tests" / "banks" / "toy"
SHORT = "0.15"
"""Minutes."""


def file_of(person: Person):
    return person.where / "mock-1" / SLUG / "pair_sums.py"


def begun(person: Person, *more: str) -> Terminal:
    terminal = Terminal(person, "mock", "--katas", SLUG, *more)
    terminal.until("Return starts the clock")
    terminal.forget()
    terminal.type("\r")
    terminal.until(" left of", "running")
    return terminal


def test_an_interview_from_brief_to_score_sheet(person):
    terminal = begun(person, "--minutes", "0.5", "--questions", "2", "--seed", "1")
    try:
        file_of(person).write_text(WRONG)
        terminal.until("40/100  1 version", "✗ total is the sum")
        assert "got" not in terminal.screen  # of a hidden check there is its sentence alone
        file_of(person).write_text(RIGHT)
        terminal.until("100/100  2 versions")
        terminal.forget()
        terminal.type("a")
        terminal.until("your answer; Return ends it>")
        terminal.type("because é\r")
        terminal.until("1 of 2 answered")
        terminal.type("f")
        terminal.until("Type yes")
        terminal.type("yes\r")
        terminal.until("your rating, 1 to 3")
        terminal.forget()
        terminal.type("3")
        terminal.until("mock interview 1  90/100  strong hire", "unanswered, 0 points")
        assert terminal.process.wait(timeout=PATIENCE) == 0
    finally:
        terminal.close()
    assert "closed" in person.kata("mock", "status").out
    assert " 100 " in person.kata("list").out  # an interview is practice too


def test_the_bell_grades_the_last_version_before_it_and_later_edits_do_not_count(person):
    terminal = begun(person, "--minutes", SHORT, "--questions", "0")
    try:
        file_of(person).write_text(WRONG)
        terminal.until("The time is over")
        file_of(person).write_text(RIGHT)
        terminal.until("mock interview 1  40/100  lean no hire")
    finally:
        terminal.close()


def test_hints_and_answers_are_closed_while_it_runs(person):
    terminal = begun(person, "--minutes", "5", "--questions", "0")
    try:
        for command in (("hint", SLUG), ("solution", SLUG, "--give-up", "--yes"), ("debrief", SLUG)):
            said = person.kata(*command)
            assert said.code == 2
            assert "hints and answers are closed until it is over" in said.err
        assert "is not over: `kata mock resume`" in person.kata("mock").err
    finally:
        terminal.close()
    assert person.kata("mock", "finish").code == 0
    assert person.kata("hint", SLUG).code == 0


def test_a_second_terminal_takes_over_and_the_first_stops(person):
    first = begun(person, "--minutes", "5", "--questions", "0")
    second = Terminal(person, "mock", "resume")
    try:
        second.until(" left of", "running")
        first.type("p")
        assert first.process.wait(timeout=PATIENCE) == 0
        assert "another terminal has gone on" in first.until("kata mock resume")
        file_of(person).write_text(RIGHT)
        second.until("100/100")
    finally:
        first.close()
        second.close()


def test_a_resumed_terminal_shows_what_was_graded_before(person):
    first = begun(person, "--minutes", "5", "--questions", "0")
    file_of(person).write_text(RIGHT)
    first.until("100/100")
    first.kill()
    first.close()
    second = Terminal(person, "mock", "resume")
    try:
        second.until("100/100", "1 version")
    finally:
        second.close()


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_any_moment_it_is_resumed_with_nothing_lost(person, seed):
    chance = random.Random(seed)
    terminal = begun(person, "--minutes", "0.5", "--questions", "0")
    start = time.monotonic()
    file_of(person).write_text(WRONG)
    for _ in range(3):
        time.sleep(chance.uniform(0, 2))
        terminal.kill()
        terminal.close()
        if chance.random() < 0.5:
            file_of(person).write_text(RIGHT + f"# {chance.random()}\n")  # saved while nobody looks
            final = 100
        else:
            final = None
        terminal = Terminal(person, "mock", "resume")
        terminal.until(" left of", "running")
    file_of(person).write_text(RIGHT)
    final = 100 if final is None else final
    terminal.until(f"{final}/100")
    terminal.kill()
    terminal.close()
    time.sleep(max(0.0, 31 - (time.monotonic() - start)))  # the bell rings while nobody looks
    file_of(person).write_text(WRONG)
    terminal = Terminal(person, "mock", "resume")
    try:
        terminal.until("mock interview 1  100/100  strong hire")
    finally:
        terminal.close()


def test_without_a_terminal_it_runs_to_the_bell(person):
    said = person.process("mock", "--katas", SLUG, "--minutes", "0.05", "--questions", "1")
    assert said.code == 0
    assert "50% of the time is over" in said.out
    assert "mock interview 1  0/100  no hire" in said.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("begin",), "kata mock takes resume, status, finish, or nothing"),
        (("status",), "there was no mock interview yet"),
        (("--minutes", "0"), "--minutes takes a number up to 1440, not '0'"),
        (("--questions", "-1"), "--questions takes a number up to 50, not '-1'"),
        (("--katas", "nothing-like-it"), "there is no kata 'nothing-like-it'"),
        (("--track", "none", "--priority", "P0"), "no kata is of track none and P0"),
    ],
)
def test_what_cannot_be_begun_says_why(person, arguments, told):
    said = person.kata("mock", *arguments)
    assert said.code == 2
    assert told in said.err


# ---- what is drawn


class Named:
    """What a draw looks at."""

    def __init__(self, slug: str, minutes: int = 20, track: str = "t", priority: str = "P0") -> None:
        self.slug, self.minutes, self.track, self.priority = slug, minutes, track, priority


KATAS = [Named(letter) for letter in "abcdef"]


def slugs(seed: str, wish: Wish, standings=(), due=()) -> list[str]:
    return [kata.slug for kata in draw_katas(KATAS, dict(standings), due, seed, wish)]


def test_a_seed_draws_the_same_and_fills_the_time():
    wish = Wish(minutes=50, questions=3)
    assert slugs("1", wish) == slugs("1", wish)
    assert len(slugs("1", wish)) == 2
    assert len({tuple(slugs(str(seed), wish)) for seed in range(20)}) > 5


def test_weak_and_due_ones_come_first_and_passed_ones_last():
    standings = {slug: Standing(Progress.PASSED, 100) for slug in "abcd"} | {"e": Standing(Progress.STARTED, 20)}
    assert slugs("1", Wish(minutes=60, questions=0), standings)[:2] == ["e", "f"]
    assert slugs("1", Wish(minutes=20, questions=0), standings, due=["b"])[0] in ("b", "e")


def test_one_is_drawn_even_if_it_takes_longer():
    assert len(slugs("1", Wish(minutes=5, questions=3))) == 1
    with pytest.raises(UsageError, match="no kata is of track x"):
        slugs("1", Wish(track="x"))


# ---- the score sheet


def made(scores: list[int], ratings: list[int]) -> Sheet:
    katas = tuple(KataLine(str(n), score, 100, 1, (), ()) for n, score in enumerate(scores))
    questions = tuple(QuestionLine(str(n), "said", rating) for n, rating in enumerate(ratings))
    return Sheet(katas, questions, 30, 45, 0, 0, "0")


@pytest.mark.parametrize(
    ("scores", "ratings", "total", "band"),
    [
        ([100, 100], [3, 3], 100, Band.STRONG_HIRE),
        ([100, 36], [2, 0], 60, Band.LEAN_HIRE),
        ([90], [], 90, Band.STRONG_HIRE),
        ([89], [], 89, Band.HIRE),
        ([75, 74], [], 74, Band.LEAN_HIRE),
        ([], [2, 2], 60, Band.LEAN_HIRE),
        ([40, 40], [1], 32, Band.NO_HIRE),
        ([50], [0, 0], 40, Band.LEAN_NO_HIRE),
        ([], [], 0, Band.NO_HIRE),
    ],
)
def test_the_band_follows_the_written_rule(scores, ratings, total, band):
    sheet = made(scores, ratings)
    assert (sheet.total, sheet.band) == (total, band)
    assert sheet.kata_mean == (Fraction(sum(scores), len(scores)) if scores else None)


# ---- what is written down


def test_an_interview_is_the_sum_of_its_events_and_two_writers_are_told_apart(tmp_path):
    with History.open(tmp_path / "history.db", now=time.time) as history:
        store = Interviews(history)
        one = Interview.drawn(store, Drawn(("a",), (), 1.0, "0"), now)
        one.open()
        one.do(Begun())
        one.do(Saved("a", "sha", now()))
        other = Interview(store, one.number, now)
        assert other.state == one.state
        other.open()
        with pytest.raises(Outrun, match="another terminal has gone on"):
            one.do(Finished())
        other.do(Finished())
        assert Interview(store, one.number, now).state.counting["a"].sha256 == "sha"


def complete(person, bank: Path) -> None:
    """An interview that has begun, on one kata of `bank`, with its reference in the file."""
    with History.open(person.home / "history.db", now=time.time) as history:
        one = Interview.drawn(Interviews(history), Drawn(("speed",), (), 45.0, "0", str(person.where / "mock-1")), now)
        desk = Desk(one, history, {"speed": Catalogue.load([bank]).get("speed")})
        desk.path("speed").parent.mkdir(parents=True)
        one.do(Begun())
        desk.path("speed").write_bytes((bank / "solutions" / "speed" / "reference.py").read_bytes())


def test_what_is_complete_is_timed_after_the_bell(person):
    complete(person, TOY)
    for _ in range(2):  # the second time it is known
        said = person.kata("mock", "finish", bank=TOY)
        assert "100/100  strong hire" in said.out
        assert re.search(r"time as a ratio to the reference: rounds \d\.\d\d×", said.out)
    assert "timing" not in said.out
    (kata,) = json.loads(person.kata("report", "--last-mock", "--format", "json", bank=TOY).out)["katas"]
    assert [speed["name"] for speed in kata["speeds"]] == ["rounds"]


def test_what_cannot_be_timed_is_told_and_the_sheet_is_shown(person, tmp_path):
    bank = tmp_path / "bank"
    shutil.copytree(TOY, bank)
    (bank / "katas" / "speed" / "benches.py").write_text("raise RuntimeError('never timed')")
    complete(person, bank)
    said = person.kata("mock", "finish", bank=bank)
    assert "100/100  strong hire" in said.out
    assert "never timed" in said.err
