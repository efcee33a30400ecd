"""The verdict as a learner reads it: one line in all, a line for each check, the first failure in full."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from grader.bank import Kata, Part
from grader.history import FAILING
from grader.practice.check import Finish, Outcome, first_failure
from grader.printable import printable
from grader.render.bench import summary
from grader.render.failure import details
from grader.render.layout import Items, duration, labelled, plural
from grader.timing import BenchReport
from grader.verdict import CheckResult, State, Verdict


class Look(NamedTuple):
    """How a state looks."""

    mark: str
    style: str
    word: str


LOOKS = {
    State.PASSED: Look("✓", "green", ""),
    State.FAILED: Look("✗", "red", "failed"),
    State.ERROR: Look("✗", "red", "error"),
    State.TIMEOUT: Look("✗", "red", "timed out"),
    State.MEMORY: Look("✗", "red", "out of memory"),
    State.CRASHED: Look("✗", "red", "crashed"),
    State.NOT_ATTEMPTED: Look("–", "yellow", "not attempted"),
    State.WAITING: Look("–", "dim", "waits"),
    State.NOT_SELECTED: Look("–", "dim", "not selected"),
    State.NOT_MEASURABLE: Look("–", "yellow", "not measurable"),
    State.HARNESS_FAULT: Look("!", "magenta", "our fault"),
}
UNTOUCHED = (State.NOT_ATTEMPTED, State.WAITING)
"""States of what was not begun."""
POINTS_WIDTH = 6
REASONED = (State.TIMEOUT, State.MEMORY, State.CRASHED, State.WAITING, State.NOT_MEASURABLE, State.HARNESS_FAULT)
"""States whose message is shown even where the check is not expanded."""


def verdict_view(
    outcome: Outcome, *, expand_all: bool = False, explain: bool = False, compact: bool = False
) -> RenderableType:
    """Everything that `kata check` shows; `compact`, a part that is passed has one line."""
    first = first_failure(outcome.verdict)
    expanded = [c for c in outcome.verdict.checks if c.state in FAILING and (expand_all or c is first)]
    lines: list[RenderableType] = [headline(outcome), *isolation(outcome.verdict)]
    above_begun = True
    for part, checks in by_part(outcome):
        states = {check.state for check in checks}
        begun = expand_all or not (states <= set(UNTOUCHED) or (compact and states == {State.PASSED}))
        lines += [""] if begun or above_begun else []
        lines.append(part_row(part, checks, outcome.verdict, begun))
        for check in checks if begun else ():
            lines += expanded_check(outcome, check, explain) if check in expanded else [check_row(check)]
        above_begun = begun
    return Group(*lines, "", *closing(outcome))


def by_part(outcome: Outcome) -> Iterator[tuple[Part, list[CheckResult]]]:
    """The parts of which anything was asked for, with those checks."""
    for part in outcome.kata.parts:
        checks = [check for check in shown_checks(outcome.verdict) if check.part == part.id]
        if checks:
            yield part, checks


def expanded_check(outcome: Outcome, check: CheckResult, explain: bool) -> list[RenderableType]:
    return [check_row(check, reason=False), details(outcome, check, explain=explain)]


def headline(outcome: Outcome) -> RenderableType:
    verdict = outcome.verdict
    judged = shown_checks(verdict)
    passed = [check for check in judged if check.state is State.PASSED]
    kind = "selected check" if outcome.selected else "check"
    points = (
        f"{sum(check.points for check in passed)} of {sum(check.points for check in judged)} points"
        if outcome.selected
        else f"{verdict.score}/{verdict.max_score}"
    )
    style = "bold green" if len(passed) == len(judged) else "bold red"
    facts = [f"{verdict.seconds.total:.1f} s", verdict.device, f"seed {verdict.seed}", f"isolation {verdict.isolation}"]
    count = Text(f"{len(passed)} of {plural(len(judged), kind)}", style)
    return Items([count, Text(points, style), *map(Text, facts)], Text(f"{verdict.kata}  ", "bold"))


def isolation(verdict: Verdict) -> Iterator[RenderableType]:
    """What stood between the attempt and us, where it was not everything."""
    if verdict.isolation == "full":
        return
    readable = "the reference is readable by your code" if verdict.isolation == "process" else ""
    missing = f"missing {', '.join(verdict.isolation_missing)}" if verdict.isolation_missing else ""
    reasons = "; ".join(filter(None, (readable, missing)))
    yield Text(f"isolation {verdict.isolation}: {reasons}", "yellow", overflow="fold")


def part_row(part: Part, checks: list[CheckResult], verdict: Verdict, begun: bool) -> RenderableType:
    """The line above a part's checks; of one that was not begun, the only line."""
    score = next((f"{p.score}/{p.max}" for p in verdict.parts if p.id == part.id), "")
    look = LOOKS[min((check.state for check in checks), key=list(LOOKS).index)]
    word = Text() if begun else Text(", ".join(filter(None, (look.word, plural(len(checks), "check")))), look.style)
    return _row(Text.assemble((part.id, "bold"), f"  {part.title}", overflow="fold"), word, Text(score, "bold"))


def check_row(check: CheckResult, *, reason: bool = True) -> RenderableType:
    """A check with its points; where its state has one, also the reason."""
    look = LOOKS[check.state]
    title = [Text(printable(check.title), "dim" if check.state is State.WAITING else "", overflow="fold")]
    if reason and check.state in REASONED and check.message:
        told = printable(check.message.partition("\n")[0])
        title.append(Text(told, "dim", no_wrap=check.state is State.WAITING, overflow="ellipsis"))
    points = str(check.points) if check.state is State.PASSED else f"0/{check.points}"
    return _row(Group(*title), Text(look.word, look.style), Text(points), Text(look.mark, look.style))


def shown_checks(verdict: Verdict) -> list[CheckResult]:
    """Those that were asked for."""
    return [check for check in verdict.checks if check.state is not State.NOT_SELECTED]


def closing(outcome: Outcome) -> Iterator[RenderableType]:
    """What else is worth knowing, and what to type next."""
    yield from _remarks(outcome)
    yield labelled([("next", Items([Text(step, "bold cyan") for step in next_steps(outcome)]))])


def next_steps(outcome: Outcome) -> list[str]:
    slug, verdict = outcome.kata.slug, outcome.verdict
    if any(check.state is State.HARNESS_FAULT for check in verdict.checks):
        return ["kata doctor", f"kata check {slug} --seed {verdict.seed}"]
    if first_failure(verdict) is not None:
        return [f"kata hint {slug}", f"kata replay {slug}"]
    if outcome.selected:
        return [f"kata check {slug}"]
    if verdict.passed:
        after = outcome.finish.next if outcome.finish else None
        more = [f"kata start {after.slug}"] if after else ["kata list"]
        return [f"kata solution {slug}", f"kata diff {slug}", f"kata debrief {slug}", *more]
    return [f"kata show {slug}", f"kata hint {slug}"]


def replayed_view(kata: Kata, check: CheckResult, script: Path | None) -> RenderableType:
    """What became of the failing check that was run again; `script` as one would type its path."""
    if check.state is State.PASSED:
        steps, told = f"kata check {kata.slug}", "it passes now, so there is nothing to replay"
    elif script is None:
        steps, told = f"kata check {kata.slug} --all", "it does not come to a call that could be replayed"
    else:
        steps, told = f"python {shlex.quote(str(script))}", "its calls are in a script, which stops before the last one"
    return Group(
        check_row(check),
        labelled([("replay", Text(told)), ("next", Text(printable(steps), "bold cyan"))]),
    )


def _remarks(outcome: Outcome) -> Iterator[RenderableType]:
    states = [check.state for check in outcome.verdict.checks]
    open_points = sum(c.points for c in outcome.verdict.checks if c.state is State.NOT_MEASURABLE)
    if State.HARNESS_FAULT in states:
        yield Text(
            "A fault of ours: not your score. Please report it, with the seed and what `kata doctor` says.", "magenta"
        )
    if open_points:
        yield Text(f"{plural(open_points, 'point')} cannot be earned or lost here: this machine cannot measure them.")
    if outcome.selected:
        yield Text(f"{plural(states.count(State.NOT_SELECTED), 'check')} not selected, so this run does not count.")
    for name in outcome.altered:
        yield Text(f"{printable(name)} is not as it was given; grading uses the original.", "yellow", overflow="fold")
    if outcome.verdict.passed:
        yield Text(_praise(outcome.finish, outcome.kata.minutes), "green")
        if outcome.speed is not None:
            yield Text(_speed(outcome.speed, outcome.verdict), overflow="fold")


def _praise(finish: Finish | None, planned: int) -> str:
    if finish is None:
        return "All passed."
    time = "" if finish.minutes is None else f" {duration(finish.minutes)} after you started, {planned} min planned"
    return f"All passed{time}; {plural(finish.hints, 'hint') if finish.hints else 'no hints'} used."


def _speed(report: BenchReport, verdict: Verdict) -> str:
    which = "Speed" if report.sha256 == verdict.attempt.sha256 else "Speed of an earlier version"
    return f"{which}: {', '.join(map(summary, report.workloads))}; kata bench {report.kata} times it again."


def _row(title: RenderableType, word: RenderableType, points: Text, mark: Text | None = None) -> RenderableType:
    """Something with its points at the right edge, and a word before them if there is one."""
    grid = Table.grid(padding=(0, 1, 0, 0), expand=True)
    cells = [cell for cell in (mark, title, word, points) if cell]
    for cell in cells:
        if cell is title:
            grid.add_column(ratio=1)
        elif cell is points:
            grid.add_column(width=POINTS_WIDTH, justify="right", no_wrap=True)
        else:
            grid.add_column(no_wrap=True)
    grid.add_row(*cells)
    return Padding(grid, (0, 0, 0, 0 if mark is None else 2))
