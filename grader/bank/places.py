"""Where banks and templates lie: the checkout or the wheel, the environment, installed packages. Opens no kata."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from grader.errors import BadKata

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

PACKAGE = Path(__file__).resolve().parents[1]
GROUP = "kata.banks"
VARIABLE = "KATA_BANK"


def builtin_bank(package: Path = PACKAGE) -> Path:
    """The bank that ships with `package`: the folder beside it in a checkout, `_bank` inside it in a wheel."""
    beside, inside = package.parent, package / "_bank"
    return beside if any(beside.glob("katas/*/kata.toml")) or not inside.is_dir() else inside


def templates_folder(package: Path = PACKAGE) -> Path:
    """The Jinja2 templates: `templates/` beside `package` in a checkout, `_templates` inside it in a wheel."""
    beside, inside = package.parent / "templates", package / "_templates"
    return beside if (beside / "kata").is_dir() or not inside.is_dir() else inside


def named_banks(extra: Sequence[Path]) -> list[Path]:
    """The banks of the KATA_BANK variable, then `extra`. Raises BadKata where one, asked for by name, is no bank."""
    listed = [Path(entry) for entry in os.environ.get(VARIABLE, "").split(os.pathsep) if entry]
    return [_as_bank(path, VARIABLE) for path in listed] + [_as_bank(path, "--bank") for path in extra]


def installed_banks() -> tuple[list[Path], list[tuple[Path, BadKata]]]:
    """The banks that installed packages bring, and what is wrong with the others, each under its entry point's name."""
    banks: list[Path] = []
    broken: list[tuple[Path, BadKata]] = []
    for entry in _entry_points():
        try:
            banks.append(_load(entry))
        except BadKata as error:
            broken.append((Path(entry.name), error))
    return banks, broken


def _as_bank(path: Path, source: str) -> Path:
    bank = path.expanduser().resolve()
    if not (bank / "katas").is_dir():
        raise BadKata(f"{source} names {path}, which holds no katas/; name the folder above katas/ and solutions/")
    return bank


def _entry_points() -> "list[EntryPoint]":
    # importlib.metadata takes 10-15 ms to import, a tenth of a `kata list`; hardly anyone has a bank installed.
    listings = (file for folder in sys.path for file in Path(folder).glob("*.*-info/entry_points.txt"))
    if not any(GROUP.encode() in file.read_bytes() for file in listings):
        return []
    from importlib.metadata import entry_points

    return sorted(entry_points(group=GROUP), key=lambda entry: entry.name)


def _load(entry: "EntryPoint") -> Path:
    """The bank that `entry` names: a path, or a function that returns one."""
    source = f"the entry point {entry.name} = {entry.value} of {GROUP}"
    try:
        value = entry.load()
        found = Path(value() if callable(value) else value)
    except Exception as error:  # another's code: whatever it raises costs its own bank, not the catalogue
        raise BadKata(f"{source} fails: {error!r}; it has to be a path or a function that returns one") from error
    return _as_bank(found, source)
