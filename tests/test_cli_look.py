"""Commands that grade nothing: kata alone, list, start, show, hint, the answers, reset, history, new, version."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_tools import BANK, RIGHT, ROOT, SLUG, WRONG, Person, new_person

from grader import __version__
from grader.cli.app import COMMANDS
from grader.grading import Grader


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    with Grader() as warm:
        yield warm


@pytest.fixture
def person(tmp_path: Path, grader: Grader) -> Person:
    return new_person(tmp_path, grader)


@pytest.fixture
def learner(person: Person) -> Person:
    """Somebody who has started the bank's kata."""
    assert person.kata("start", SLUG).code == 0
    return person


@pytest.fixture
def finisher(learner: Person) -> Person:
    """Somebody who has passed it."""
    learner.write(RIGHT)
    assert learner.kata("check").code == 0
    return learner


def test_a_newcomer_gets_four_lines_that_can_be_typed(person: Person) -> None:
    lines = [line for line in person.kata().out.splitlines() if line.startswith("kata ")]
    assert [line.split()[1] for line in lines] == ["start", "hint", "check", "watch"]
    assert person.kata(*lines[0].split()[1:3]).code == 0


def test_kata_alone_tells_what_is_in_progress_and_what_is_next(learner: Person) -> None:
    said = learner.kata()
    assert said.code == 0
    assert "0 passed · 1 in progress" in said.out
    assert f"kata check {SLUG}" in said.out
    assert "later-on" not in said.out, "its prerequisite is not passed"


def test_list_tells_state_and_best_score_in_json(learner: Person) -> None:
    katas = {kata["slug"]: kata for kata in json.loads(learner.kata("list", "--json").out)["katas"]}
    assert katas[SLUG] == {
        "slug": SLUG,
        "problem": None,
        "title": "Sums and the largest",
        "track": "toys",
        "priority": "P2",
        "minutes": 7,
        "state": "started",
        "best": None,
    }
    assert katas["later-on"]["state"] == "new"
    assert set(katas) > {path.parent.name for path in (ROOT / "katas").glob("*/kata.toml")}


def test_list_selects_by_track_and_priority(person: Person) -> None:
    assert [line.split()[0] for line in person.kata("list", "--track", "Toys").out.splitlines()[1:]] == [
        SLUG,
        "later-on",
    ]
    katas = json.loads(person.kata("list", "--json", "--track", "toys", "--priority", "p0").out)["katas"]
    assert [kata["slug"] for kata in katas] == ["later-on"]


def test_a_broken_kata_is_told_on_stderr_and_hides_no_other(person: Person, tmp_path: Path) -> None:
    (tmp_path / "bank/katas/damaged").mkdir(parents=True)
    (tmp_path / "bank/katas/damaged/kata.toml").write_text("format = 1")
    said = person.kata("list", "--json", "--bank", tmp_path / "bank")
    assert said.code == 0
    assert SLUG in {kata["slug"] for kata in json.loads(said.out)["katas"]}
    assert "damaged" in said.err
    assert len(said.err.splitlines()) == 1


def test_start_says_what_it_wrote_and_what_to_type(person: Person) -> None:
    said = person.kata("start", SLUG)
    assert f"wrote  {SLUG}/pair_sums.py, {SLUG}/PROMPT.md" in said.out
    assert "The sum, 4 min" in said.out
    assert f"edit {SLUG}/pair_sums.py, then kata check\n" in said.out


def test_start_overwrites_nothing(learner: Person) -> None:
    path = learner.write(WRONG)
    said = learner.kata("start", SLUG)
    assert (said.code, path.read_text()) == (0, WRONG)
    assert "is as it was" in said.out


def test_show_prints_the_prompt_as_it_is_into_a_pipe(learner: Person) -> None:
    assert learner.kata("show").out == (BANK / "katas" / SLUG / "prompt.md").read_text()
    assert learner.kata("show", where=learner.where / SLUG).code == 0


def test_each_hint_is_one_level_more_and_the_last_stays(learner: Person) -> None:
    told = [[line for line in learner.kata("hint").out.splitlines() if line.startswith("## ")] for _ in range(4)]
    assert [len(headings) for headings in told] == [1, 2, 3, 3]
    assert [headings[-1].split(": ")[1] for headings in told] == [f"hint {n} of 3" for n in (1, 2, 3, 3)]
    assert "hint 1 of 3" in learner.kata("hint", "--part", "largest").out


def test_a_hint_is_for_the_first_part_that_is_not_passed(learner: Person) -> None:
    learner.write(RIGHT.replace("max(xs)", "min(xs)"))
    assert learner.kata("check").code == 1
    assert "Compare two at a time." in learner.kata("hint").out
    assert learner.kata("hint", "--part", "nothing").code == 2


@pytest.mark.parametrize("command", ["solution", "diff", "debrief"])
def test_answers_stay_closed_until_a_pass(learner: Person, command: str) -> None:
    said = learner.kata(command)
    assert (said.code, said.out) == (2, "")
    assert "--give-up" in said.err


def test_answers_open_with_a_pass(finisher: Person) -> None:
    assert finisher.kata("solution").out == RIGHT
    assert "line for line" in finisher.kata("diff").out
    assert "neutral element" in finisher.kata("debrief").out
    assert finisher.kata("hint").code == 2, "nothing is left to hint at"


def test_giving_up_is_asked_and_opens_the_answers(learner: Person) -> None:
    asked = learner.kata("solution", "--give-up")
    assert (asked.code, asked.out) == (2, "")
    assert "--yes" in asked.err
    assert learner.kata("solution", "--give-up", "--yes").out == RIGHT
    learner.write(WRONG)
    difference = learner.kata("diff").out
    assert "-    for x in xs[:-1]:" in difference
    assert "+    for x in xs:" in difference


def test_a_difference_shows_escapes_and_obeys_none(learner: Person) -> None:
    learner.kata("solution", "--give-up", "--yes")
    learner.write("\x1b[2J[red]\u202egnp.exe\n")
    out = learner.kata("diff").out
    assert r"\x1b[2J[red]\u202egnp.exe" in out
    assert "\x1b" not in out


def test_reset_asks_and_what_it_replaces_comes_back(learner: Person) -> None:
    path = learner.write(WRONG)
    assert learner.kata("reset").code == 2
    assert path.read_text() == WRONG
    assert learner.kata("reset", "--yes").code == 0
    assert "NotImplementedError" in path.read_text()
    assert "reset" in learner.kata("history").out
    assert learner.kata("history", "--restore", "1").code == 0
    assert path.read_text() == WRONG


@pytest.mark.parametrize("n", ["2", "x", "-1", ""])
def test_only_a_version_that_is_there_is_restored(learner: Person, n: str) -> None:
    path = learner.write(WRONG)
    said = learner.kata("history", "--restore", n)
    assert (said.code, said.out, path.read_text()) == (2, "", WRONG)


def test_new_writes_a_kata_that_can_be_started(person: Person) -> None:
    said = person.kata("new", "my-kata", "--bank", "mine", bank=None)
    assert said.code == 0
    assert "kata --bank mine lint my-kata" in said.out
    assert person.kata("start", "my-kata", "--bank", "mine", bank=None).code == 0
    assert person.kata("new", "My Kata").code == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_that_fits_the_list_of_commands(person: Person, command: str) -> None:
    said = person.kata(command, "--help")
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith(f"Usage: kata {command} [OPTIONS]")
    listed = next(line for line in person.kata("--help").out.splitlines() if line.startswith(f"  {command} "))
    assert not listed.endswith("...")


def test_lint_tells_what_a_kata_lacks_and_ends_with_1(person: Person) -> None:
    said = person.kata("lint", "later-on")
    assert said.code == 1
    assert said.out.startswith("✗ later-on")
    assert "checks.py" in said.out
    assert person.kata("lint", "later").code == 2


def test_version(person: Person) -> None:
    assert person.kata("version").out == f"kata {__version__}\n"


def test_doctor_really_grades_and_finds_the_history(person: Person) -> None:
    said = person.kata("doctor")
    subjects = [line.split()[1] for line in said.out.splitlines() if line[0] in "✓–✗"]
    assert subjects == ["terminal", "python", "torch", "cpu", "history", "katas", "isolation"]
    assert said.code == 0
    assert str(person.home) in said.out.replace("\n", "").replace(" ", "")


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        pytest.param(["chek"], "did you mean check?", id="a command misspelt"),
        pytest.param(["start", "pair-sum"], f"did you mean {SLUG}", id="a kata misspelt"),
        pytest.param(["start"], "kata COMMAND --help", id="an argument missing"),
        pytest.param(["list", "--colour"], "--colour", id="no such option"),
        pytest.param(["check"], "kata start NAME", id="nothing started"),
        pytest.param(["check", SLUG], f"kata start {SLUG}", id="no attempt"),
        pytest.param(["replay", SLUG], f"kata check {SLUG}", id="nothing to replay"),
        pytest.param(["list", "--bank", "/nowhere"], "katas/", id="no bank"),
        pytest.param(["--bank"], "--bank", id="a bank without a path"),
    ],
)
def test_what_cannot_be_done_is_one_line_with_a_way_out(person: Person, arguments: list[str], hint: str) -> None:
    said = person.kata(*arguments, bank=None if arguments == ["--bank"] else BANK)
    assert (said.code, said.out) == (2, "")
    assert hint in said.err
    assert len(said.err.splitlines()) == 1
    assert said.err.startswith("kata: ")
