"""The corpus of hostile attempts: each file says in its docstring what it tries, and in comments how that must end.

    # expect: double=crashed loss=passed    part=state, or state|state, for all checks of that part
    # process: same                         tried at isolation level `process` too; or double=failed, how it ends there
    # kata: toy-torch                       toy where nothing is said
    # within: 4                             seconds for the whole grading; 10 where nothing is said
    # limit: 0.4                            CPU seconds for a call; the wall limit is five times that
    # with: frames                          files of tools/ that are put before it
    # checks: all                           where one check of each part is not enough

What is expected of no part must not have passed.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from grader.bank import Kata, load_kata
from grader.grading import Options
from grader.verdict import Verdict
from grader.workspace import Attempt

TESTS = Path(__file__).parent
BANK = TESTS / "banks" / "attack"
CORPUS = TESTS / "attacks"
ONE_OF_EACH_PART = {
    "toy": (
        "test_double_adds_x_to_itself",
        "test_loss_equals_by_the_plain_sign",
        "test_find_asks_seven_times",
    )
}


@dataclass(frozen=True, slots=True)
class Hostile:
    """One file of the corpus."""

    path: Path
    attempt: Attempt
    kata: Kata
    expected: dict[str, tuple[str, ...]]
    """States by part."""
    elsewhere: dict[str, tuple[str, ...]] | None
    """The same at level `process`; None where it is not tried there."""
    within: float
    limit: float | None
    checks: tuple[str, ...] | None
    """Those that are graded; None for all."""

    @property
    def options(self) -> Options:
        return Options(cpu_seconds=self.limit, exactly=self.checks)


def corpus(folder: str) -> list[Path]:
    return sorted((CORPUS / folder).glob("*.py"))


def kata(slug: str) -> Kata:
    return load_kata(BANK / "katas" / slug)


def attempt(source: str, path: Path = Path("attempt.py")) -> Attempt:
    data = source.encode("utf-8", "surrogateescape")
    return Attempt(path, data, hashlib.sha256(data).hexdigest())


def read(path: Path) -> Hostile:
    text = path.read_text()
    said = dict(re.findall(r"^# (expect|process|kata|within|limit|with|checks): (.*)$", text, re.MULTILINE))
    tools = [(CORPUS / "tools" / f"{name}.py").read_text() for name in said.get("with", "").split()]
    expected = _states(said.get("expect", ""))
    elsewhere = expected | _states(said["process"].removeprefix("same")) if "process" in said else None
    return Hostile(
        path,
        attempt("\n\n".join([*tools, text]), path),
        kata(said.get("kata", "toy")),
        expected,
        elsewhere,
        float(said.get("within", 10)),
        float(said["limit"]) if "limit" in said else None,
        None if said.get("checks") == "all" else ONE_OF_EACH_PART.get(said.get("kata", "toy")),
    )


def surprises(verdict: Verdict, expected: dict[str, tuple[str, ...]]) -> list[str]:
    """What did not end as expected, of what was graded."""
    return [
        f"{check.id} is {check.state}, wanted {'|'.join(wanted) or 'anything but passed'}: {check.message[:300]}"
        for check in verdict.checks
        for wanted in [expected.get(check.part, ())]
        if check.state != "not_selected" and (check.state not in wanted if wanted else check.state == "passed")
    ]


def _states(text: str) -> dict[str, tuple[str, ...]]:
    return {part: tuple(states.split("|")) for part, _, states in (word.partition("=") for word in text.split())}
