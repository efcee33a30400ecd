"""What lint finds by trying a kata's programs: each broken kata breaks one rule, and a good one none."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from lint_bank import GOOD, LEAST, SLUG, broken_bank, cases, wanted

from grader.bank import Catalogue, Kata
from grader.errors import UsageError
from grader.grading import Grader
from grader.lint import Progress, Rule, lint, lint_all


@pytest.fixture
def good() -> Kata:
    return Catalogue.of([GOOD]).get(SLUG)


@pytest.mark.parametrize("case", cases("tried"), ids=lambda case: case.name)
def test_a_broken_kata_breaks_one_rule(case, tmp_path, grader):
    (kata,) = broken_bank(case, tmp_path).katas
    found = lint(kata, grader, effort=replace(LEAST, **wanted(case).get("effort", {}))).findings
    assert {finding.rule for finding in found} == {wanted(case)["rule"]}, found
    assert any(wanted(case)["says"] in finding.message for finding in found), found


def test_a_good_kata_passes_with_every_mistake_against_every_check(good, grader):
    report = lint(good, grader, effort=replace(LEAST, patience=1, matrix=1))
    assert report.passed, report.findings
    assert (report.figures.checks, report.figures.alternatives) == (3, 2)
    assert (report.figures.mistakes, report.figures.impostors) == (6, 13)
    assert report.figures.seeds == 2
    assert report.figures.grades > 6 * 2
    assert report.figures.seconds > 0


def test_progress_only_grows_and_ends_when_all_is_done(good, grader):
    seen: list[Progress] = []
    report = lint(good, grader, effort=LEAST, watch=seen.append)
    assert [progress.done for progress in seen] == sorted(progress.done for progress in seen)
    assert [progress.total for progress in seen] == sorted(progress.total for progress in seen)
    assert seen[-1] == Progress(SLUG, report.figures.grades, report.figures.grades)


def test_a_kata_that_cannot_be_read_is_not_tried(tmp_path, grader):
    case = next(case for case in cases("read") if case.name == "hints-missing")
    report = lint(broken_bank(case, tmp_path).get(SLUG), grader)
    assert [finding.rule for finding in report.findings] == [Rule.FILES]
    assert report.figures.grades == 0


def test_a_kata_that_cannot_be_loaded_is_in_the_reports(tmp_path: Path):
    folder = tmp_path / "katas" / "unloadable"
    folder.mkdir(parents=True)
    (folder / "kata.toml").write_text("format = 1\n")
    with Grader() as grader:
        (report,) = lint_all(Catalogue.of([tmp_path]), grader)
    assert (report.kata, report.passed) == ("unloadable", False)
    assert report.findings[0].rule == Rule.MANIFEST
    assert "required key is missing" in report.findings[0].message


def test_every_rule_is_told_in_the_docs():
    text = (Path(__file__).parents[1] / "docs" / "lint.md").read_text(encoding="utf-8")
    assert [rule for rule in Rule if f"| `{rule}` |" not in text] == []


def test_every_rule_is_broken_by_some_kata():
    broken = {wanted(case)["rule"] for kind in ("read", "tried") for case in cases(kind)}
    assert broken == set(Rule)


def test_less_is_tried_of_what_has_not_changed_since_a_commit(tmp_path, grader):
    shutil.copytree(GOOD, tmp_path, dirs_exist_ok=True)

    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", "-C", tmp_path, *identity, *arguments], check=True, capture_output=True)

    git("init")
    git("add", ".")
    git("commit", "-m", "begun")
    catalogue = Catalogue.of([tmp_path])
    (unchanged,) = lint_all(catalogue, grader, since="HEAD")
    with (tmp_path / "solutions" / SLUG / "debrief.md").open("a") as debrief:
        debrief.write("\nMore.\n")
    (changed,) = lint_all(catalogue, grader, since="HEAD")
    assert (unchanged.passed, changed.passed) == (True, True)
    assert (unchanged.figures.seeds, changed.figures.seeds) == (3, 20)


def test_a_commit_that_is_none_is_told(tmp_path, grader):
    shutil.copytree(GOOD, tmp_path, dirs_exist_ok=True)
    with pytest.raises(UsageError, match="git cannot tell what changed"):
        list(lint_all(Catalogue.of([tmp_path]), grader, since="nothing"))
