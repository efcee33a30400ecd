"""Grading folders of people for real: a row a file, whatever is in it, and documents that other programs read."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree

import pytest
import toy
from cli_tools import ROOT, Person

RIGHT = toy.reference_text(toy.toy_kata("speed"))
WRONG = RIGHT.replace("+ 1", "+ 2")
EVERY = {
    "ann/speed.py": RIGHT,
    "bob/speed.py": WRONG,
    "bob/speed/speed.py": RIGHT,
    "cat/speed.py": "import os\nos._exit(0)\n",
    "cat/sped.py": RIGHT,
    "dan/speed.py": "def spread(:\n",
    "=eve/speed.py": "raise MemoryError\n",
}


@pytest.fixture
def person(tmp_path, grader):
    (tmp_path / "here").mkdir()
    return Person(tmp_path / "here", tmp_path / "home", grader)


@pytest.fixture
def everybody(tmp_path) -> Path:
    return folder_of(tmp_path / "people", EVERY)


def folder_of(folder: Path, files: dict[str, str]) -> Path:
    for name, source in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    return folder


def outcomes(person: Person, folder: Path, *more: str) -> dict[str, tuple[str, int]]:
    said = person.kata("grade", folder, "--format", "json", *more, bank=toy.BANK)
    return {row["file"]: (row["outcome"], row["score"]) for row in json.loads(said.out)["rows"]}


def test_every_file_has_its_row_whatever_is_in_it(person, everybody):
    assert outcomes(person, everybody, "--jobs", "2") == {
        "=eve/speed.py": ("graded", 0),
        "ann/speed.py": ("graded", 100),
        "bob/speed.py": ("graded", 0),
        "bob/speed/speed.py": ("graded", 100),
        "cat/speed.py": ("graded", 0),
        "cat/sped.py": ("no_such_kata", 0),
        "dan/speed.py": ("graded", 0),
    }


def test_a_link_a_pipe_and_a_folder_have_rows_too(person, tmp_path):
    folder = folder_of(tmp_path / "people", {"ann/speed.py": RIGHT})
    (folder / "bob").mkdir()
    (folder / "bob" / "speed.py").symlink_to("/etc/passwd")
    (folder / "cat").mkdir()
    os.mkfifo(folder / "cat" / "speed.py")
    (folder / "dan" / "speed.py").mkdir(parents=True)
    rows = outcomes(person, folder)
    assert rows["ann/speed.py"] == ("graded", 100)
    assert {rows[f"{name}/speed.py"] for name in ("bob", "cat", "dan")} == {("not_graded", 0)}


def test_statistics_tell_how_each_check_went(person, everybody):
    said = person.kata("grade", everybody, "--format", "json", bank=toy.BANK)
    (check,) = json.loads(said.out)["checks"]
    assert (check["passed"], check["attempts"]) == (2, 6)
    assert check["states"] == {"passed": 2, "failed": 1, "crashed": 1, "error": 1, "memory": 1}


def test_people_read_a_line_a_file_and_the_checks_in_the_end(person, everybody):
    said = person.kata("grade", everybody, bank=toy.BANK)
    assert said.code == 0
    assert "✓ ann/speed.py" in said.out
    assert "! cat/sped.py         there is no kata 'sped'" in said.out
    assert "7 files · 2 passed · 1 no such kata" in said.out


def test_a_spreadsheet_takes_no_name_for_a_formula(person, everybody):
    said = person.kata("grade", everybody, "--format", "csv", bank=toy.BANK)
    rows = list(csv.DictReader(StringIO(said.out)))
    assert rows[0]["person"] == "'=eve"
    assert {row["score"] for row in rows if row["person"] == "ann"} == {"100"}


def test_a_build_server_reads_the_suites(person, everybody):
    said = person.kata("grade", everybody, "--format", "junit", bank=toy.BANK)
    suites = {suite.get("name"): suite for suite in ElementTree.fromstring(said.out)}
    assert suites["ann/speed.py"].get("failures") == "0"
    assert suites["bob/speed.py"].find("testcase/failure").get("type") == "failed"
    assert suites["cat/sped.py"].find("testcase/error") is not None


def test_gradescope_gets_one_object_of_one_person_and_one_each_of_several(person, everybody, tmp_path):
    several = json.loads(person.kata("grade", everybody, "--format", "gradescope", bank=toy.BANK).out)
    assert several["ann"]["score"] == 100
    alone = folder_of(tmp_path / "one", {"ann/speed.py": WRONG})
    (test,) = json.loads(person.kata("grade", alone, "--format", "gradescope", bank=toy.BANK).out)["tests"]
    assert (test["score"], test["max_score"], test["status"]) == (0, 100, "failed")
    assert "expected" in test["output"]


def test_resuming_grades_what_is_missing_or_has_changed_and_nothing_else(person, everybody):
    person.kata("grade", everybody, bank=toy.BANK)
    (everybody / "bob" / "speed.py").write_text(RIGHT)
    folder_of(everybody, {"fay/speed.py": RIGHT})
    said = person.kata("grade", everybody, "--resume", bank=toy.BANK)
    shown = [line.split()[1] for line in said.out.splitlines() if line[:1] in "✓✗!" and line.strip()]
    assert sorted(shown) == ["bob/speed.py", "cat/sped.py", "fay/speed.py"]
    assert "8 files · 4 passed" in said.out


def test_a_batch_that_was_killed_goes_on_where_it_was(person, tmp_path):
    folder = folder_of(tmp_path / "people", {f"p{n:02}/speed.py": RIGHT for n in range(60)})
    command = [sys.executable, "-m", "grader", "grade", str(folder), "--bank", str(toy.BANK), "--jobs", "1"]
    journal = folder / ".kata-grades.jsonl"
    running = subprocess.Popen(
        command, env=person.environment(), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    while not journal.exists() or journal.read_bytes().count(b"\n") < 5:
        assert running.poll() is None
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-40])  # as if it had been killed while it wrote
    graded = whole.count(b"\n") - 1
    said = person.kata("grade", folder, "--resume", bank=toy.BANK)
    assert "60 files · 60 passed" in said.out
    assert said.out.count("✓") == 60 - graded


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("nowhere",), "nowhere is no folder"),
        ((".", "--jobs", "0"), "--jobs takes a number from 1 to 64, not '0'"),
        ((".", "--format", "xls"), "--format takes one of json, csv, junit, gradescope, not 'xls'"),
        ((".",), "holds no attempts: put DIR/PERSON/dpo.py there"),
    ],
)
def test_what_cannot_be_graded_says_why(person, arguments, told):
    said = person.kata("grade", *arguments, bank=toy.BANK)
    assert said.code == 2
    assert told in said.err
