"""The reference and the alternatives, which are right on every seed, and the stub, which is not attempted."""

from collections import Counter, defaultdict
from collections.abc import Iterator

from grader.bank import Kata
from grader.grading import Options
from grader.lint.laboratory import Series, chosen
from grader.lint.report import SLOW_SECONDS, Rule
from grader.lint.setting import Setting, Told, every_check, told
from grader.verdict import CheckResult, State

RIGHT = (State.PASSED, State.NOT_MEASURABLE)
DEADLINE_FACTOR = 10
CERTAIN = 20
"""After so many seeds it is the tolerance that is loose, and not a value that happens to be a float16."""
THREADS = 2


class Reference:
    """Right on every seed and with two threads, compared tightly, inside its budget and far inside its deadlines."""

    def __init__(self, setting: Setting) -> None:
        self.setting, self.kata, effort = setting, setting.kata, setting.effort
        self.series = setting.first + self._graded(
            setting.options(effort.fast - 1, effort.slow - 1, probe_rounding=True)
        )
        self.threaded = self._graded([every_check(threads=THREADS)], f" with {THREADS} threads")

    def findings(self) -> Told:
        yield from told(Rule.REFERENCE, [*wrong(self.series), *wrong(self.threaded)])
        yield from told(Rule.ROUNDING, self._loose())
        yield from told(Rule.BUDGET, over_budget(self.kata, self.series))
        yield from told(Rule.DEADLINE, short_deadline(self.kata, self.series))

    def _graded(self, options: list[Options], how: str = "") -> Series:
        return self.setting.laboratory.grade(f"the reference{how}", self.setting.reference, options)

    def _loose(self) -> Iterator[str]:
        """What a few seeds make seem loose is tried on more of them."""
        series, seeds = self.series, Counter(result.id for _, result in self.series.results())
        for check in sorted({check for check, _ in loose_places(series)}):
            more = every_check(exactly=(check,), probe_rounding=True)
            series += self._graded([more] * (CERTAIN - seeds[check]))
        return loose(series)


class Alternatives:
    """Right on every seed too: what they fail is a check that asks for more than the prompt."""

    def __init__(self, setting: Setting) -> None:
        options = setting.options(setting.effort.alternative, setting.effort.slow_alternative)
        self.series = [
            setting.laboratory.grade(f"alternatives/{path.name}", path.read_bytes(), options)
            for path in setting.kata.alternatives()
        ]

    def findings(self) -> Told:
        for series in self.series:
            yield from told(Rule.ALTERNATIVES, wrong(series))


class Stub:
    """Not attempted, in every check."""

    def __init__(self, setting: Setting) -> None:
        self.series = setting.laboratory.grade("the stub", setting.kata.stub.read_bytes(), [every_check()])

    def findings(self) -> Told:
        answers: dict[str, list[str]] = defaultdict(list)
        for _, result in self.series.results():
            if result.state is not State.NOT_ATTEMPTED:
                answers[described(result)].append(result.id)
        for answer, checks in answers.items():
            yield (
                Rule.STUB,
                f"the stub ends as {answer}, and not as not_attempted, in {', '.join(checks)}: let what the learner "
                "writes raise NotImplementedError, and a check call that first",
            )


def slow_checks(series: Series) -> tuple[str, ...]:
    return tuple(result.id for _, result in series.results() if result.seconds >= SLOW_SECONDS)


def wrong(series: Series) -> Iterator[str]:
    """Checks that a correct solution does not pass on some seed."""
    seeds: Counter[str] = Counter()
    failures: dict[str, list[tuple[str, CheckResult]]] = defaultdict(list)
    for seed, result in series.results():
        seeds[result.id] += 1
        if result.state not in RIGHT:
            failures[result.id].append((seed, result))
    for check, found in failures.items():
        seed, result = found[0]
        yield (
            f"{series.name} does not pass {check} on {len(found)} of {seeds[check]} seeds; on {seed} it ends as "
            f"{described(result)}: correct the solution or the check"
        )


def loose(reference: Series) -> Iterator[str]:
    """Comparisons that the rounded truth passes on every seed."""
    for (check, line), count in sorted(loose_places(reference).items()):
        yield (
            f"checks.py, line {line} ({check}): the expected value rounded to float16 passes, on all of {count} "
            "seeds: tighten the tolerance there, or compare larger values"
        )


def loose_places(reference: Series) -> dict[tuple[str, int], int]:
    """(check, line) of each such comparison, and on how many seeds the check was run."""
    runs: Counter[str] = Counter(result.id for _, result in reference.results())
    passed = Counter(
        place for graded in reference.graded for place in {(event.check, event.line) for event in graded.loose}
    )
    return {(check, line): count for (check, line), count in passed.items() if count == runs[check]}


def over_budget(kata: Kata, reference: Series) -> Iterator[str]:
    """Seconds spent computing in a whole grade of the reference, meaned over the seeds."""
    verdicts = [graded.verdict for graded in reference.graded]
    whole = [
        verdict.seconds.attempt + verdict.seconds.reference
        for verdict in verdicts
        if all(result.state is not State.NOT_SELECTED for result in verdict.checks)
    ]
    mean = sum(whole) / len(whole)
    if mean > kata.budget_seconds:
        yield (
            f"a grade of the reference computes for {mean:.2g} s, and budget_seconds is {kata.budget_seconds:g}: "
            "make the checks smaller, or raise it"
        )


def short_deadline(kata: Kata, reference: Series) -> Iterator[str]:
    """Ten times the slowest check of the reference must fit the deadline of a call.

    The seconds of one call are not known here; it takes no longer than its check, nor computes longer than the whole
    run. Over the seeds it is the fastest run that counts, so that a busy machine breaks no rule.
    """
    fastest: dict[str, float] = {}
    for graded in reference.graded:
        for result in chosen(graded):
            seconds = min(result.seconds, graded.verdict.seconds.attempt)
            fastest[result.id] = min(seconds, fastest.get(result.id, seconds))
    slowest = max(fastest, key=lambda check: fastest[check])
    if DEADLINE_FACTOR * fastest[slowest] > kata.limits.cpu_seconds:
        yield (
            f"{slowest} takes the reference {fastest[slowest]:.2g} s, and limits.cpu_seconds is "
            f"{kata.limits.cpu_seconds:g}, less than {DEADLINE_FACTOR} times that: raise it, or make the check smaller"
        )


def described(result: CheckResult) -> str:
    """State, message and values, in one line."""
    said = result.message.split("\n")[0]
    values = f" (expected {result.expected}, got {result.got})" if result.got else ""
    return f"{result.state}{': ' if said else ''}{said}{values}"
