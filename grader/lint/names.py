"""The names of a kata and of what it asks for, against names that mean something else already."""

import sys
from collections.abc import Iterator, Mapping

from grader.bank import Catalogue, Kata
from grader.lint.interface import Element

MODULE_NAMES = ("run", "has", "restart", "confined", "path", "read_bytes", "ranks")
"""What `attempt.…` and `reference.…` mean in a check: a function of that name could not be called."""
HANDLE_NAMES = ("get", "type_name")
"""Likewise for the methods of an object that stays in its process."""
LIBRARIES = ("numpy", "torch", "transformers", "pytest", "grader", "checks", "probes", "benches", "reference", "stub")


def shadowing(kata: Kata) -> Iterator[str]:
    """A learner's `json.py` would hide Python's own from everything in its folder."""
    if kata.module_name in {*sys.stdlib_module_names, *LIBRARIES, *kata.given}:
        yield (
            f"the learner's file would be {kata.attempt_name}, and `import {kata.module_name}` means something else "
            "already: choose another slug for both folders"
        )


def reserved(elements: Mapping[str, Element]) -> Iterator[str]:
    for name in elements:
        owner, _, last = name.rpartition(".")
        if last in (HANDLE_NAMES if owner else MODULE_NAMES):
            what = "an object's handle" if owner else "`attempt`"
            yield f"stub.py: {name} has a name that {what} has in a check, so that none can call it: rename it"


def unknown_prerequisites(kata: Kata, catalogue: Catalogue) -> Iterator[str]:
    known = {other.slug for other in catalogue.katas}
    for slug in kata.prerequisites:
        if slug == kata.slug or slug not in known:
            yield f"kata.toml: the prerequisite {slug!r} is no other kata: correct it, or take it out"
