"""Driving an interview: files looked at, versions graded, what counts kept. It shows nothing."""

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from grader import workspace
from grader.bank import Kata
from grader.errors import BadAttempt, WorkspaceError
from grader.grading import Grader, Options
from grader.history import History
from grader.mock.events import Graded, Saved
from grader.mock.interview import Interview
from grader.mock.moment import Moment, now
from grader.mock.state import Impossible, Version
from grader.panel import judges_here
from grader.verdict import Verdict
from grader.workspace import Attempt, read_attempt


@dataclass(frozen=True, slots=True)
class Desk:
    """The files of one interview and what is known of them."""

    interview: Interview
    history: History
    katas: Mapping[str, Kata]

    def path(self, slug: str) -> Path:
        return Path(self.interview.state.folder) / slug / self.katas[slug].attempt_name

    def lay_out(self) -> None:
        """Stub, prompt and given files of every kata; what is there stays. Raises WorkspaceError."""
        folder = Path(self.interview.state.folder)
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise WorkspaceError(
                f"{folder} cannot be made ({error.strerror}): begin in a folder that you can write"
            ) from error
        for kata in self.katas.values():
            workspace.start(kata, folder)

    def look(self, slug: str) -> Saved | None:
        """Take in the file of that kata, if it holds something new; what was written down, or None.

        The save counts as of the moment at which the file was written, as far as the file system tells.
        """
        try:
            attempt = read_attempt(self.path(slug))
            written = self.path(slug).stat().st_mtime
        except (BadAttempt, OSError):
            return None
        last = self.interview.state.counting.get(slug)
        unchanged = attempt.sha256 == last.sha256 if last else attempt.data == self.katas[slug].stub.read_bytes()
        if unchanged:
            return None
        self.history.keep_attempt(slug, attempt.data, reason="mock")
        event = Saved(slug, attempt.sha256, _moment_of(written))
        with contextlib.suppress(Impossible):
            self.interview.do(event)
            return event
        return None

    def look_at_all(self) -> list[Saved]:
        """What was saved while nobody looked."""
        return [saved for slug in self.katas if (saved := self.look(slug)) is not None]

    def attempt(self, version: Version) -> Attempt:
        """A version as it was saved."""
        return Attempt(self.path(version.kata), self.history.attempt_bytes(version.sha256), version.sha256)

    def grade(self, grader: Grader, slug: str, attempt: Attempt) -> Verdict:
        """The verdict on a version. Touches no history, so that a thread may call it. Raises HarnessFault."""
        return grader.grade(self.katas[slug], attempt, Options(judges=judges_here())).verdict

    def note(self, verdict: Verdict) -> None:
        """Write down what a version is worth, for the interview and for practice."""
        data = self.history.attempt_bytes(verdict.attempt.sha256)
        self.history.record_run(verdict, data, selected=False, context="mock")
        parts = {part.id: (part.score, part.max) for part in verdict.parts}
        mistakes = tuple(dict.fromkeys(check.mistake.id for check in verdict.checks if check.mistake))
        sha256 = verdict.attempt.sha256
        self.interview.do(Graded(verdict.kata, sha256, verdict.score, verdict.max_score, parts, mistakes))

    def settle(self, grader: Grader) -> None:
        """Grade every version that counts and is not graded yet. Raises HarnessFault."""
        for version in self.interview.state.ungraded:
            self.note(self.grade(grader, version.kata, self.attempt(version)))

    def complete(self) -> list[tuple[Kata, Attempt]]:
        """The versions that count and have every point."""
        state = self.interview.state
        graded = [(version, state.grades.get(version.sha256)) for version in state.counting.values()]
        return [
            (self.katas[version.kata], self.attempt(version))
            for version, grade in graded
            if grade is not None and grade.score == grade.max_score
        ]


def fresh_folder(where: Path) -> Path:
    """A name that is not taken: mock-1, mock-2 and so on."""
    number = 1
    while os.path.lexists(where / f"mock-{number}"):
        number += 1
    return where / f"mock-{number}"


def _moment_of(written: float) -> Moment:
    """When a file was written, on the clocks of now: the wall clock is all that a file system knows."""
    at = now()
    ago = max(0.0, at.wall - written)
    return Moment(at.wall - ago, at.boot, at.ticks - ago)
