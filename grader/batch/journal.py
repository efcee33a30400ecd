"""What a batch has graded so far, a line a file, so that one that was interrupted goes on where it was."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from grader.bank import Catalogue
from grader.batch.grades import Grade, Outcome, Submission, digest
from grader.errors import BadAttempt, WorkspaceError
from grader.workspace import read_attempt

NAME = ".kata-grades.jsonl"


class Journal:
    """Rows on disk. The newest row of a file is the one that counts; a line that was cut off counts for nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def clear(self) -> None:
        """Begin anew. Raises WorkspaceError where the folder cannot be written."""
        try:
            self.path.write_bytes(b"")
        except OSError as error:
            raise WorkspaceError(
                f"{self.path} cannot be written ({error.strerror}): grades are kept there while a batch runs; "
                "make its folder writable, then run again"
            ) from error

    def add(self, grade: Grade) -> None:
        """Written out at once: whatever ends the batch, this row is kept."""
        with self.path.open("ab") as file:
            file.write(b"\n" + msgspec.json.encode(grade))

    def rows(self, files: Iterable[Submission]) -> Iterator[Grade]:
        """The row of each of these files, in their order; files that have none are left out."""
        places = self._places()
        if not places:
            return
        with self.path.open("rb") as journal:
            for file in files:
                if file.name in places:
                    journal.seek(places[file.name])
                    yield msgspec.json.decode(journal.readline(), type=Grade)

    def left(self, files: Iterable[Submission], catalogue: Catalogue) -> list[Submission]:
        """Those whose row is missing, was our fault, or is of another content or an older kata."""
        files = list(files)
        katas = {kata.slug: kata for kata in catalogue.katas}
        done = {
            row.file: row.sha256
            for row in self.rows(files)
            if row.outcome is Outcome.GRADED and row.kata in katas and digest(katas[row.kata]) == row.kata_sha256
        }
        return [file for file in files if file.name not in done or done[file.name] != _sha256(file.path)]

    def _places(self) -> dict[str, int]:
        """Where in the journal the newest whole row of each file begins; rows themselves are not held in memory."""
        places: dict[str, int] = {}
        if not self.path.exists():
            return places
        with self.path.open("rb") as journal:
            start = 0
            for line in journal:
                with suppress(msgspec.DecodeError, msgspec.ValidationError):
                    if line.strip():
                        places[msgspec.json.decode(line, type=Grade).file] = start
                start += len(line)
        return places


def _sha256(path: Path) -> str | None:
    try:
        return read_attempt(path).sha256
    except BadAttempt:
        return None
