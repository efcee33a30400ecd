"""What a learner did, in one SQLite file: attempts, runs, checks, hints and the rest. Nothing in it is ever deleted.

A version is the content of an attempt at one moment, numbered per kata from 1: that of a run, or what a reset or a
restore set aside. Bytes are kept once per content. Nothing here touches the learner's files; every fault of the disk
or of the database is a `HistoryError`, after which the history holds all that it held before.
"""

import hashlib
import json
import os
import sqlite3
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple, Self

import msgspec
from platformdirs import user_data_path

from grader.errors import HistoryError
from grader.history.database import connect, damaged, explained, transaction
from grader.history.migrations import migrate
from grader.verdict import State, Verdict

BUSY_SECONDS = 5.0
"""How long a write waits for another process before it gives up."""

FAILING = (State.FAILED, State.ERROR, State.TIMEOUT, State.MEMORY, State.CRASHED)
"""States that count as a failure of the check; the others say nothing about it, except `passed`."""


class Event(StrEnum):
    """What else is worth remembering, beside runs."""

    STARTED = "started"
    HINT = "hint"
    SOLUTION = "solution"
    GAVE_UP = "gave_up"
    RESET = "reset"
    RESTORED = "restored"
    DEBRIEF = "debrief"
    BENCHED = "benched"


class Progress(StrEnum):
    """How far a learner is with a kata."""

    NEW = "new"
    STARTED = "started"
    PASSED = "passed"


class Standing(NamedTuple):
    """Progress, and the best score of a whole run; None before the first."""

    state: Progress
    best: int | None


@dataclass(frozen=True, slots=True)
class Version:
    """One line of `kata history`; the last four are None for what was kept without a run."""

    n: int
    when: float
    """Unix seconds."""
    sha256: str
    reason: str
    """The context of a run (`practice`, `mock`), else why it was kept (`reset`, `restore`)."""
    score: int | None
    max_score: int | None
    passed: bool | None
    selected: bool | None
    """Only some checks ran (`-k`)."""


def default_path() -> Path:
    """`$KATA_HOME/history.db`, else in the platform's folder for a user's data."""
    home = os.environ.get("KATA_HOME")
    return (Path(home).expanduser() if home else user_data_path("kata", appauthor=False)) / "history.db"


class History:
    """One open history. Times come from `now`; order is that of writing, so a clock set back confuses nothing."""

    def __init__(self, db: sqlite3.Connection, path: Path, now: Callable[[], float]) -> None:
        self._db, self._path, self._now = db, path, now

    @classmethod
    @contextmanager
    def open(cls, path: Path, *, now: Callable[[], float], busy_seconds: float = BUSY_SECONDS) -> Iterator[Self]:
        """The history at `path`, made or migrated where needed, and closed afterwards."""
        with explained(path):
            db = connect(path, busy_seconds)
        with closing(db):
            with explained(path):
                migrate(db, now())
            yield cls(db, path, now)

    # What is written

    def record_started(self, slug: str, path: Path) -> None:
        """The attempt at `path` is now the one of this kata, and the last started of all."""
        self.record_event(slug, Event.STARTED, {"path": str(path.absolute())})

    def record_hint(self, slug: str, part: str, level: int) -> None:
        self.record_event(slug, Event.HINT, {"part": part, "level": level})

    def record_event(self, slug: str, kind: Event, data: Mapping[str, object] | None = None) -> None:
        row = (slug, *self.moment(), kind.value, json.dumps(dict(data or {})))
        with self.writing():
            self._db.execute("INSERT INTO events (kata, at, utc, kind, data) VALUES (?, ?, ?, ?, ?)", row)

    def keep_attempt(self, slug: str, data: bytes, *, reason: str = "kept") -> str:
        """Makes `data` a version of the kata, unless the newest one already is the same; returns its sha256."""
        with self.writing():
            newest = self._db.execute("SELECT sha256 FROM versions WHERE kata = ? ORDER BY id DESC", (slug,)).fetchone()
            sha = _sha256(data)
            if newest != (sha,):
                self._add_version(slug, data, reason)
        return sha

    def record_run(self, verdict: Verdict, data: bytes, *, selected: bool, context: str = "practice") -> int:
        """Keeps a whole run with the bytes it graded; returns its number among the kata's versions."""
        if verdict.attempt.sha256 != _sha256(data):
            raise HistoryError(f"the run of {verdict.kata} was not kept: its bytes are not those that were graded")
        packed = zlib.compress(
            json.dumps(msgspec.to_builtins(verdict)).encode()
        )  # unlike msgspec's, bears any file name
        with self.writing():
            run, n = self._add_version(verdict.kata, data, context)
            self._db.execute(
                "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (run, *_run_columns(verdict, selected), packed),
            )
            self._db.executemany("INSERT INTO checks VALUES (?, ?, ?, ?, ?, ?, ?)", _check_rows(run, verdict))
        return n

    def record_answer(self, question: str, answer: str, rating: int, *, context: str = "quiz") -> None:
        """An answer to the question of that id, and how the learner rated it: 1 weak, 2 good, 3 strong."""
        with self.writing():
            self._db.execute(
                "INSERT INTO answers (question, at, utc, answer, rating, context) VALUES (?, ?, ?, ?, ?, ?)",
                (question, *self.moment(), answer, rating, context),
            )

    # What is read

    def ratings(self) -> dict[str, int]:
        """How every question was rated last, by its id; one that is missing here was never rated."""
        rows = self.read("SELECT question, rating FROM answers ORDER BY id")
        return dict(rows)

    def last_started(self) -> tuple[str, Path] | None:
        """The kata that was started last, and where."""
        rows = self.read("SELECT kata, data FROM events WHERE kind = 'started' ORDER BY id DESC LIMIT 1")
        return (rows[0][0], Path(json.loads(rows[0][1])["path"])) if rows else None

    def started_path(self, slug: str) -> Path | None:
        """Where this kata was started last."""
        started = self.events(slug, Event.STARTED)
        return Path(started[-1][1]["path"]) if started else None

    def time_started(self, slug: str) -> float | None:
        """When this kata was started first, in unix seconds."""
        started = self.events(slug, Event.STARTED)
        return started[0][0] if started else None

    def hint_level(self, slug: str, part: str) -> int:
        """The highest level shown for this part; 0 for none."""
        hints = self.events(slug, Event.HINT)
        return max((data["level"] for _, data in hints if data["part"] == part), default=0)

    def events(self, slug: str, kind: Event) -> list[tuple[float, dict[str, Any]]]:
        """When each of that kind happened, and what it holds; oldest first."""
        rows = self.read("SELECT at, data FROM events WHERE kata = ? AND kind = ? ORDER BY id", slug, kind.value)
        return [(at, json.loads(data)) for at, data in rows]

    def last_event(self, slug: str, kind: Event) -> dict[str, Any] | None:
        """What the newest event of that kind holds; None where there was none."""
        events = self.events(slug, kind)
        return events[-1][1] if events else None

    def gave_up(self, slug: str) -> bool:
        return bool(self.events(slug, Event.GAVE_UP))

    def best(self, slug: str) -> int | None:
        """The highest score of a whole run."""
        return self.states().get(slug, Standing(Progress.NEW, None)).best

    def passed(self, slug: str) -> bool:
        """Whether any whole run passed."""
        return self.states().get(slug, Standing(Progress.NEW, None)).state is Progress.PASSED

    def states(self) -> dict[str, Standing]:
        """How every kata stands that this history knows; one that is missing here is new."""
        rows = self.read("""
            SELECT kata, max(passed AND NOT selected), max(CASE WHEN NOT selected THEN score END)
            FROM versions JOIN runs ON runs.id = versions.id GROUP BY kata""")
        started = self.read("SELECT DISTINCT kata FROM events WHERE kind = 'started'")
        standings = {kata: Standing(Progress.STARTED, None) for (kata,) in started}
        return standings | {
            kata: Standing(Progress.PASSED if passed else Progress.STARTED, best) for kata, passed, best in rows
        }

    def runs(self, slug: str) -> list[Version]:
        """Every version of a kata, newest first, those without a run too."""
        rows = self.read(
            """
            SELECT n, at, sha256, reason, score, max_score, passed, selected
            FROM versions LEFT JOIN runs ON runs.id = versions.id WHERE kata = ? ORDER BY versions.id DESC""",
            slug,
        )
        return [Version(*row[:6], *(None if flag is None else bool(flag) for flag in row[6:])) for row in rows]

    def attempt_bytes(self, sha: str) -> bytes:
        """The content of a version."""
        rows = self.read("SELECT data FROM attempts WHERE sha256 = ?", sha)
        if not rows:
            raise HistoryError(
                f"the history {self._path} holds no attempt {sha}: `kata history NAME` lists what it holds"
            )
        data = self._unpack(rows[0][0])
        if _sha256(data) != sha:
            raise HistoryError(damaged(self._path, f"attempt {sha} has other content"))
        return data

    def last_verdict(self, slug: str) -> Verdict | None:
        """The verdict of the newest run, whole or not."""
        rows = self.read(
            "SELECT verdict FROM runs JOIN versions USING (id) WHERE kata = ? ORDER BY id DESC LIMIT 1", slug
        )
        if not rows:
            return None
        try:
            return msgspec.convert(json.loads(self._unpack(rows[0][0])), Verdict)
        except (ValueError, msgspec.ValidationError) as error:
            message = f"the last verdict of {slug} cannot be read ({error}): `kata check {slug}` makes a new one"
            raise HistoryError(message) from error

    def consecutive_failures(self, slug: str, check_id: str) -> int:
        """How often this check failed since it last passed; runs in which it was not judged are passed over."""
        rows = self.read(
            f"""
            WITH judged AS (
                SELECT run, state FROM checks JOIN versions ON versions.id = run WHERE kata = ? AND checks.id = ?)
            SELECT count(*) FROM judged WHERE state IN ({", ".join("?" * len(FAILING))})
            AND run > (SELECT coalesce(max(run), 0) FROM judged WHERE state = 'passed')""",
            slug,
            check_id,
            *FAILING,
        )
        return int(rows[0][0])

    # How

    # For this package's other modules

    def read(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        with explained(self._path):
            return self._db.execute(query, parameters).fetchall()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all that is written inside, or nothing."""
        with explained(self._path), transaction(self._db):
            yield self._db

    def moment(self) -> tuple[float, str]:
        at = self._now()
        return at, datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")

    def _add_version(self, slug: str, data: bytes, reason: str) -> tuple[int, int]:
        """Inside a transaction; returns the version's id and its number."""
        sha = _sha256(data)
        self._db.execute("INSERT OR IGNORE INTO attempts VALUES (?, ?)", (sha, zlib.compress(data)))
        (n,) = self._db.execute("SELECT coalesce(max(n), 0) + 1 FROM versions WHERE kata = ?", (slug,)).fetchone()
        cursor = self._db.execute(
            "INSERT INTO versions (kata, n, at, utc, sha256, reason) VALUES (?, ?, ?, ?, ?, ?)",
            (slug, n, *self.moment(), sha, reason),
        )
        return int(cursor.lastrowid or 0), n

    def _unpack(self, packed: bytes) -> bytes:
        try:
            return zlib.decompress(packed)
        except zlib.error as error:
            raise HistoryError(damaged(self._path, str(error))) from error


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _run_columns(verdict: Verdict, selected: bool) -> tuple[object, ...]:
    judged = (verdict.seed, verdict.device, verdict.isolation, verdict.score, verdict.max_score, verdict.passed)
    return (*judged, selected, verdict.seconds.total)


def _check_rows(run: int, verdict: Verdict) -> Iterator[tuple[object, ...]]:
    for check in verdict.checks:
        mistake = check.mistake.id if check.mistake else None
        yield run, check.id, check.part, check.state.value, check.points, check.seconds, mistake
