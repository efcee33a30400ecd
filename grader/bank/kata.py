"""The kata: one exercise of a bank and where its files lie. Knows paths, not whether they exist, nor what they hold."""

import keyword
import re
from dataclasses import dataclass
from pathlib import Path

from grader.errors import UsageError

SLUG_RULE = "lower-case letters, digits and hyphens, a letter first, and no Python keyword"


def is_slug(text: str) -> bool:
    """Whether `text` may name a kata: `two-sums` may, `Two_sums` and `class` may not."""
    return re.fullmatch("[a-z][a-z0-9-]*", text) is not None and not keyword.iskeyword(text)


@dataclass(frozen=True, slots=True)
class Part:
    """A graded piece of a kata. Its points are not here: they are the sum of its checks'."""

    id: str
    title: str
    priority: str = ""
    """`P0`, `P1` or `P2`; empty where the kata's own holds."""
    minutes: int = 0
    """0 where the author gives no time for the part alone."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a worker may use for one call."""

    cpu_seconds: float = 5.0
    memory_mb: int = 1024
    processes: bool = False
    """Whether it may start processes of its own."""
    network: str = "none"
    """`none` or `loopback`."""


@dataclass(frozen=True, slots=True)
class Forbidden:
    """A name that an attempt may not use."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Reference:
    """Something to read about the kata's subject; our solution is `Kata.reference`."""

    title: str
    url: str


@dataclass(frozen=True, slots=True)
class Kata:
    """One exercise, as its kata.toml says it."""

    slug: str
    bank: Path
    """The folder that holds katas/ and solutions/; absolute."""
    title: str
    problem: int | None
    """Number in the original list of problems; None for a kata of one's own."""
    summary: str
    track: str
    priority: str
    minutes: int
    difficulty: int
    """1 to 5."""
    prerequisites: tuple[str, ...]
    """Slugs; not checked against the catalogue."""
    given: tuple[str, ...]
    """Modules of katas/_given/ that the learner gets as they are."""
    preload: str
    """What a worker has imported: `numpy`, `torch` or `transformers`."""
    requires: tuple[str, ...]
    """Extras of this package, such as `hf`."""
    budget_seconds: float
    """A full grade of the reference stays inside this."""
    parts: tuple[Part, ...]
    limits: Limits
    forbidden: tuple[Forbidden, ...]
    references: tuple[Reference, ...]

    @property
    def folder(self) -> Path:
        return self.bank / "katas" / self.slug

    @property
    def solutions(self) -> Path:
        return self.bank / "solutions" / self.slug

    @property
    def module_name(self) -> str:
        return self.slug.replace("-", "_")

    @property
    def attempt_name(self) -> str:
        """File name of an attempt: `two_sums.py` for `two-sums`."""
        return f"{self.module_name}.py"

    @property
    def prompt(self) -> Path:
        return self.folder / "prompt.md"

    @property
    def stub(self) -> Path:
        return self.folder / "stub.py"

    @property
    def hints(self) -> Path:
        return self.folder / "hints.md"

    @property
    def checks(self) -> Path:
        return self.folder / "checks.py"

    @property
    def probes(self) -> Path:
        """Optional: a kata without probes has no such file."""
        return self.folder / "probes.py"

    @property
    def benches(self) -> Path:
        """Optional: what `kata bench` times."""
        return self.folder / "benches.py"

    @property
    def reference(self) -> Path:
        return self.solutions / "reference.py"

    @property
    def mistakes(self) -> tuple[Path, ...]:
        """`mistakes.py`, and what was too much for it."""
        return (self.solutions / "mistakes.py", *sorted(self.solutions.glob("mistakes_*.py")))

    @property
    def debrief(self) -> Path:
        return self.solutions / "debrief.md"

    @property
    def questions(self) -> Path:
        """Optional."""
        return self.solutions / "questions.toml"

    def given_paths(self) -> tuple[Path, ...]:
        return tuple(self.bank / "katas" / "_given" / f"{name}.py" for name in self.given)

    def alternatives(self) -> tuple[Path, ...]:
        """The other correct solutions on disk, by file name."""
        return tuple(sorted((self.solutions / "alternatives").glob("*.py")))

    def part(self, id: str) -> Part:
        """Raises UsageError, naming the parts there are."""
        for part in self.parts:
            if part.id == id:
                return part
        raise UsageError(f"{self.slug} has no part {id!r}: its parts are {', '.join(part.id for part in self.parts)}")


def is_of(kata: Kata, track: str | None, priority: str | None) -> bool:
    """Whether it is of that track and of that priority, where such is asked for; upper or lower case is the same."""
    asked = ((track, kata.track), (priority, kata.priority))
    return all(wanted is None or wanted.casefold() == found.casefold() for wanted, found in asked)
