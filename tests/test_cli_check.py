"""`kata check` and `kata replay`, from the arguments to the exit code, with real graders."""

import json
import os
import pty
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest
from cli_tools import BANK, RIGHT, SLUG, WRONG, Person, new_person
from terminal import PATIENCE

from grader.bank import Catalogue
from grader.grading import Grader, Options
from grader.history import History
from grader.practice.check import check
from grader.practice.learner import Learner
from grader.verdict import State

CUDA = Path("/dev/nvidia0").exists()


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


def test_a_right_attempt_passes_and_is_remembered(learner: Person) -> None:
    learner.write(RIGHT)
    said = learner.process("check")
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith(f"{SLUG}  3 of 3 checks · 100/100 · ")
    assert "All passed" in said.out
    katas = {kata["slug"]: kata for kata in json.loads(learner.kata("list", "--json").out)["katas"]}
    assert (katas[SLUG]["state"], katas[SLUG]["best"]) == ("passed", 100)


def test_json_is_the_verdict_and_nothing_else(learner: Person) -> None:
    learner.write(WRONG)
    said = learner.process("check", SLUG, "--json", "--seed", "2A")
    assert (said.code, said.err) == (1, "")
    assert len(said.out.splitlines()) == 1
    verdict = said.verdict
    assert (verdict.kata, verdict.seed, verdict.score, verdict.passed) == (SLUG, "000000000000002a", 40, False)
    assert [check.state for check in verdict.checks] == [State.FAILED, State.WAITING, State.PASSED]


def test_a_wrong_attempt_is_told_where_and_the_mistake_is_named_the_second_time(learner: Person) -> None:
    learner.write(WRONG.replace("    return result", '    print("\\x1b[31m", result)\n    return result'))
    first = learner.kata("check", "--seed", "7")
    assert first.code == 1
    assert "total([6.0, 7.0, 8.0, 4.0, 6.0])" in first.out
    assert "a known mistake: `kata check pair-sums --explain` names it" in first.out
    assert r"\x1b[31m" in first.out
    assert "\x1b" not in first.out
    assert "ends one number too early" in learner.kata("check").out
    learner.write(RIGHT)
    learner.kata("check")
    learner.write(WRONG)
    assert "ends one number too early" not in learner.kata("check").out, "it has passed in between"
    assert "ends one number too early" in learner.kata("check", "--explain").out


def test_a_selection_passes_alone_and_counts_for_nothing(learner: Person) -> None:
    learner.write(WRONG)
    said = learner.kata("check", "-k", "largest", "--json")
    assert said.code == 0
    assert not said.verdict.passed
    assert "does not count" in learner.kata("check", "-k", "largest").out
    learner.write(RIGHT)
    all_of_them = learner.kata("check", "-k", "t", "--json")
    assert (all_of_them.code, all_of_them.verdict.passed, all_of_them.verdict.score) == (0, False, 100)
    katas = {kata["slug"]: kata for kata in json.loads(learner.kata("list", "--json").out)["katas"]}
    assert (katas[SLUG]["state"], katas[SLUG]["best"]) == ("started", None)
    nothing = learner.kata("check", "-k", "median")
    assert nothing.code == 2
    assert "total, largest" in nothing.err


def test_another_file_is_graded_where_it_lies(learner: Person, tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text(RIGHT)
    assert learner.kata("check", SLUG, "--file", tmp_path / "other.py").code == 0
    assert learner.kata("check", SLUG).code == 1
    assert learner.kata("check", SLUG, "--file", tmp_path / "none.py").code == 2


def test_the_kata_of_this_folder_comes_before_the_last_started(learner: Person) -> None:
    learner.kata("start", "later-on")
    assert learner.kata("check", "--json", where=learner.where / SLUG).verdict.kata == SLUG
    assert "later-on" in learner.kata("check").err


@pytest.mark.parametrize(
    ("option", "hint"),
    [
        pytest.param(["--seed", "xyz"], "hexadecimal", id="a seed that is none"),
        pytest.param(["--device", "tpu"], "cpu or cuda", id="an unknown device"),
        pytest.param(["--isolation", "none"], "auto or process", id="an unknown isolation"),
        pytest.param(["--require-isolation", "some"], "takes full", id="an unknown requirement"),
        pytest.param(
            ["--device", "cuda"], "no cuda", id="no GPU", marks=pytest.mark.skipif(CUDA, reason="there is a GPU")
        ),
        pytest.param(["--isolation", "process", "--require-isolation", "full"], "full isolation", id="no isolation"),
    ],
)
def test_what_cannot_be_graded_ends_with_2(learner: Person, option: list[str], hint: str) -> None:
    learner.write(RIGHT)
    said = learner.kata("check", SLUG, *option)
    assert (said.code, said.out) == (2, "")
    assert hint in said.err


def test_a_missing_extra_ends_with_2(person: Person) -> None:
    pytest.importorskip("torch")
    if subprocess.run([sys.executable, "-c", "import transformers"], capture_output=True, check=False).returncode == 0:
        pytest.skip("transformers is here")
    person.kata("start", "later-on")
    said = person.kata("check")
    assert said.code == 2
    assert "pip install 'kata-grader[hf]'" in said.err


def test_in_one_interpreter_it_says_what_is_missing(learner: Person) -> None:
    learner.write(RIGHT)
    said = learner.kata("check", "--isolation", "process")
    assert said.code == 0
    assert "the reference is readable by your code" in said.out
    assert "network namespace" in said.out.replace("\n", " ")


def test_a_broken_check_is_our_fault_and_ends_with_3(person: Person, tmp_path: Path) -> None:
    bank = tmp_path / "bank"
    for folder in ("katas", "solutions"):
        (bank / folder).mkdir(parents=True)
        subprocess.run(["cp", "-r", BANK / folder / SLUG, bank / folder / "faulty"], check=True)
    checks = bank / "katas/faulty/checks.py"
    checks.write_text(checks.read_text().replace("attempt.largest(xs)", "attempt.largest(xs) / 0"))
    source = tmp_path / "attempt.py"
    source.write_text(RIGHT)
    said = person.kata("check", "faulty", "--file", source, bank=bank)
    assert said.code == 3
    assert "our fault" in said.out
    assert "not your score" in said.out


def test_a_history_that_cannot_be_opened_keeps_nobody_from_a_verdict(person: Person) -> None:
    person.home.write_text("a file, where the folder should be")
    person.write(RIGHT)
    said = person.kata("check", SLUG)
    assert said.code == 0
    assert "All passed" in said.out
    assert "KATA_HOME" in said.err
    person.write(WRONG)
    assert person.kata("check", SLUG).code == 1
    assert person.kata("history", SLUG).code == 3, "but nothing that only the history knows is made up"


def test_an_edited_given_file_is_said(person: Person, tmp_path: Path) -> None:
    bank = tmp_path / "bank"
    subprocess.run(["cp", "-r", BANK, bank], check=True)
    (bank / "katas/_given").mkdir()
    (bank / "katas/_given/helper.py").write_text("TEN = 10\n")
    toml = bank / "katas" / SLUG / "kata.toml"
    toml.write_text(toml.read_text().replace("preload", 'given = ["helper"]\npreload'))
    person.kata("start", SLUG, bank=bank)
    person.write(RIGHT)
    assert "helper.py" not in person.kata("check", SLUG, bank=bank).out
    (person.where / SLUG / "helper.py").write_text("TEN = 11\n")
    assert "helper.py is not as it was given" in person.kata("check", SLUG, bank=bank).out


def test_replay_writes_a_script_that_repeats_the_failing_call(learner: Person) -> None:
    learner.write(WRONG)
    learner.kata("check", "--seed", "7")
    said = learner.kata("replay")
    assert said.code == 0
    script = learner.where / SLUG / "replay_test_total_adds_up.py"
    assert f"python {SLUG}/{script.name}" in said.out.replace("\n", " ")
    run = [sys.executable, script.relative_to(learner.where)]
    done = subprocess.run(run, cwd=learner.where, input="c\n", capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "25.0" in done.stdout
    learner.write(RIGHT)
    assert "passes now" in learner.kata("replay").out


def test_a_check_of_a_numpy_kata_imports_no_torch_anywhere(learner: Person) -> None:
    learner.write("import sys\nprint('torch' in sys.modules, 'numpy' in sys.modules)\n" + WRONG)
    assert learner.kata("check", "--json").verdict.checks[0].output == "False True\n"


def test_the_count_is_shown_on_a_terminal_and_gone_in_the_end(learner: Person) -> None:
    learner.write(RIGHT)
    shown, said = on_terminal(learner, "check", "--json")
    assert shown.index(b"Checking\xe2\x80\xa6 0/3") < shown.index(b"Checking\xe2\x80\xa6 3/3")
    assert shown.endswith(b"\r\x1b[K")
    assert json.loads(said)["passed"]


def test_a_dumb_terminal_is_sent_no_escapes(learner: Person) -> None:
    shown, _ = on_terminal(learner, "check", "--json", TERM="dumb")
    assert shown == b""


def test_ctrl_c_ends_it_with_130_and_leaves_no_process(learner: Person) -> None:
    learner.write(RIGHT.replace("    return result", "    while True: __import__('time').sleep(0.01)"))
    process, terminal = started(learner, "check")
    shown = b""
    while b"0/3" not in shown:
        shown += os.read(terminal, 4096)
    time.sleep(0.2)
    others = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=PATIENCE)
    assert (process.returncode, said) == (130, b"")
    _, alive = psutil.wait_procs(others, timeout=PATIENCE)
    assert others
    assert not alive
    assert b"Traceback" not in drained(terminal)


def test_a_reader_that_stops_early_is_no_error(learner: Person) -> None:
    command = [sys.executable, "-m", "grader", "list", "--json", "--bank", str(BANK)]
    process = subprocess.Popen(
        command, cwd=learner.where, env=learner.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.wait(timeout=30) == 141
    assert process.stderr.read() == b""
    process.stderr.close()


def test_a_history_that_cannot_be_written_is_told_with_the_verdict(learner: Person, grader: Grader) -> None:
    path, database = learner.write(RIGHT), learner.home / "history.db"
    opened = partial(History.open, database, now=time.time, busy_seconds=0.05)
    with sqlite3.connect(database, isolation_level=None) as lock, Learner(load, opened, learner.where, time.time) as me:
        assert me.forgive_history() is None
        lock.execute("BEGIN IMMEDIATE")
        outcome = check(me, me.kata(SLUG), path, grader, Options())
    lock.close()
    assert (outcome.exit_code, outcome.verdict.passed) == (0, True)
    assert "locked" in str(outcome.forgotten)


def load() -> Catalogue:
    return Catalogue.of([BANK])


def on_terminal(person: Person, *arguments: str, **environment: str) -> tuple[bytes, bytes]:
    """What a process showed on a terminal at its standard error, and what it wrote to its standard output."""
    process, terminal = started(person, *arguments, **environment)
    said, _ = process.communicate(timeout=60)
    return drained(terminal), said


def started(person: Person, *arguments: str, **environment: str) -> tuple["subprocess.Popen[bytes]", int]:
    """A process with a terminal at its standard error, and our end of that terminal."""
    terminal, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "grader", *arguments, "--bank", str(BANK)],
        cwd=person.where,
        env=person.environment(**{"TERM": "xterm", **environment}),
        stdout=subprocess.PIPE,
        stderr=theirs,
        # Who was started in the background of a script ignores it, and so would all children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    os.close(theirs)
    return process, terminal


def drained(terminal: int) -> bytes:
    """What was left to read at a terminal whose other end is closed."""
    shown = b""
    try:
        while data := os.read(terminal, 4096):
            shown += data
    except OSError:  # Linux says the other end is gone in this way
        pass
    os.close(terminal)
    return shown
