"""Programs that must fail every check of every kata: they do nothing, or nothing right, or leave."""

import importlib.resources
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from grader.lint.laboratory import SLEEPERS, Series
from grader.lint.report import Rule
from grader.lint.setting import Setting, Told, every_check, told
from grader.verdict import State

CPU_SECONDS = 0.5
SLEEP_SECONDS = 0.1
"""A sleeper costs five times that on the wall, and no computing."""

CALLED = {
    "none": "a solution that returns None",
    "first": "a solution that returns its first argument",
    "zeros": "a solution that returns zeros in the right shape",
    "nan": "a solution that returns NaN in the right shape",
    "random": "a solution that returns random values in the right shape",
    "exit": "a solution that calls sys.exit(0)",
    "hard_exit": "a solution that calls os._exit(0)",
    "skip": "a solution that calls pytest.skip()",
    "sleep": "a solution that sleeps",
}
LEAVING = {
    "a file that calls sys.exit(0)": b"import sys\nsys.exit(0)\n",
    "a file that calls os._exit(0)": b"import os\nos._exit(0)\n",
    "a file that calls pytest.skip()": b'import pytest\npytest.skip("skipped", allow_module_level=True)\n',
}


@dataclass(frozen=True, slots=True)
class Impostor:
    name: str
    source: bytes
    sleeps: bool = False
    leaves: bool = False
    """It ends while it is loaded, before any check has begun: one check speaks for all."""


class Impostors:
    """Each against every check."""

    def __init__(self, setting: Setting, to_write: Sequence[str]) -> None:
        self.setting, self.unmasked = setting, 0
        chosen = impostors(setting.reference, to_write) if setting.effort.patience else ()
        self.tried = [(one, _begin(setting, one)) for one in chosen]

    def findings(self) -> Told:
        for impostor, series in self.tried:
            problems = [*_broken(impostor, series), *self._escaped(impostor, _passed(series))]
            self.unmasked += not problems
            yield from told(Rule.IMPOSTORS, problems)

    def _escaped(self, impostor: Impostor, passed: set[str]) -> Iterator[str]:
        """The checks that let it pass on as many seeds in a row as patience asks for: one may be luck."""
        for _ in range(self.setting.effort.patience - 1):
            if passed:
                passed &= _passed(_grade(self.setting, impostor, [tuple(sorted(passed))]))
        for check in sorted(passed):
            yield (
                f"{impostor.name} passes {check}: compare what comes back with a truth that is neither constant nor "
                "an argument"
            )


def impostors(reference: bytes, names: Sequence[str]) -> list[Impostor]:
    """Those made of the reference by replacing what is to be written, and those that are files of their own."""
    kinds = CALLED.items() if names else ()
    made = [Impostor(called, disguised(reference, names, kind), kind == "sleep") for kind, called in kinds]
    leaving = [Impostor(name, source, leaves=True) for name, source in LEAVING.items()]
    return [*made, Impostor("an empty file", b""), *leaving]


def disguised(reference: bytes, names: Sequence[str], kind: str) -> bytes:
    """The reference with impostors of its functions behind it, their helpers in a namespace of their own."""
    text = importlib.resources.files("grader.lint").joinpath("disguise.py").read_text("utf-8")
    call = f"_kata['disguise'](globals(), {tuple(names)!r}, {kind!r})"
    return reference + f"\n_kata = {{'__name__': 'disguise'}}\nexec({text!r}, _kata)\n{call}\n".encode()


def _begin(setting: Setting, impostor: Impostor) -> Series:
    """Sleepers share out the checks, so that many can be waited for at once."""
    checks = setting.checks[:1] if impostor.leaves else setting.checks
    shares = min(SLEEPERS, len(checks)) if impostor.sleeps else 1
    return _grade(setting, impostor, [checks[first::shares] for first in range(shares)])


def _grade(setting: Setting, impostor: Impostor, groups: Sequence[tuple[str, ...]]) -> Series:
    seconds = SLEEP_SECONDS if impostor.sleeps else CPU_SECONDS
    options = [every_check(exactly=group, cpu_seconds=seconds) for group in groups]
    return setting.laboratory.grade(impostor.name, impostor.source, options, sleeps=impostor.sleeps)


def _passed(series: Series) -> set[str]:
    return {result.id for _, result in series.results() if result.state is State.PASSED}


def _broken(impostor: Impostor, series: Series) -> Iterator[str]:
    for seed, result in series.results():
        if result.state is State.HARNESS_FAULT:
            yield f"{result.id} breaks on {impostor.name} (seed {seed}): {result.message}"
