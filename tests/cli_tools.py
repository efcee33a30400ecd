"""What the tests of the command line share: a bank of their own, ways to run `kata`, and attempts at its kata."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import msgspec

from grader.__main__ import run
from grader.grading import Grader
from grader.verdict import Verdict

ROOT = Path(__file__).resolve().parents[1]
BANK = ROOT / "tests" / "banks" / "cli"
SLUG = "pair-sums"
RIGHT = (BANK / "solutions" / SLUG / "reference.py").read_text()
WRONG = RIGHT.replace("for x in xs:", "for x in xs[:-1]:")
"""The bank's known mistake."""


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def verdict(self) -> Verdict:
        return msgspec.json.decode(self.out, type=Verdict)


@dataclass(frozen=True)
class Person:
    """Somebody at a prompt, with a folder and a history of their own."""

    where: Path
    home: Path
    grader: Grader | None = None
    """One that is warm, for commands in this process."""

    def kata(self, *arguments: str | Path, where: Path | None = None, bank: Path | None = BANK) -> Said:
        """A command in this process: the whole way from its arguments to its exit code, without a start of Python."""
        out, err = StringIO(), StringIO()
        banks = ["--bank", str(bank)] if bank else []
        with self.at(where or self.where), redirect_stdout(out), redirect_stderr(err), ExitStack() as stack:
            code = run([*map(str, arguments), *banks], stack, self.grader)
        return Said(code, out.getvalue(), err.getvalue())

    def process(self, *arguments: str | Path, **environment: str) -> Said:
        """The same as a process."""
        command = [sys.executable, "-m", "grader", *map(str, arguments), "--bank", str(BANK)]
        done = subprocess.run(
            command, cwd=self.where, env=self.environment(**environment), capture_output=True, text=True, timeout=60
        )
        return Said(done.returncode, done.stdout, done.stderr)

    def environment(self, **more: str) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if name not in ("KATA_BANK", "NO_COLOR", "TERM")}
        return {**inherited, "KATA_HOME": str(self.home), "COLUMNS": "80", "PYTHONPATH": str(ROOT), **more}

    def write(self, source: str) -> Path:
        """An attempt at the bank's kata, where `kata start` puts it."""
        path = self.where / SLUG / "pair_sums.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(source)
        return path

    @contextmanager
    def at(self, folder: Path) -> Iterator[None]:
        before, variables = Path.cwd(), os.environ.copy()
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(self.environment())
        try:
            yield
        finally:
            os.chdir(before)
            os.environ.clear()
            os.environ.update(variables)


def new_person(folder: Path, grader: Grader | None = None) -> Person:
    """At an empty folder `work` below `folder`, their history at `home`."""
    (folder / "work").mkdir()
    return Person(folder / "work", folder / "home", grader)
