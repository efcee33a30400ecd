"""What a check does first of all: it starts the process that imports torch, which takes longer than all the rest.

A guess from the arguments alone, with few imports. Where it finds nothing, the ordinary way starts that process later.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from grader.bank import Kata, load_kata
from grader.bank.places import VARIABLE, builtin_bank
from grader.cli.ticker import Ticker
from grader.errors import KataError
from grader.workspace import attempt_path

if TYPE_CHECKING:
    from grader.grading import Grader

GRADING = ("check", "replay", "bench", "watch")
TAKES_A_VALUE = ("--file", "-k", "--seed", "--device", "--require-isolation", "--isolation")


def hoisted(arguments: Sequence[str]) -> tuple[list[Path], list[str]]:
    """The banks that `--bank` names, wherever it stands, and the other arguments."""
    banks: list[Path] = []
    others: list[str] = []
    left = iter(arguments)
    for argument in left:
        name, equals, value = argument.partition("=")
        if name != "--bank":
            others.append(argument)
        elif found := value if equals else next(left, ""):
            banks.append(Path(found))
        else:
            others.append(argument)
    return banks, others


def warmed(
    arguments: Sequence[str], banks: Sequence[Path], where: Path, stack: ExitStack, ticker: Ticker
) -> "Grader | None":
    """A grader that is getting ready for the kata which these arguments mean, if they tell one; `stack` closes it.

    None where the command does not grade, or will find nothing to grade.
    """
    folder = _kata_folder(arguments, banks, where)
    if folder is None or not _forks(arguments):
        return None
    ticker.begin()
    # Only now, and only here: this import takes longer than all the rest of a command that grades nothing.
    from grader.grading import Grader

    kata = _kata_to_grade(folder, arguments, where)
    if kata is None:
        return None
    grader = stack.enter_context(Grader())
    grader.warm(kata.preload)
    return grader


def _forks(arguments: Sequence[str]) -> bool:
    return sys.platform == "linux" and "process" not in arguments and "--isolation=process" not in arguments


def _kata_to_grade(folder: Path, arguments: Sequence[str], where: Path) -> Kata | None:
    """None where the command itself will have to say what is wrong."""
    try:
        kata = load_kata(folder)
        if "--file" not in arguments:
            attempt_path(kata, where, None)
    except KataError:
        return None
    return kata


def _kata_folder(arguments: Sequence[str], banks: Sequence[Path], where: Path) -> Path | None:
    if not arguments or arguments[0] not in GRADING or "--help" in arguments:
        return None
    listed = [Path(entry) for entry in os.environ.get(VARIABLE, "").split(os.pathsep) if entry]
    slugs = list(_names(arguments[1:])) or [folder.name for folder in (where, *where.parents)]
    folders = (bank / "katas" / slug for slug in slugs for bank in (*banks, builtin_bank(), *listed))
    return next((folder for folder in folders if (folder / "kata.toml").is_file()), None)


def _names(arguments: Sequence[str]) -> Iterator[str]:
    """The arguments that belong to no option."""
    left = iter(arguments)
    for argument in left:
        if argument in TAKES_A_VALUE:
            next(left, None)
        elif not argument.startswith("-"):
            yield argument
