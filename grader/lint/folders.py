"""The two folders of a kata: what must be there, what may be, what is not done yet."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from grader.bank import Kata
from grader.bank.files import read_text
from grader.errors import BadKata

KATA_FILES = ("kata.toml", "prompt.md", "stub.py", "hints.md", "checks.py")
KATA_EXTRAS = ("probes.py", "benches.py")
SOLUTION_FILES = ("reference.py", "mistakes.py", "debrief.md")
SOLUTION_EXTRAS = ("questions.toml",)
LEAST_ALTERNATIVES = 2
MARK = re.compile(r"\bTODO\b")


def missing(kata: Kata) -> Iterator[str]:
    """What the kata cannot do without."""
    wanted = [kata.folder / name for name in KATA_FILES] + [kata.solutions / name for name in SOLUTION_FILES]
    for path in (*wanted, *kata.given_paths()):
        if not path.is_file():
            yield f"{told(kata, path)} is missing: write it (docs/authoring.md says what it holds)"


def few_alternatives(kata: Kata) -> Iterator[str]:
    count = len(kata.alternatives())
    if count < LEAST_ALTERNATIVES:
        yield (
            f"solutions/{kata.slug}/alternatives holds {count} of at least {LEAST_ALTERNATIVES} other correct "
            "solutions: write them, each in a style of its own"
        )


def unexpected(kata: Kata) -> Iterator[str]:
    """What lies there and belongs nowhere."""
    known = {kata.folder / name for name in (*KATA_FILES, *KATA_EXTRAS)}
    known |= {kata.solutions / name for name in (*SOLUTION_FILES, *SOLUTION_EXTRAS)}
    known |= {*kata.alternatives(), *kata.mistakes}
    for path in files(kata):
        if path not in known:
            yield f"{told(kata, path)} is no file of a kata: remove it, or move it where it belongs"


def unreadable(kata: Kata) -> Iterator[str]:
    """Files that are no UTF-8 text, and modules that do not parse."""
    for path in files(kata):
        try:
            text = read_text(path)
            if path.suffix == ".py":
                ast.parse(text)
        except BadKata as error:
            yield str(error)
        except (SyntaxError, ValueError) as error:
            yield f"{told(kata, path)}, line {getattr(error, 'lineno', 0)}: {error}: mend it"


def unfinished(kata: Kata) -> Iterator[str]:
    for path in files(kata):
        lines = [n for n, line in enumerate(path.read_text("utf-8", "replace").split("\n"), 1) if MARK.search(line)]
        if lines:
            yield f"{told(kata, path)} still has a TODO in line {lines[0]}: do it, and take the mark away"


def files(kata: Kata) -> list[Path]:
    """Every file of the two folders that Python has not made by itself."""
    found = (path for folder in (kata.folder, kata.solutions) for path in folder.rglob("*"))
    return sorted(path for path in found if not path.is_dir() and "__pycache__" not in path.parts)


def told(kata: Kata, path: Path) -> str:
    """The path as an author names it, from the bank's folder on."""
    return str(path.relative_to(kata.bank))
