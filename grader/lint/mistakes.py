"""The known mistakes: each is caught by the check that it names, by a wrong answer rather than by breaking down."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from grader.judge.programs import Mistake
from grader.lint.interface import Element
from grader.lint.laboratory import Series
from grader.lint.report import Rule
from grader.lint.setting import Setting, Told, every_check
from grader.lint.solutions import described
from grader.verdict import CheckResult, State

LEAST = 6
CAUGHT = (State.FAILED, State.ERROR, State.TIMEOUT, State.MEMORY)
BROKEN = ("NameError", "UnboundLocalError", "ImportError", "ModuleNotFoundError", "SyntaxError", "IndentationError")
"""No answer is wrong in this way: the mistake's own code is."""
SUSPECT = ("TypeError", "AttributeError")
"""Mostly a slip of the author's; where it is the point, the advice says so by naming it."""
LOADING = "loading the file"
UNDEFINED = "is not defined in your file"


class Mistakes:
    """Each against the check that it names."""

    def __init__(self, setting: Setting) -> None:
        effort, known = setting.effort, [m for m in setting.programs.mistakes if m.caught_by in setting.checks]
        self.caught = 0
        self.tried = [
            (
                one,
                _grade(
                    setting, one, (one.caught_by,), setting.seeds(one.caught_by, effort.mistake, effort.slow_mistake)
                ),
            )
            for one in known
        ]

    def findings(self) -> Told:
        for mistake, series in self.tried:
            problem = uncaught(mistake, series)
            self.caught += problem is None
            if problem is not None:
                yield Rule.MISTAKES, problem


class Matrix:
    """Every mistake against the checks down to the one that it names, where the effort allows for it.

    What catches it further down makes no check needless, so that half of the matrix is left out.
    """

    def __init__(self, setting: Setting) -> None:
        self.setting, self.seeds = setting, setting.effort.matrix
        known = [one for one in setting.programs.mistakes if one.caught_by in setting.checks]
        self.tried = [(one, _grade(setting, one, self._down_to(one), 1)) for one in known if self.seeds]

    def _down_to(self, mistake: Mistake) -> tuple[str, ...]:
        return self.setting.checks[: self.setting.checks.index(mistake.caught_by) + 1]

    def findings(self) -> Told:
        """Checks that catch nothing that is not caught before them."""
        again = [series + self._again(one, _kills(series)) for one, series in self.tried]
        first = {min(_kills(series), key=self.setting.checks.index, default="") for series in again}
        for check in self.setting.checks if self.tried else ():
            if check not in first:
                yield (
                    Rule.REDUNDANT,
                    f"{check} catches no mistake that no check before it catches: merge it, drop it, or write the "
                    "mistake that it is there for",
                )

    def _again(self, mistake: Mistake, killers: set[str]) -> Series:
        """On the other seeds too, by the checks that caught it on the first."""
        checks = tuple(check for check in self.setting.checks if check in killers)
        return _grade(self.setting, mistake, checks, self.seeds - 1 if checks else 0)


def misdeclared(mistakes: Sequence[Mistake], checks: Sequence[str], elements: Mapping[str, Element]) -> Iterator[str]:
    """What can be seen without running them; `elements` is what the reference offers."""
    if len(mistakes) < LEAST:
        yield f"mistakes.py holds {len(mistakes)} of at least {LEAST} mistakes: write those that people make"
    for id, count in Counter(mistake.id for mistake in mistakes).items():
        if count > 1:
            yield f"the mistake {id} is there {count} times: give each a name of its own"
    for mistake in mistakes:
        if mistake.caught_by not in checks:
            yield f"the mistake {mistake.id} is caught by {mistake.caught_by!r}, which is no check: correct the name"
        if not mistake.advice.strip():
            yield f"the mistake {mistake.id} has no advice: tell the learner what is wrong, and what to do"
        for target in mistake.patch.replaces:
            if target not in elements and not target.rpartition(".")[2].startswith("_"):
                yield f"the mistake {mistake.id} replaces {target!r}, which reference.py lacks: correct the name"


def uncaught(mistake: Mistake, series: Series) -> str | None:
    """Why it is not caught as it should be; None where it is."""
    results = list(series.results())
    for seed, result in results:
        problem = _problem(result)
        if problem:
            return f"the mistake {mistake.id}, in {result.id} on seed {seed}, {problem}"
    kinds = {_raised(result) for _, result in results}
    for kind in SUSPECT:
        if kinds == {kind} and kind not in mistake.advice:
            return (
                f"the mistake {mistake.id} raises {kind} on every seed rather than answering wrongly "
                f"({described(results[0][1])}): mend it, or let its advice name the {kind}"
            )
    return None


def _grade(setting: Setting, mistake: Mistake, checks: tuple[str, ...], seeds: int) -> Series:
    options = every_check(exactly=checks, patches=(mistake.patch,))
    return setting.laboratory.grade(mistake.id, setting.reference, [options] * seeds)


def _kills(series: Series) -> set[str]:
    """The checks that catch it on every seed."""
    results = [result for _, result in series.results()]
    return {result.id for result in results} - {result.id for result in results if result.state not in CAUGHT}


def _problem(result: CheckResult) -> str:
    if result.state is State.NOT_MEASURABLE:
        return ""
    if result.state not in CAUGHT:
        return f"ends as {described(result)}: sharpen the check, or name the one that catches it"
    if result.state is State.ERROR and result.call == LOADING:
        return f"cannot take its place ({described(result)}): correct `replaces` or the code"
    if _raised(result) in BROKEN or UNDEFINED in result.message:
        return f"breaks down rather than answering wrongly ({described(result)}): mend its code"
    return ""


def _raised(result: CheckResult) -> str:
    return result.message.partition(":")[0] if result.state is State.ERROR else ""
