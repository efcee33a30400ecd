"""The toy bank: its katas, and attempts that say themselves how their checks must end.

An attempt of `attempts/<slug>/` is appended to the kata's reference, unless its first line is `# whole`. Its comments
name each check that does not pass, with the state and, one a line, what a field of the result must hold. `# only`
grades those checks alone, `# limit 0.5 s` under a shorter deadline.
"""

import functools
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from grader.bank import Kata, load_kata
from grader.verdict import CheckResult
from grader.workspace import Attempt

BANK = Path(__file__).parent / "banks" / "toy"


@dataclass(frozen=True, slots=True)
class Wanted:
    """How one check must end."""

    state: str
    fields: tuple[tuple[str, str], ...] = ()
    """(field of the result, text that it holds)"""


@dataclass(slots=True)
class ToyAttempt:
    """A file of `attempts/`."""

    kata: Kata
    attempt: Attempt
    only: bool
    """Whether just the named checks are graded."""
    cpu_seconds: float | None
    """A limit below the kata's."""
    wanted: dict[str, Wanted] = field(default_factory=dict)


def toy_kata(slug: str) -> Kata:
    return load_kata(BANK / "katas" / slug)


def toy_attempts() -> list[Path]:
    return sorted(BANK.glob("attempts/*/*.py"))


def made(source: str) -> Attempt:
    """An attempt without a file."""
    data = source.encode()
    return Attempt(Path("attempt.py"), data, hashlib.sha256(data).hexdigest())


def changed(kata: Kata, source: str) -> Attempt:
    """The reference, with other definitions after its own."""
    return made(reference_text(kata) + "\n\n" + source)


def read_toy(path: Path) -> ToyAttempt:
    text = path.read_text()
    kata = toy_kata(path.parent.name)
    attempt = made(text) if text.startswith("# whole") else changed(kata, text)
    limit = re.search(r"^# limit (\S+) s$", text, re.MULTILINE)
    return ToyAttempt(kata, attempt, "# only\n" in text, float(limit[1]) if limit else None, dict(_wanted(text)))


def differs(result: CheckResult, wanted: Wanted) -> str:
    """Empty when the check ended as wanted."""
    if result.state != wanted.state:
        return f"{result.id} is {result.state}, wanted {wanted.state}: {result.message}"
    for name, text in wanted.fields:
        if text not in str(getattr(result, name)):
            return f"{result.id}: {name} is {getattr(result, name)!r}, wanted {text!r}"
    return ""


def _wanted(text: str) -> Iterator[tuple[str, Wanted]]:
    blocks = re.findall(r"^# (test_\w+): (\w+)\n((?:#   \w+: .*\n)*)", text, re.MULTILINE)
    for check, state, fields in blocks:
        pairs = re.findall(r"^#   (\w+): (.*)$", fields, re.MULTILINE)
        yield check, Wanted(state, tuple(pairs))


@functools.cache
def reference_text(kata: Kata) -> str:
    return kata.reference.read_text()
