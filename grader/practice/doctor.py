"""Looking at this machine: what a check needs, whether it works, and what to do where it does not. Imports no torch."""

import platform
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # it brings no types

from grader import scaffold
from grader.bank import load_kata
from grader.errors import KataError
from grader.grading import Grader
from grader.panel import cores_here
from grader.practice.learner import Learner
from grader.verdict import Verdict
from grader.workspace import read_attempt

GPU = Path("/dev/nvidia0")
PROBE = "self-test"
"""Slug of the kata that is made from the scaffold, graded, and thrown away."""


class Health(StrEnum):
    GOOD = "good"
    NOTE = "note"
    """Works, with less than there could be."""
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    subject: str
    health: Health
    text: str


def examine(learner: Learner, history: Path, grader: Grader) -> Iterator[Finding]:
    """One finding after the other, the slow ones last; a fault becomes a finding."""
    yield Finding("python", Health.GOOD, f"{platform.python_version()} at {sys.executable}")
    yield _torch()
    yield Finding("cpu", Health.GOOD, f"{cores_here()} processors, {_free_gib():.1f} GiB of memory free")
    yield _unless_faulty("history", lambda: _history(learner, history))
    yield _unless_faulty("katas", lambda: _katas(learner))
    yield from (Finding("kata", Health.BAD, str(error)) for error in _broken(learner))
    yield _unless_faulty("isolation", lambda: _isolation(grader))


def _torch() -> Finding:
    try:
        found = version("torch")
    except PackageNotFoundError:
        return Finding(
            "torch", Health.NOTE, "not installed, so only katas in NumPy can be checked: `pip install torch`"
        )
    if "+cpu" in found:
        return Finding("torch", Health.GOOD, f"{found}, which is built for the CPU alone")
    gpu = "a GPU is here: `kata check --device cuda` uses it" if GPU.exists() else "no NVIDIA GPU is seen here"
    return Finding("torch", Health.GOOD, f"{found}; {gpu}")


def _free_gib() -> float:
    return float(psutil.virtual_memory().available) / 2**30


def _history(learner: Learner, path: Path) -> Finding:
    known = len(learner.history.states())
    return Finding("history", Health.GOOD, f"{path}, which knows {known} kata{'s'[: known != 1]}")


def _katas(learner: Learner) -> Finding:
    banks = Counter(kata.bank for kata in learner.catalogue.katas)
    text = "; ".join(f"{count} in {bank}" for bank, count in banks.items())
    return Finding("katas", Health.GOOD if banks else Health.BAD, text or "none: `--bank PATH` names a bank")


def _broken(learner: Learner) -> tuple[KataError, ...]:
    try:
        return tuple(learner.broken)
    except KataError:  # of the catalogue as a whole, which `katas` tells
        return ()


def _isolation(grader: Grader) -> Finding:
    """By really grading something: nothing less shows what this machine allows."""
    verdict = _probe(grader)
    if not verdict.passed:
        return Finding("isolation", Health.BAD, "the self-test did not pass; please report it")
    if verdict.isolation == "full":
        return Finding("isolation", Health.GOOD, "full")
    return Finding("isolation", Health.NOTE, f"{verdict.isolation}: missing {', '.join(verdict.isolation_missing)}")


def _probe(grader: Grader) -> Verdict:
    with tempfile.TemporaryDirectory(prefix="kata-doctor-") as folder:
        bank = Path(folder)
        scaffold.create(PROBE, bank)
        kata = load_kata(bank / "katas" / PROBE)
        return grader.grade(kata, read_attempt(kata.reference)).verdict


def _unless_faulty(subject: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except KataError as error:
        return Finding(subject, Health.BAD, str(error))
