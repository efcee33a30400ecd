"""The history survives newer schemas, several processes, full disks, kills and damage."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from history_tools import SLUG, Clock, open_history, run
from starved import run_on_small_disk, run_with_small_files, run_without_override

from grader.errors import HistoryError
from grader.history import History, Progress
from grader.history.database import connect, transaction
from grader.history.migrations import MIGRATIONS, applied, migrate

HERE = Path(__file__).parent


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "history.db"


def writer(path: Path, kata: str = SLUG, count: int = 50, size: int = 0) -> list[str]:
    return [sys.executable, str(HERE / "history_writer.py"), str(path), kata, str(count), str(size)]


def is_sound(path: Path) -> bool:
    with closing(sqlite3.connect(path)) as db:
        broken = db.execute("PRAGMA foreign_key_check").fetchall()
        return not broken and db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


# Schemas


def tables(db: sqlite3.Connection) -> list[tuple[str, str]]:
    return db.execute("SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite%' ORDER BY name").fetchall()


def test_a_history_of_the_oldest_schema_is_read_in_full(path: Path) -> None:
    """tests/histories/m001.sql was written when m001 was the newest; it is never edited."""
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as db:
        db.executescript((HERE / "histories" / "m001.sql").read_text())
    with open_history(path) as history:
        assert history.states() == {"toy-kata": (Progress.PASSED, 100), "kv-cache": (Progress.STARTED, None)}
        assert [(v.n, v.reason, v.score) for v in history.runs(SLUG)] == [
            (3, "practice", 100),
            (2, "reset", None),
            (1, "practice", 40),
        ]
        assert history.attempt_bytes(history.runs(SLUG)[-1].sha256) == b"def double(x): return x + 1\n"
        assert history.consecutive_failures(SLUG, "test_b") == 1
        assert history.hint_level(SLUG, "double") == 2
        last = history.last_verdict(SLUG)
        assert last is not None
        assert last.passed
        run(history)
    with closing(sqlite3.connect(path)) as old, closing(sqlite3.connect(":memory:", isolation_level=None)) as new:
        migrate(new, 0.0)
        assert applied(old) == [migration.__name__ for migration in MIGRATIONS]
        assert tables(old) == tables(new)


def test_a_migration_that_fails_leaves_the_schema_before_it_and_can_be_run_again() -> None:
    def m998_ratings(db: sqlite3.Connection) -> None:
        db.execute("CREATE TABLE ratings (kata TEXT)")

    def m999_breaks(db: sqlite3.Connection) -> None:
        db.execute("CREATE TABLE half (done TEXT)")
        raise RuntimeError("broken")

    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        with pytest.raises(RuntimeError, match="broken"):
            migrate(db, 0.0, (*MIGRATIONS, m998_ratings, m999_breaks))
        assert applied(db)[-1] == "m998_ratings"
        assert "half" not in dict(tables(db))
        migrate(db, 0.0, (*MIGRATIONS, m998_ratings))
        assert applied(db)[-1] == "m998_ratings"


def test_a_history_of_a_newer_kata_is_refused_and_left_as_it_is(path: Path) -> None:
    with open_history(path) as history:
        run(history)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO migrations (name, at) VALUES ('m999_future', 0)")
    before = path.read_bytes()
    with pytest.raises(HistoryError, match=r"newer kata \(m999_future\): `pip install --upgrade kata-grader`"):
        read_and_run(path)
    assert path.read_bytes() == before


def test_processes_that_make_the_same_history_at_once_all_find_it_made(path: Path) -> None:
    writers = [subprocess.Popen(writer(path, f"kata-{i}", 1), stderr=subprocess.PIPE) for i in range(4)]
    assert [(process.communicate()[1], process.returncode) for process in writers] == [(b"", 0)] * 4
    with open_history(path) as history:
        assert len(history.states()) == 4
    assert is_sound(path)


def test_a_history_that_is_made_by_another_process_this_moment_is_waited_for(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        migrating = subprocess.Popen(writer(path, SLUG, 1), stderr=subprocess.PIPE)
        time.sleep(0.4)
        assert migrating.poll() is None
        other.execute("COMMIT")
        assert (migrating.communicate()[1], migrating.returncode) == (b"", 0)


# When something goes wrong


def test_a_transaction_holds_the_write_lock_before_it_reads(path: Path) -> None:
    with closing(connect(path, 0.05)) as one, closing(connect(path, 0.05)) as other:
        with transaction(one), pytest.raises(sqlite3.OperationalError, match="locked"), transaction(other):
            pass
        with transaction(other):
            pass


def test_no_run_is_kept_without_its_version_and_its_bytes(path: Path) -> None:
    with closing(connect(path, 0.05)) as db:
        migrate(db, 0.0)
        with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
            db.execute("INSERT INTO versions VALUES (1, 'toy-kata', 1, 0, '', 'no such bytes', 'practice')")
        with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
            db.execute("INSERT INTO checks VALUES (1, 'a', 'double', 'passed', 10, 0, NULL)")


def test_two_processes_that_write_at_once_lose_nothing(path: Path) -> None:
    writers = [subprocess.Popen(writer(path, kata, 50, 30_000), stderr=subprocess.PIPE) for kata in ("one", "two")]
    assert [(process.communicate()[1], process.returncode) for process in writers] == [(b"", 0)] * 2
    with open_history(path) as history:
        for kata in ("one", "two"):
            assert [version.n for version in history.runs(kata)] == list(range(50, 0, -1))
            assert history.attempt_bytes(history.runs(kata)[0].sha256).startswith(f"{kata} 50".encode())
    assert is_sound(path)


@pytest.mark.parametrize("acknowledged", [1, 4, 9])
def test_a_kill_in_the_middle_of_writing_loses_no_run_that_was_kept(path: Path, acknowledged: int) -> None:
    with subprocess.Popen(writer(path, count=10_000, size=20_000), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(acknowledged):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        last = int(([b"0", *process.stdout.read().split()])[-1])
    with open_history(path) as history:
        kept = [version.n for version in history.runs(SLUG)]
        assert kept == list(range(len(kept), 0, -1))
        assert len(kept) >= max(acknowledged, last)
        assert history.consecutive_failures(SLUG, "test_b") == len(kept)  # the checks of each run are there too
        run(history)
    assert is_sound(path)


def test_a_history_locked_by_another_process_is_said_and_can_be_used_afterwards(path: Path) -> None:
    with (
        open_history(path, busy_seconds=0.1) as impatient,
        closing(sqlite3.connect(path, isolation_level=None)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(HistoryError, match=r"is locked by another program: close it \(`lsof .*history\.db`\)"):
            run(impatient)
        assert impatient.runs(SLUG) == []  # reading needs no lock
        other.execute("COMMIT")
        assert run(impatient) == 1


def test_a_write_that_is_interrupted_leaves_nothing_and_can_be_repeated(path: Path) -> None:
    def interrupted() -> float:
        raise KeyboardInterrupt

    clocks = iter([Clock(), interrupted, Clock()])
    with History.open(path, now=lambda: next(clocks)()) as history:
        with pytest.raises(KeyboardInterrupt):
            run(history)
        assert run(history) == 1
        assert len(history.runs(SLUG)) == 1


@pytest.mark.parametrize("size", [2_000, 60_000, 200_000])
def test_a_disk_that_fills_up_is_said_and_keeps_what_was_kept(path: Path, size: int) -> None:
    with open_history(path) as history:
        run(history, data=b"precious")
    done = run_with_small_files(writer(path, count=100, size=5_000), size)
    acknowledged = len(done.stdout.split())
    assert done.returncode == 3
    assert re.search(r"history\.db cannot be written .*: `df -h .*/home` shows whether the disk is full", done.stderr)
    with open_history(path) as history:
        assert history.attempt_bytes(history.runs(SLUG)[-1].sha256) == b"precious"
        assert len(history.runs(SLUG)) >= 1 + acknowledged
        run(history, data=b"room again")
    assert is_sound(path)


def test_a_disk_with_no_space_left_keeps_every_run_that_was_acknowledged(tmp_path: Path) -> None:
    disk, copy = tmp_path / "disk", tmp_path / "copy"
    disk.mkdir()
    copy.mkdir()
    done = run_on_small_disk(writer(disk / "history.db", count=500, size=5_000), disk, "600k", f"cp {disk}/* {copy}")
    acknowledged = len(done.stdout.split())
    assert (done.returncode, acknowledged > 5) == (3, True)
    assert "cannot be written" in done.stderr
    with open_history(copy / "history.db") as history:
        assert len(history.runs(SLUG)) >= acknowledged
    assert is_sound(copy / "history.db")


def test_a_folder_that_may_not_be_written_is_said(path: Path) -> None:
    path.parent.mkdir()
    path.parent.chmod(0o555)
    done = run_without_override(writer(path, count=1))
    assert done.returncode == 3
    assert done.stderr.startswith(f"the history {path} cannot be written")
    assert "`export KATA_HOME=FOLDER`" in done.stderr


def test_a_history_that_may_not_be_written_keeps_what_it_holds(path: Path) -> None:
    with open_history(path) as history:
        run(history)
    before = path.read_bytes()
    path.chmod(0o444)
    path.parent.chmod(0o555)
    done = run_without_override(writer(path, count=1))
    assert (done.returncode, "`export KATA_HOME=FOLDER`" in done.stderr) == (3, True)
    assert path.read_bytes() == before


def test_a_home_that_is_a_file_is_said(path: Path) -> None:
    path.parent.write_text("a file")
    with pytest.raises(HistoryError, match=r"cannot be made \(File exists\): `export KATA_HOME=FOLDER`"):
        read_and_run(path)


def test_a_history_that_is_a_folder_is_said(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(HistoryError, match=r"cannot be written .*unable to open"):
        read_and_run(path)


def read_and_run(path: Path) -> None:
    with open_history(path) as history:
        history.runs(SLUG)
        run(history)


def overwrite_with_text(path: Path) -> None:
    path.write_text("these are my notes\n" * 100)


def overwrite_all_but_the_first_page(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:4096] + b"\xff" * (path.stat().st_size - 4096))


def cut_in_the_middle(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("damage", [overwrite_with_text, overwrite_all_but_the_first_page, cut_in_the_middle])
def test_a_damaged_history_is_left_alone_and_the_message_moves_it_away(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    path = tmp_path / "my home's" / "history.db"
    with open_history(path) as history:
        run(history)
    damage(path)
    before = path.read_bytes()
    with pytest.raises(HistoryError, match=r"is damaged .*nothing was deleted") as caught:
        read_and_run(path)
    assert path.read_bytes() == before
    command = re.search("`(.*)`", str(caught.value))
    assert command is not None
    subprocess.run(command[1], shell=True, check=True)
    assert (path.parent / "damaged" / "history.db").read_bytes() == before
    with open_history(path) as history:
        assert run(history) == 1


@pytest.mark.parametrize("packed", [b"not zlib", zlib.compress(b"other content")], ids=["not-zlib", "other-content"])
def test_an_attempt_whose_content_changed_is_never_handed_out(path: Path, packed: bytes) -> None:
    with open_history(path) as history:
        sha = history.keep_attempt(SLUG, b"content")
        with closing(sqlite3.connect(path)) as db, db:
            db.execute("UPDATE attempts SET data = ?", (packed,))
        with pytest.raises(HistoryError, match="is damaged"):
            history.attempt_bytes(sha)


def test_an_empty_file_is_an_empty_history(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    with open_history(path) as history:
        assert run(history) == 1
