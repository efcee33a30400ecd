"""`kata watch` in a real terminal: a pseudo-terminal whose other end types, saves and reads."""

import os
import queue
import re
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from cli_tools import BANK, RIGHT, SLUG, WRONG
from terminal import PATIENCE, Terminal

from grader.practice.saves import Saves


@pytest.fixture
def watched(person):
    """A terminal that watches a wrong attempt, its first verdict shown."""
    person.write(WRONG)
    terminal = Terminal(person, "watch", SLUG)
    terminal.until("✗", "watching")
    yield terminal
    terminal.close()


def save(path: Path, text: str) -> None:
    path.write_text(text)


def replace(path: Path, text: str) -> None:
    """As most editors save: a new file takes the place of the old."""
    new = path.with_suffix(".tmp")
    new.write_text(text)
    new.replace(path)


def delete_and_write(path: Path, text: str) -> None:
    path.unlink()
    time.sleep(0.2)
    path.write_text(text)


def in_two_writes(path: Path, text: str) -> None:
    with path.open("w") as file:
        file.write(text[: len(text) // 2])
        file.flush()
        time.sleep(0.005)
        file.write(text[len(text) // 2 :])


@pytest.mark.parametrize("saving", [save, replace, delete_and_write, in_two_writes])
def test_every_way_to_save_has_its_verdict(person, watched, saving):
    watched.forget()
    saving(person.where / SLUG / "pair_sums.py", RIGHT)
    watched.until("All passed", "watching")


def test_saving_the_same_again_changes_nothing(person, watched):
    path = person.where / SLUG / "pair_sums.py"
    save(path, WRONG)
    time.sleep(0.5)
    save(path, RIGHT)
    watched.until("All passed")
    versions = re.findall(r"^ +\d+  20", person.kata("history", SLUG).out, re.MULTILINE)
    assert len(versions) == len([WRONG, RIGHT])


def test_keys_show_what_they_say(watched):
    for key, shown in (("h", "hint 1 of 3"), ("a", "checks"), ("r", "watching"), ("h", "hint 2 of 3")):
        watched.forget()
        watched.type(key)
        watched.until(shown, "h hint")


def test_answers_are_closed_until_it_passes(person, watched):
    watched.forget()
    watched.type("s")
    watched.until("is shown once you pass or give up")
    replace(person.where / SLUG / "pair_sums.py", RIGHT)
    watched.until("All passed", "q quit")
    watched.type("d")
    watched.until("line for line")


def test_reset_asks_and_then_grades_the_stub(person, watched):
    path = person.where / SLUG / "pair_sums.py"
    watched.type("x")
    watched.until("[y/N]")
    watched.type("n")
    watched.forget()
    watched.type("r")
    watched.until("✗", "watching")
    assert path.read_text() == WRONG
    watched.type("x")
    watched.until("[y/N]")
    watched.forget()
    watched.type("y")
    watched.until("not attempted", "watching")
    assert path.read_text() != WRONG


def test_q_ends_it_and_leaves_the_terminal_as_it_was(watched):
    watched.type("q")
    assert watched.process.wait(timeout=PATIENCE) == 0
    assert termios.tcgetattr(watched.ours)[3] == watched.before[3]


def test_a_deleted_file_is_told_and_waited_for(person, watched):
    path = person.where / SLUG / "pair_sums.py"
    watched.forget()
    path.unlink()
    watched.until("pair_sums.py")
    save(path, RIGHT)
    watched.until("All passed")


def test_polling_sees_saves_too(person):
    path = person.write(WRONG)
    terminal = Terminal(person, "watch", SLUG, "--poll")
    try:
        terminal.until("✗", "watching")
        replace(path, RIGHT)
        terminal.until("All passed", "watching")
    finally:
        terminal.close()


@pytest.mark.parametrize("poll", [False, True])
def test_two_saves_within_one_second_are_two(tmp_path, poll):
    path = tmp_path / "attempt.py"
    path.write_text("a = 1")
    second = 1_700_000_000 * 10**9
    told: queue.SimpleQueue[str] = queue.SimpleQueue()
    with Saves(path, lambda: told.put(path.read_text()), poll=poll):
        for number, text in enumerate(("a = 2", "a = 3", "a = 4")):
            time.sleep(0.2)
            replace(path, text)
            os.utime(path, ns=(second + number, second + number))
            while told.get(timeout=PATIENCE) != text:
                pass


def test_without_a_terminal_it_prints_one_verdict_after_the_other(person):
    path = person.write(WRONG)
    command = [sys.executable, "-m", "grader", "watch", SLUG, "--bank", str(BANK)]
    process = subprocess.Popen(
        command, cwd=person.where, env=person.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    try:
        for line in process.stdout:
            if "watching" in line:
                break
        save(path, RIGHT)
        assert any("All passed" in line for line in process.stdout)
    finally:
        process.kill()
        process.communicate()
