"""A learner's folder: what is read of it, what is written into it, and what is never touched."""

import errno
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starved import run_on_small_disk, run_with_small_files, run_without_override

from grader.bank import Kata, load_kata
from grader.errors import BadKata, WorkspaceError
from grader.workspace import (
    altered_given,
    attempt_path,
    find_current,
    read_attempt,
    reset,
    start,
    write_atomically,
)

WORKSPACES = Path(__file__).parent / "workspaces"
IMPORTS = "import sys; from pathlib import Path; from grader.bank import load_kata; from grader.workspace import *;"
START = f"{IMPORTS} start(load_kata(Path(sys.argv[1])), Path(sys.argv[2]))"
WRITE = f"{IMPORTS} write_atomically(Path(sys.argv[1]), b'x' * 100_000)"


@pytest.fixture
def kata() -> Kata:
    return load_kata(WORKSPACES / "bank" / "katas" / "toy-kata")


@pytest.fixture
def attempt(kata: Kata, tmp_path: Path) -> Path:
    """A started attempt that the learner has worked on."""
    path = start(kata, tmp_path).path
    path.write_bytes(b"def double(x): return 2 * x\n")
    return path


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# Starting


def test_start_writes_stub_prompt_and_given_files_and_nothing_else(kata: Kata, tmp_path: Path) -> None:
    started = start(kata, tmp_path)
    assert started.path == tmp_path / "toy-kata" / "toy_kata.py"
    assert not started.already
    assert tree(tmp_path) == {
        "toy-kata/toy_kata.py": kata.stub.read_bytes(),
        "toy-kata/PROMPT.md": kata.prompt.read_bytes(),
        "toy-kata/toy_tools.py": kata.given_paths()[0].read_bytes(),
    }
    assert {path.name for path in started.created} == {"toy_kata.py", "PROMPT.md", "toy_tools.py"}


def test_starting_again_changes_nothing(kata: Kata, tmp_path: Path, attempt: Path) -> None:
    (attempt.parent / "PROMPT.md").write_text("my notes")
    (attempt.parent / "mine.txt").write_text("mine")
    before = tree(tmp_path)
    again = start(kata, tmp_path)
    assert (again.path, again.created, again.already) == (attempt, (), True)
    assert tree(tmp_path) == before


def test_starting_again_restores_what_is_missing_and_only_that(kata: Kata, tmp_path: Path, attempt: Path) -> None:
    before = tree(tmp_path)
    (attempt.parent / "PROMPT.md").unlink()
    (attempt.parent / "toy_tools.py").unlink()
    again = start(kata, tmp_path)
    assert again.already
    assert {path.name for path in again.created} == {"PROMPT.md", "toy_tools.py"}
    assert tree(tmp_path) == before


def test_an_empty_attempt_is_an_attempt(kata: Kata, tmp_path: Path, attempt: Path) -> None:
    attempt.write_bytes(b"")
    assert start(kata, tmp_path).already
    assert attempt.read_bytes() == b""


def test_a_link_in_place_of_the_attempt_is_neither_followed_nor_replaced(kata: Kata, tmp_path: Path) -> None:
    folder = tmp_path / "toy-kata"
    folder.mkdir()
    (folder / "toy_kata.py").symlink_to(tmp_path / "elsewhere.py")
    assert start(kata, tmp_path).already
    assert (folder / "toy_kata.py").is_symlink()
    assert not (tmp_path / "elsewhere.py").exists()


def test_inside_its_own_folder_a_kata_does_not_nest(kata: Kata, attempt: Path) -> None:
    again = start(kata, attempt.parent)
    assert (again.path, again.already) == (attempt, True)
    assert not (attempt.parent / "toy-kata").exists()


def test_a_folder_that_only_has_the_name_gets_a_folder_inside(kata: Kata, tmp_path: Path) -> None:
    (tmp_path / "toy-kata").mkdir()
    assert start(kata, tmp_path / "toy-kata").path == tmp_path / "toy-kata" / "toy-kata" / "toy_kata.py"


def test_a_folder_full_of_other_things_is_shared_with_them(kata: Kata, tmp_path: Path) -> None:
    (tmp_path / "toy-kata").mkdir()
    (tmp_path / "toy-kata" / "PROMPT.md").write_text("of another project")
    assert not start(kata, tmp_path).already
    assert (tmp_path / "toy-kata" / "PROMPT.md").read_text() == "of another project"


@pytest.mark.parametrize("target", [None, "nowhere"])
def test_what_is_no_folder_where_the_folder_should_be_is_left_alone(
    kata: Kata, tmp_path: Path, target: str | None
) -> None:
    place = tmp_path / "toy-kata"
    if target:
        place.symlink_to(target)
    else:
        place.write_text("a file")
    with pytest.raises(WorkspaceError, match=r"toy-kata is there and is no folder: move it away, then run again"):
        start(kata, tmp_path)
    assert place.is_symlink() if target else place.read_text() == "a file"


def test_a_folder_where_the_attempt_should_be_is_said(kata: Kata, tmp_path: Path) -> None:
    (tmp_path / "toy-kata" / "toy_kata.py").mkdir(parents=True)
    with pytest.raises(WorkspaceError, match=r"toy_kata\.py is a folder, where the attempt should be"):
        start(kata, tmp_path)


@pytest.mark.parametrize("inside", ["katas", "katas/toy-kata", "solutions"])
def test_nothing_is_started_inside_the_bank(kata: Kata, inside: str) -> None:
    before = tree(kata.bank)
    with pytest.raises(WorkspaceError, match="belongs to the bank itself: `cd` to a folder of yours"):
        start(kata, kata.bank / inside)
    assert tree(kata.bank) == before


def test_a_kata_without_its_stub_is_the_banks_fault(tmp_path: Path, kata: Kata) -> None:
    home = tmp_path / "bank" / "katas" / "toy-kata"
    home.mkdir(parents=True)
    (home / "kata.toml").write_bytes((kata.folder / "kata.toml").read_bytes())
    with pytest.raises(BadKata, match=r"stub\.py cannot be read .*`kata lint toy-kata`"):
        start(load_kata(home), tmp_path)


def test_a_place_that_may_not_be_written_is_said(kata: Kata, tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    done = run_without_override([sys.executable, "-c", START, str(kata.folder), str(tmp_path)])
    assert f"WorkspaceError: {tmp_path / 'toy-kata'} cannot be written (Permission denied)" in done.stderr
    assert "`cd` to a folder that you can write" in done.stderr


def test_a_place_that_is_gone_is_said(kata: Kata, tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="cannot be written"):
        start(kata, tmp_path / "gone")


def test_a_disk_that_fills_up_leaves_no_half_written_stub(kata: Kata, tmp_path: Path) -> None:
    done = run_with_small_files([sys.executable, "-c", START, str(kata.folder), str(tmp_path)], 10)
    assert "toy_kata.py cannot be written (File too large), and nothing was changed: free some space" in done.stderr
    assert tree(tmp_path) == {}


# Finding


def test_the_current_kata_is_that_of_this_folder_or_of_one_above(kata: Kata, tmp_path: Path, attempt: Path) -> None:
    (attempt.parent / "notes" / "old").mkdir(parents=True)
    assert find_current(attempt.parent, [kata]) == "toy-kata"
    assert find_current(attempt.parent / "notes" / "old", [kata]) == "toy-kata"
    assert find_current(tmp_path, [kata]) is None
    assert find_current(attempt.parent, []) is None


def test_a_folder_that_only_has_a_katas_name_is_not_the_current_kata(kata: Kata, tmp_path: Path) -> None:
    (tmp_path / "toy-kata").mkdir()
    assert find_current(tmp_path / "toy-kata", [kata]) is None


def test_a_relative_place_is_looked_up_from_where_we_are(
    kata: Kata, attempt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(attempt.parent)
    assert find_current(Path(), [kata]) == "toy-kata"
    assert attempt_path(kata, Path(), None) == attempt


def test_the_attempt_is_found_from_its_parent_its_folder_and_below(kata: Kata, tmp_path: Path, attempt: Path) -> None:
    (attempt.parent / "notes").mkdir()
    for where in (tmp_path, attempt.parent, attempt.parent / "notes"):
        assert attempt_path(kata, where, tmp_path / "other.py") == attempt


def test_elsewhere_the_attempt_is_the_one_started_last(kata: Kata, tmp_path: Path, attempt: Path) -> None:
    (tmp_path / "away").mkdir()
    assert attempt_path(kata, tmp_path / "away", attempt) == attempt


def test_where_no_attempt_is_the_command_that_makes_one_is_said(kata: Kata, tmp_path: Path) -> None:
    with pytest.raises(
        WorkspaceError, match=r"there is no attempt at toy-kata in .*: `kata start toy-kata` writes one"
    ):
        attempt_path(kata, tmp_path, None)
    with pytest.raises(WorkspaceError, match=r"and none at .*gone\.py any more: `kata start toy-kata`"):
        attempt_path(kata, tmp_path, tmp_path / "gone.py")


# Resetting and replacing


def test_reset_puts_the_stub_back_and_touches_nothing_else(kata: Kata, tmp_path: Path, attempt: Path) -> None:
    attempt.chmod(0o640)
    before = tree(tmp_path)
    reset(kata, attempt)
    assert tree(tmp_path) == before | {"toy-kata/toy_kata.py": kata.stub.read_bytes()}
    assert stat.S_IMODE(attempt.stat().st_mode) == 0o640


def test_reset_brings_back_an_attempt_that_was_deleted(kata: Kata, attempt: Path) -> None:
    attempt.unlink()
    reset(kata, attempt)
    assert attempt.read_bytes() == kata.stub.read_bytes()


def test_a_new_file_gets_the_mode_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_atomically(tmp_path / "new", b"data")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
def test_what_is_no_regular_file_is_not_replaced(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "dpo.py"
    make = {"link": lambda: path.symlink_to("target"), "folder": path.mkdir, "pipe": lambda: os.mkfifo(path)}
    make[kind]()
    before = path.lstat()
    with pytest.raises(WorkspaceError, match=rf"dpo\.py is a .*{kind}, so it is left as it is"):
        write_atomically(path, b"data")
    assert path.lstat() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["dpo.py"]


def test_a_full_disk_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "dpo.py"
    path.write_bytes(b"precious")
    done = run_with_small_files([sys.executable, "-c", WRITE, str(path)], 5_000)
    assert "WorkspaceError" in done.stderr
    assert "and nothing was changed: free some space, then run again" in done.stderr
    assert tree(tmp_path) == {"dpo.py": b"precious"}


def test_a_disk_with_no_space_left_is_said(tmp_path: Path) -> None:
    path = tmp_path / "dpo.py"
    done = run_on_small_disk([sys.executable, "-c", WRITE, str(path)], tmp_path, "64k", after=f"ls -A {tmp_path}")
    assert f"({os.strerror(errno.ENOSPC)}), and nothing was changed: free some space" in done.stderr
    assert done.stdout == ""


def test_a_read_only_folder_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "dpo.py"
    path.write_bytes(b"precious")
    tmp_path.chmod(0o555)
    done = run_without_override([sys.executable, "-c", WRITE, str(path)])
    assert "dpo.py cannot be written (Permission denied), and nothing was changed" in done.stderr
    assert path.read_bytes() == b"precious"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file of another user")
def test_a_file_of_somebody_else_that_may_not_be_replaced_stays_and_leaves_no_litter(tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    (folder / "dpo.py").write_bytes(b"theirs")
    for entry in (folder, folder / "dpo.py"):
        os.chown(entry, 65534, 65534)
        entry.chmod(0o1777)  # sticky: only its owner may replace a file
    done = run_without_override([sys.executable, "-c", WRITE, str(folder / "dpo.py")])
    assert "dpo.py cannot be written (Operation not permitted), and nothing was changed" in done.stderr
    assert tree(folder) == {"dpo.py": b"theirs"}


@given(old=st.binary(max_size=200), new=st.binary(max_size=200), mode=st.integers(0o400, 0o777))
def test_what_is_written_is_what_is_read_whatever_it_replaces(
    tmp_path_factory: pytest.TempPathFactory, old: bytes, new: bytes, mode: int
) -> None:
    path = tmp_path_factory.mktemp("written") / "dpo.py"
    path.write_bytes(old)
    path.chmod(mode | 0o400)
    write_atomically(path, new)
    assert read_attempt(path).data == new
    assert stat.S_IMODE(path.stat().st_mode) == mode | 0o400


# Given files


def test_given_files_that_were_edited_are_named(kata: Kata, attempt: Path) -> None:
    given_file = attempt.parent / "toy_tools.py"
    assert altered_given(kata, attempt.parent) == []
    given_file.write_bytes(given_file.read_bytes() + b"\n")
    assert altered_given(kata, attempt.parent) == ["toy_tools.py"]
    given_file.unlink()
    assert altered_given(kata, attempt.parent) == []


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["folder", "pipe"])
def test_what_stands_for_a_given_file_counts_as_edited(kata: Kata, attempt: Path, make: Callable[[Path], None]) -> None:
    (attempt.parent / "toy_tools.py").unlink()
    make(attempt.parent / "toy_tools.py")
    assert altered_given(kata, attempt.parent) == ["toy_tools.py"]
