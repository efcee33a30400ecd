"""A batch as a document for another program: JSON, CSV, JUnit XML, Gradescope. One row at a time is in memory."""

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from io import StringIO
from itertools import groupby
from xml.sax.saxutils import escape, quoteattr

import msgspec

from grader.batch.grades import Grade, Outcome
from grader.printable import printable
from grader.verdict import CheckResult, State

FORMAT = 1
COLUMNS = ("person", "kata", "file", "outcome", "score", "max_score", "passed", "seed", "seconds", "message")


@dataclass(slots=True)
class Statistics:
    """How a batch went, check by check; fed row by row."""

    files: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    passed: int = 0
    checks: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)
    """States by (kata, check)."""
    titles: dict[tuple[str, str], str] = field(default_factory=dict)
    mistakes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Known mistakes that were recognised, by (kata, mistake)."""

    def add(self, grade: Grade) -> None:
        self.files += 1
        self.outcomes[grade.outcome] += 1
        self.passed += grade.passed
        for check in grade.verdict.checks if grade.verdict else ():
            key = (grade.kata, check.id)
            self.checks.setdefault(key, Counter())[check.state.value] += 1
            self.titles[key] = check.title
            if check.mistake is not None:
                self.mistakes[grade.kata, check.mistake.id] += 1

    def counting(self, rows: Iterable[Grade]) -> Iterator[Grade]:
        """The same rows, each added as it passes."""
        for row in rows:
            self.add(row)
            yield row

    def of_checks(self) -> list[dict[str, object]]:
        """One record a check, those that fewest passed first."""
        records = [
            {
                "kata": kata,
                "check": check,
                "title": self.titles[kata, check],
                "passed": states[State.PASSED.value],
                "attempts": states.total(),
                "states": dict(states),
            }
            for (kata, check), states in self.checks.items()
        ]
        return sorted(records, key=lambda record: record["passed"] / record["attempts"])  # type: ignore[operator]  # both are numbers


def as_json(rows: Iterable[Grade]) -> Iterator[str]:
    statistics = Statistics()
    yield f'{{"format": {FORMAT}, "rows": ['
    for number, row in enumerate(statistics.counting(rows)):
        yield ("," if number else "") + "\n" + msgspec.json.encode(row).decode()
    yield '],\n"checks": ' + msgspec.json.encode(statistics.of_checks()).decode() + "}\n"


def as_csv(rows: Iterable[Grade]) -> Iterator[str]:
    yield _csv_line(COLUMNS)
    for row in rows:
        seed, seconds = (row.verdict.seed, f"{row.verdict.seconds.total:.3f}") if row.verdict else ("", "")
        facts = (row.outcome.value, row.score, row.max_score, int(row.passed), seed, seconds, row.message)
        yield _csv_line((*map(_inert, (row.person, row.kata, row.file)), *facts))


def as_junit(rows: Iterable[Grade]) -> Iterator[str]:
    """A suite for each file, a case for each check, as most build servers read it."""
    yield '<?xml version="1.0" encoding="utf-8"?>\n<testsuites name="kata">\n'
    for row in rows:
        yield "".join(_suite(row))
    yield "</testsuites>\n"


def as_gradescope(rows: Iterable[Grade]) -> Iterator[str]:
    """What Gradescope reads as results.json: of one person the object itself, of several an object of them by name."""
    people = [(name, list(grades)) for name, grades in groupby(rows, key=lambda row: row.person)]
    results = {name: _results(grades) for name, grades in people}
    whole = next(iter(results.values())) if len(results) == 1 else results
    yield msgspec.json.format(msgspec.json.encode(whole)).decode() + "\n"


FORMATS: dict[str, Callable[[Iterable[Grade]], Iterator[str]]] = {
    "json": as_json,
    "csv": as_csv,
    "junit": as_junit,
    "gradescope": as_gradescope,
}


def _csv_line(values: Iterable[object]) -> str:
    buffer = StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(list(values))
    return buffer.getvalue()


def _inert(text: str) -> str:
    """A name that a spreadsheet does not take for a formula."""
    return "'" + text if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _suite(row: Grade) -> Iterator[str]:
    checks = row.verdict.checks if row.verdict else []
    failures = sum(check.state is not State.PASSED for check in checks)
    name = quoteattr(_xml(row.file))
    if row.verdict is None:
        yield f'  <testsuite name={name} tests="1" failures="0" errors="1">\n'
        yield f"    <testcase classname={name} name={quoteattr(row.outcome.value)}>"
        yield f"<error message={quoteattr(_xml(row.message))}/></testcase>\n"
    else:
        yield f'  <testsuite name={name} tests="{len(checks)}" failures="{failures}" errors="0">\n'
        yield from (_case(name, check) for check in checks)
    yield "  </testsuite>\n"


def _case(suite: str, check: CheckResult) -> str:
    opening = (
        f"    <testcase classname={suite} name={quoteattr(_xml(check.title))} time={quoteattr(str(check.seconds))}"
    )
    if check.state is State.PASSED:
        return opening + "/>\n"
    told = quoteattr(_xml(check.message or check.state.value))
    detail = escape(_xml(_detail(check)))
    return f'{opening}><failure type="{check.state.value}" message={told}>{detail}</failure></testcase>\n'


def _results(rows: list[Grade]) -> dict[str, object]:
    tests = [
        {
            "name": f"{row.kata}: {check.title}",
            "score": check.points if check.state is State.PASSED else 0,
            "max_score": check.points,
            "status": "passed" if check.state is State.PASSED else "failed",
            "output": "" if check.state is State.PASSED else _detail(check),
        }
        for row in rows
        for check in (row.verdict.checks if row.verdict else ())
    ]
    told = [f"{row.file}: {row.message}" for row in rows if row.outcome is not Outcome.GRADED]
    return {"score": sum(row.score for row in rows), "output": "\n".join(told), "tests": tests}


def _detail(check: CheckResult) -> str:
    facts = (("", check.message), ("call: ", check.call), ("expected: ", check.expected), ("got: ", check.got))
    return "\n".join(label + printable(text) for label, text in facts if text)


def _xml(text: str) -> str:
    """Without the characters that XML cannot hold."""
    return printable(text)
