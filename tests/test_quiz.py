"""A quiz: what is drawn, how it is asked and kept, and `kata quiz` as a process with its input and history."""

import json
import os
import pty
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from cli_tools import BANK, SLUG, Person, Said, new_person
from history_tools import open_history
from hypothesis import given
from hypothesis import strategies as st

from grader.bank import Catalogue
from grader.bank.questions import Question, Questions, Rubric, Source
from grader.errors import UsageError
from grader.history import History
from grader.practice.quiz import GOOD, STRONG, WEAK, Filters, Rated, Summary, draw, hold, require_known

TOYS = ("--pillar", "toys")


def question(id: str, topic: str = "sums", pillar: str = "toys", katas: tuple[str, ...] = ()) -> Question:
    return Question(
        id=id,
        pillar=pillar,
        topic=topic,
        kind="recall",
        text=f"What is {id}?",
        answer="That.",
        rubric=Rubric("w", "g", "s"),
        sources=(Source("t", "https://example.org"),),
        katas=katas,
    )


MANY = tuple(question(f"q{number}") for number in range(30))


def ids(drawn: tuple[Question, ...]) -> list[str]:
    return [one.id for one in drawn]


# What is drawn


@given(
    st.dictionaries(st.sampled_from([one.id for one in MANY]), st.sampled_from([WEAK, GOOD, STRONG])),
    st.text(max_size=5),
    st.integers(1, 40),
)
def test_weak_comes_first_then_new_then_good_then_strong(ratings: dict[str, int], seed: str, n: int) -> None:
    drawn = ids(draw(MANY, ratings, seed, n))
    groups = [(WEAK, 0, GOOD, STRONG).index(ratings.get(id, 0)) for id in drawn]
    assert groups == sorted(groups)
    assert len(set(drawn)) == len(drawn) == min(n, len(MANY))
    assert drawn == ids(draw(tuple(reversed(MANY)), ratings, seed, n)), "the order of the bank does not matter"


def test_seeds_draw_differently_and_equal_ones_alike() -> None:
    assert ids(draw(MANY, {}, "1", 10)) == ids(draw(MANY, {}, "1", 10)) != ids(draw(MANY, {}, "2", 10))


def test_fewer_are_the_beginning_of_more() -> None:
    assert ids(draw(MANY, {}, "1", 4)) == ids(draw(MANY, {}, "1", 30))[:4]


def test_a_new_question_reorders_no_others() -> None:
    more = ids(draw((*MANY, question("new")), {}, "1", 31))
    assert [id for id in more if id != "new"] == ids(draw(MANY, {}, "1", 30))


def test_filters_hold_together() -> None:
    bank = (
        question("a", katas=("pair-sums",)),
        question("b"),
        question("c", topic="maxima", katas=("pair-sums",)),
        question("d", pillar="games"),
    )
    for filters, wanted in (
        (Filters(), "abcd"),
        (Filters(pillar="toys"), "abc"),
        (Filters(topic="sums"), "abd"),
        (Filters(kata="pair-sums"), "ac"),
        (Filters(pillar="toys", topic="sums", kata="pair-sums"), "a"),
    ):
        assert sorted(ids(draw(bank, {}, "1", 9, filters))) == list(wanted)


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        (Filters(pillar="toyz"), "no question is of the pillar 'toyz': did you mean toys?"),
        (Filters(topic="zzz"), "no question is of the topic 'zzz': there are sums."),
        (Filters(kata="pair"), "no question is of the kata 'pair': did you mean pair-sums"),
    ],
)
def test_what_no_question_is_about_is_told_with_what_there_is(filters: Filters, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        require_known(filters, (question("a", katas=("pair-sums",)),))
    assert str(refused.value).startswith(said)


# How it is asked


class Scripted:
    """An examiner with its answers and ratings; None where the learner leaves."""

    def __init__(self, answers: list[str | None], ratings: list[int | None]) -> None:
        self.answers, self.ratings, self.numbers = iter(answers), iter(ratings), list[int]()

    def ask(self, question: Question, number: int) -> str | None:
        del question
        self.numbers.append(number)
        return next(self.answers)

    def rate(self, question: Question) -> int | None:
        del question
        return next(self.ratings)


def held(examiner: Scripted, questions: tuple[Question, ...] = MANY[:3]) -> tuple[Summary, list[tuple[str, str, int]]]:
    kept: list[tuple[str, str, int]] = []
    return hold(questions, examiner, lambda *row: kept.append(row)), kept


def test_each_answer_is_kept_with_its_rating() -> None:
    examiner = Scripted(["one", "", "three"], [1, 2, 3])
    summary, kept = held(examiner)
    assert kept == [("q0", "one", 1), ("q1", "", 2), ("q2", "three", 3)]
    assert summary == Summary(3, tuple(Rated(*pair) for pair in zip(MANY, (1, 2, 3), strict=False)))
    assert (ids(summary.weak), summary.count(STRONG), examiner.numbers) == (["q0"], 1, [1, 2, 3])


@pytest.mark.parametrize(
    ("answers", "ratings"), [([None], []), (["one", None], [2]), (["one", "two"], [2, None])], ids=str
)
def test_who_leaves_keeps_what_was_rated(answers: list[str | None], ratings: list[int | None]) -> None:
    summary, kept = held(Scripted(answers, ratings))
    assert [row[2] for row in kept] == [rating for rating in ratings if rating]
    assert (summary.asked, len(summary.rated)) == (3, len(kept))


# What is kept


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    with open_history(tmp_path / "history.db") as history:
        yield history


def test_the_last_rating_counts(history: History) -> None:
    for id, rating in (("a", 1), ("b", 3), ("a", 2)):
        history.record_answer(id, "σ\0 and \N{GRINNING FACE}", rating)
    assert history.ratings() == {"a": 2, "b": 3}


def test_answers_are_kept_with_time_and_context(history: History, tmp_path: Path) -> None:
    history.record_answer("a", "mine", 1, context="mock")
    with closing(sqlite3.connect(tmp_path / "history.db")) as db:
        rows = db.execute("SELECT question, utc, answer, rating, context FROM answers").fetchall()
    assert rows == [("a", "2026-01-01T00:00:02+00:00", "mine", 1, "mock")]


# The command


@pytest.fixture
def person(tmp_path: Path) -> Person:
    return new_person(tmp_path)


def quiz(person: Person, typed: str | bytes, *arguments: str, bank: Path = BANK) -> Said:
    """`kata quiz` as a process that reads what was typed from a pipe."""
    done = subprocess.run(
        [sys.executable, "-m", "grader", "quiz", *arguments, "--bank", str(bank)],
        cwd=person.where,
        env=person.environment(),
        input=typed if isinstance(typed, bytes) else typed.encode(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    return Said(done.returncode, done.stdout.decode(), done.stderr.decode())


def kept(person: Person) -> list[tuple[str, str, int]]:
    with closing(sqlite3.connect(person.home / "history.db")) as db:
        return db.execute("SELECT question, answer, rating FROM answers ORDER BY id").fetchall()


def drawn(said: Said) -> list[str]:
    return [one["id"] for one in json.loads(said.out)["questions"]]


def test_a_quiz_asks_shows_the_answer_and_takes_a_rating(person: Person) -> None:
    order = drawn(quiz(person, "", *TOYS, "--seed", "7", "--json"))
    said = quiz(person, "mine\n1\n\n3\nthird\n2\n", *TOYS, "--seed", "7")
    assert (said.code, said.err) == (0, "")
    assert kept(person) == list(zip(order, ("mine", "", "third"), (1, 3, 2), strict=True))
    assert "What is 1 + 2 + … + n?" in said.out
    assert 'often said  "It is undefined": that is true of the largest' in said.out
    assert "3 of 3 questions rated  1 weak · 1 good · 1 strong · seed 7" in said.out


def test_the_model_answer_comes_after_the_learners(person: Person) -> None:
    said = quiz(person, "", *TOYS, "-n", "1")
    assert "1 of 1  toys · " in said.out
    assert "answer      " not in said.out
    assert "1 weak " not in said.out


def test_the_end_of_input_ends_politely_and_keeps_what_was_rated(person: Person) -> None:
    said = quiz(person, "mine\n2\nhalf an answer", *TOYS)
    assert (said.code, said.err) == (0, "")
    assert [rating for *_, rating in kept(person)] == [2]
    assert "1 of 3 questions rated" in said.out
    assert said.out.splitlines()[-1] == "next  kata quiz"


def test_what_is_no_rating_is_asked_for_again(person: Person) -> None:
    said = quiz(person, "mine\n0\n4\nstrong\n\n 3 \n", *TOYS, "-n", "1")
    assert said.out.count("your rating, 1 to 3>") == 5
    assert [rating for *_, rating in kept(person)] == [3]


def test_what_was_weak_comes_first_next_time_and_strong_last(person: Person) -> None:
    first = drawn(quiz(person, "", *TOYS, "--seed", "1", "--json"))
    quiz(person, "a\n3\nb\n2\nc\n1\n", *TOYS, "--seed", "1")
    for seed in ("1", "2", "3"):
        assert drawn(quiz(person, "", *TOYS, "--seed", seed, "--json")) == first[::-1]


def test_a_weak_answer_leads_to_its_topic_and_its_kata(person: Person) -> None:
    said = quiz(person, "no idea\n1\n", "--topic", "maxima")
    assert said.out.splitlines()[-2:] == [
        "maxima  Should the largest of no numbers be 0?",
        f"next    kata quiz --topic maxima · kata start {SLUG}",
    ]


def test_json_asks_nothing_and_keeps_nothing(person: Person) -> None:
    said = quiz(person, "mine\n1\n", "--kata", SLUG, "--json")
    found = json.loads(said.out)
    assert {one["id"] for one in found["questions"]} == {"sum-one-to-n", "max-of-nothing"}
    assert found["questions"][0]["rubric"].keys() == {"weak", "good", "strong"}
    assert kept(person) == []
    assert drawn(quiz(person, "", "--kata", SLUG, "--json", "--seed", found["seed"])) == [
        one["id"] for one in found["questions"]
    ]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("-n", "0"), "-n takes a number of questions from 1 to 1000, not '0'"),
        (("-n", "many"), "not 'many'"),
        (("-n", "²"), "not '²'"),
        (("--seed", "a b"), "--seed takes up to 32 letters and digits, not 'a b'"),
        (("--pillar", "tois"), "no question is of the pillar 'tois': did you mean toys?"),
        (("--topic", "sumz"), "did you mean sums"),
        (("--kata", "pair-sum"), "there is no kata 'pair-sum': did you mean pair-sums"),
        (("--kata", "later-on"), "no question is of the kata 'later-on'"),
    ],
    ids=" ".join,
)
def test_what_makes_no_sense_is_said_before_anything_is_asked(
    person: Person, arguments: tuple[str, ...], told: str
) -> None:
    said = quiz(person, "", *arguments)
    assert (said.code, said.out) == (2, "")
    assert told in said.err


def test_a_broken_file_costs_its_own_questions_and_is_told(person: Person, tmp_path: Path) -> None:
    bank = tmp_path / "bank"
    shutil.copytree(BANK, bank)
    (bank / "questions.toml").write_text("format = 1\n[[questions]]\nid = 3\n")
    said = quiz(person, "", *TOYS, "--json", bank=bank)
    assert (said.code, drawn(said)) == (0, ["max-of-nothing"])
    assert said.err.startswith(f"kata: {bank}/questions.toml: questions[0].id: ")


def test_hostile_questions_are_shown_and_never_obeyed(person: Person, tmp_path: Path) -> None:
    bank = tmp_path / "bank"
    shutil.copytree(BANK, bank)
    file = bank / "questions.toml"
    file.write_text(file.read_text().replace("What is the sum of no numbers?", r"\u001b[2J[red]\u202egnp.exe"))
    said = quiz(person, "\n1\n\n1\n\n1\n", *TOYS, bank=bank)
    assert r"\x1b[2J[red]\u202egnp.exe" in said.out
    assert "\x1b" not in said.out


def test_answers_that_are_no_utf8_are_kept_as_far_as_they_are(person: Person) -> None:
    said = quiz(person, b"caf\xe9 \xff\r\n2\r\n", *TOYS, "-n", "1")
    assert (said.code, said.err) == (0, "")
    assert [answer for _, answer, _ in kept(person)] == ["caf\ufffd \ufffd"]


def test_a_history_that_cannot_be_opened_costs_the_record_and_not_the_quiz(person: Person) -> None:
    person.home.mkdir()
    (person.home / "history.db").write_bytes(b"no database" * 100)
    said = quiz(person, "mine\n3\n", *TOYS, "-n", "1")
    assert said.code == 0
    assert "1 of 1 question rated" in said.out
    assert "is damaged" in said.err


def test_a_killed_quiz_keeps_what_was_rated(person: Person) -> None:
    command = [sys.executable, "-m", "grader", "quiz", *TOYS, "--bank", str(BANK)]
    with subprocess.Popen(
        command, cwd=person.where, env=person.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(b"mine\n2\n")
        process.stdin.flush()
        while b"2 of 3" not in process.stdout.readline():
            pass
        process.send_signal(signal.SIGKILL)
    assert [rating for *_, rating in kept(person)] == [2]


def test_on_a_terminal_it_is_the_same(person: Person) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "grader", "quiz", *TOYS, "-n", "1", "--bank", str(BANK)]
    process = subprocess.Popen(
        command, cwd=person.where, env=person.environment(TERM="xterm"), stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    seen = b""
    for prompt, typed in ((b"your answer>", b"mine\n"), (b"1 to 3>", b"2\n")):
        while prompt not in seen:
            seen += os.read(ours, 4096)
        os.write(ours, typed)
    while b"seed" not in seen:
        seen += os.read(ours, 4096)
    assert process.wait(timeout=30) == 0
    os.close(ours)
    assert [(answer, rating) for _, answer, rating in kept(person)] == [("mine", 2)]


def test_the_order_of_a_bank_is_that_of_its_files() -> None:
    found = Questions.load(Catalogue.of([BANK])).all
    assert ids(found) == ["sum-of-nothing", "sum-one-to-n", "max-of-nothing"]
