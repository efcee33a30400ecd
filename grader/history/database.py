"""One SQLite file: how it is opened, how it is written all or nothing, and what its faults mean to a learner."""

import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from grader.errors import HistoryError


def connect(path: Path, busy_seconds: float) -> sqlite3.Connection:
    """A connection without implicit transactions, to a file that is made where needed; the caller closes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None)
    try:
        _configure(db)
    except BaseException:
        db.close()
        raise
    return db


def _configure(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA foreign_keys = ON")
    try:
        db.execute("PRAGMA journal_mode = WAL")
    except sqlite3.OperationalError as error:
        # SQLite does not wait here while another process writes its first page; the next one to open sets it
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
            raise


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Everything inside, or nothing. The write lock is taken first, so nothing read inside can be stale."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # on a full disk SQLite may have rolled back by itself
            db.execute("ROLLBACK")
        raise


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns what SQLite and the disk raise inside into a `HistoryError` with a way out."""
    try:
        yield
    except sqlite3.Error as error:
        raise HistoryError(_explanation(path, error)) from error
    except OSError as error:
        raise HistoryError(f"the history {path} cannot be made ({error.strerror}): {_ELSEWHERE}") from error


_ELSEWHERE = "`export KATA_HOME=FOLDER` keeps it in a folder that you can write"


def _explanation(path: Path, error: sqlite3.Error) -> str:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)  # errors of Python's module carry none
    match code & 0xFF:  # the low byte is the kind, the rest its details
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return f"the history {path} is locked by another program: close it (`lsof {_quoted(path)}`), then run again"
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return damaged(path, str(error))
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return f"the history {path} cannot be written ({error}): {_ELSEWHERE}"
        case sqlite3.SQLITE_FULL | sqlite3.SQLITE_IOERR:
            free = f"`df -h {_quoted(path.parent)}` shows whether the disk is full; free some space, then run again"
            return f"the history {path} cannot be written ({error}): {free}"
    return f"the history {path} failed ({error}): `kata doctor` looks at it"


def damaged(path: Path, detail: str) -> str:
    """The message for a file that is not what we wrote. It is left as it is: only its owner moves it."""
    aside = path.parent / "damaged"
    move = f"mkdir -p {_quoted(aside)} && mv {_quoted(path)}* {_quoted(aside)}"  # its -wal must not meet a new file
    return f"the history {path} is damaged ({detail}); nothing was deleted. To set it aside and begin anew: `{move}`"


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
