"""Katas to lint: one that is good, and for each rule some that break it, made of the good one by a case.toml."""

import shutil
import tomllib
from pathlib import Path
from typing import Any

from grader.bank import Catalogue
from grader.lint import Effort

HOME = Path(__file__).parent / "banks" / "lint"
GOOD, SLUG = HOME / "good", "level"
LEAST = Effort(fast=2, slow=2, alternative=1, slow_alternative=1, mistake=1, patience=0)
"""Enough where right and wrong do not hang on the seed."""


def cases(kind: str) -> list[Path]:
    return sorted((HOME / "katas" / kind).iterdir())


def wanted(case: Path) -> dict[str, Any]:
    """The `rule` that the case breaks, what the finding `says`, more `effort`, and the way from the good kata to it."""
    return tomllib.loads((case / "case.toml").read_text(encoding="utf-8"))


def broken_bank(case: Path, bank: Path) -> Catalogue:
    """A bank whose only kata is the good one, broken as the case says."""
    told = wanted(case)
    shutil.copytree(GOOD, bank, dirs_exist_ok=True)
    for edit in told.get("edit", ()):
        _edit(bank / edit["file"], edit["old"], edit["new"])
    for name in told.get("remove", ()):
        (bank / name).unlink()
    shutil.copytree(case, bank, dirs_exist_ok=True, ignore=shutil.ignore_patterns("case.toml"))
    for folder in (bank / "katas" / SLUG, bank / "solutions" / SLUG):
        folder.rename(folder.with_name(told.get("slug", SLUG)))
    return Catalogue.of([bank])


def _edit(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text, f"{old!r} is not in {file.name}"
    file.write_text(text.replace(old, new), encoding="utf-8")
