"""The files of a folder of people, and the grade of each.

A file that cannot be graded has a row like every other, which says why: one person's file never ends the batch.
"""

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from itertools import islice
from pathlib import Path

import msgspec

from grader.bank import Catalogue, Kata
from grader.errors import HarnessFault, KataError, UnknownKata, UsageError
from grader.grading import Grader, Options
from grader.verdict import Verdict
from grader.workspace import read_attempt

AHEAD = 4
"""Files handed out at once, for each job: enough that none waits, and few enough to keep memory flat."""


class Outcome(StrEnum):
    """What became of a file."""

    GRADED = "graded"
    NO_SUCH_KATA = "no_such_kata"
    NOT_GRADED = "not_graded"
    """It cannot be read, or this machine cannot grade it."""
    FAULT = "fault"
    """Ours, not the person's."""


@dataclass(frozen=True, slots=True)
class Submission:
    """One file of one person."""

    person: str
    path: Path
    name: str
    """Relative to the folder of the batch."""


class Grade(msgspec.Struct, frozen=True, kw_only=True):
    """One row."""

    file: str
    person: str
    kata: str
    outcome: Outcome
    sha256: str = ""
    """Of the file."""
    kata_sha256: str = ""
    """Of all that decides what it is worth."""
    score: int = 0
    max_score: int = 0
    passed: bool = False
    message: str = ""
    """Why there is no verdict."""
    verdict: Verdict | None = None


def submissions(folder: Path) -> list[Submission]:
    """The Python files of each person's folder, and of folders in it that `kata start` would make; sorted.

    Raises UsageError where there is none.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder: `kata grade DIR` takes one that holds a folder for each person")
    found = []
    for person in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        own = [path for path in person.iterdir() if path.suffix == ".py"]
        started = [path for path in person.glob("*/*.py") if path.stem == path.parent.name.replace("-", "_")]
        found += [
            Submission(person.name, path, path.relative_to(folder).as_posix()) for path in sorted([*own, *started])
        ]
    if not found:
        raise UsageError(f"{folder} holds no attempts: put DIR/PERSON/dpo.py there, one folder for each person")
    return found


def grade_all(
    catalogue: Catalogue, grader: Grader, files: Iterable[Submission], options: Options, jobs: int
) -> Iterator[Grade]:
    """A row for each file, as each is done. Raises nothing for what is in a file."""
    names = {kata.module_name: kata for kata in catalogue.katas}
    waiting = iter(files)
    running: set[Future[Grade]] = set()
    pool = ThreadPoolExecutor(jobs)
    try:
        while True:
            for file in islice(waiting, jobs * AHEAD - len(running)):
                running.add(pool.submit(_grade, names, catalogue, grader, file, options))
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _grade(names: dict[str, Kata], catalogue: Catalogue, grader: Grader, file: Submission, options: Options) -> Grade:
    row = Grade(file=file.name, person=file.person, kata=file.path.stem.replace("_", "-"), outcome=Outcome.FAULT)
    try:
        kata = names.get(file.path.stem) or catalogue.get(row.kata)
        attempt = read_attempt(file.path)
        verdict = grader.grade(kata, attempt, options).verdict
    except UnknownKata as error:
        return msgspec.structs.replace(row, outcome=Outcome.NO_SUCH_KATA, message=str(error))
    except HarnessFault as error:
        return msgspec.structs.replace(row, message=str(error))
    except KataError as error:
        return msgspec.structs.replace(row, outcome=Outcome.NOT_GRADED, message=str(error))
    return msgspec.structs.replace(
        row,
        kata=kata.slug,
        outcome=Outcome.GRADED,
        sha256=attempt.sha256,
        kata_sha256=digest(kata),
        score=verdict.score,
        max_score=verdict.max_score,
        passed=verdict.passed,
        verdict=verdict,
    )


@cache
def digest(kata: Kata) -> str:
    """Changes with whatever decides a grade of that kata: its checks, probes, given code and reference."""
    whole = hashlib.sha256()
    for path in (kata.folder / "kata.toml", kata.checks, kata.probes, *kata.given_paths(), kata.reference):
        whole.update(path.read_bytes() if path.exists() else b"")
        whole.update(b"\0")
    return whole.hexdigest()
