"""The schema of the history, as migrations: applied in order, each in one transaction with its record.

Append-only: what has shipped is never edited; a change is a new function at the end of `MIGRATIONS`. A migration gets
a connection inside an open transaction, so it calls neither `commit` nor `executescript` (which commits by itself).
"""

import sqlite3
from collections.abc import Callable, Sequence

from grader.errors import HistoryError
from grader.history.database import transaction

Migration = Callable[[sqlite3.Connection], None]


def m001_attempts_versions_runs_checks_events(db: sqlite3.Connection) -> None:
    """Attempts by content, their versions per kata, the runs among those with their checks, and everything else."""
    db.execute("CREATE TABLE attempts (sha256 TEXT PRIMARY KEY, data BLOB NOT NULL)")
    db.execute("""
        CREATE TABLE versions (
            id INTEGER PRIMARY KEY AUTOINCREMENT, kata TEXT NOT NULL, n INTEGER NOT NULL, at REAL NOT NULL,
            utc TEXT NOT NULL, sha256 TEXT NOT NULL REFERENCES attempts, reason TEXT NOT NULL, UNIQUE (kata, n))""")
    db.execute("""
        CREATE TABLE runs (
            id INTEGER PRIMARY KEY REFERENCES versions, seed TEXT NOT NULL, device TEXT NOT NULL,
            isolation TEXT NOT NULL, score INTEGER NOT NULL, max_score INTEGER NOT NULL, passed INTEGER NOT NULL,
            selected INTEGER NOT NULL, seconds REAL NOT NULL, verdict BLOB NOT NULL)""")
    db.execute("""
        CREATE TABLE checks (
            run INTEGER NOT NULL REFERENCES runs, id TEXT NOT NULL, part TEXT NOT NULL, state TEXT NOT NULL,
            points INTEGER NOT NULL, seconds REAL NOT NULL, mistake TEXT, PRIMARY KEY (run, id)) WITHOUT ROWID""")
    db.execute("CREATE INDEX checks_by_id ON checks (id, state, run)")
    db.execute("""
        CREATE TABLE events (
            id INTEGER PRIMARY KEY AUTOINCREMENT, kata TEXT NOT NULL, at REAL NOT NULL, utc TEXT NOT NULL,
            kind TEXT NOT NULL, data TEXT NOT NULL)""")
    db.execute("CREATE INDEX events_by_kind ON events (kind, kata)")


def m002_answers(db: sqlite3.Connection) -> None:
    """What a learner answered to conceptual questions, and how they rated it: 1 weak, 2 good, 3 strong."""
    db.execute("""
        CREATE TABLE answers (
            id INTEGER PRIMARY KEY AUTOINCREMENT, question TEXT NOT NULL, at REAL NOT NULL, utc TEXT NOT NULL,
            answer TEXT NOT NULL, rating INTEGER NOT NULL, context TEXT NOT NULL)""")
    db.execute("CREATE INDEX answers_by_question ON answers (question)")


def m003_interviews(db: sqlite3.Connection) -> None:
    """Mock interviews, as the events that each is made of."""
    db.execute("CREATE TABLE interviews (id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, utc TEXT NOT NULL)")
    db.execute("""
        CREATE TABLE interview_events (
            interview INTEGER NOT NULL REFERENCES interviews, n INTEGER NOT NULL, event TEXT NOT NULL,
            PRIMARY KEY (interview, n)) WITHOUT ROWID""")


MIGRATIONS: tuple[Migration, ...] = (m001_attempts_versions_runs_checks_events, m002_answers, m003_interviews)


def migrate(db: sqlite3.Connection, at: float, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Applies what is missing, at unix time `at`. Processes may do this at once: each looks again under the lock.

    Refuses, with a `HistoryError`, a database that had a migration which is not in the list.
    """
    known = [migration.__name__ for migration in migrations]
    names = applied(db)
    if newer := [name for name in names if name not in known]:
        raise HistoryError(
            f"the history was written by a newer kata ({newer[-1]}): `pip install --upgrade kata-grader` reads it"
        )
    for migration in migrations:
        if migration.__name__ not in names:
            with transaction(db):
                _apply(db, migration, at)


def applied(db: sqlite3.Connection) -> list[str]:
    """Names of the migrations that this database has had, in order; none for an empty one."""
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'migrations'").fetchone():
        return []
    return [name for (name,) in db.execute("SELECT name FROM migrations ORDER BY id")]


def _apply(db: sqlite3.Connection, migration: Migration, at: float) -> None:
    db.execute("CREATE TABLE IF NOT EXISTS migrations (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, at REAL)")
    if migration.__name__ not in applied(db):
        migration(db)
        db.execute("INSERT INTO migrations (name, at) VALUES (?, ?)", (migration.__name__, at))
