"""What `kata bench` will time: whether it can be timed, and whether the reference is fast."""

from collections.abc import Iterator
from pathlib import Path

from grader.bank import Kata
from grader.errors import BadKata, UsageError
from grader.grading import Options, Template
from grader.lint.report import Effort
from grader.timing import Timing
from grader.workspace import read_attempt

ECHO_SHARE = 0.05
TRIES = 3
BEATEN = 1 / 1.5
"""The ratio at which an alternative puts the reference to shame."""


def mistimed(kata: Kata, template: Template, effort: Effort) -> Iterator[str]:
    """Workloads that fail, that mostly carry their arguments, or, with full effort, that an alternative does faster."""
    if not kata.benches.exists():
        return
    try:
        yield from _unfit_whenever_timed(kata, template, effort)
        for path in kata.alternatives() if effort.time_alternatives else ():
            yield from faster(path.name, _timed(template, path, effort))
    except (BadKata, UsageError) as error:
        yield str(error)


def _unfit_whenever_timed(kata: Kata, template: Template, effort: Effort) -> list[str]:
    """What is found each time: on a busy machine carrying arguments may take long once."""
    found: list[str] = []
    for _ in range(TRIES):
        found = list(unfit(_timed(template, kata.reference, effort)))
        if not found:
            break
    return found


def unfit(timings: tuple[Timing, ...]) -> Iterator[str]:
    for timing in timings:
        if timing.error:
            yield f"benches.py, {timing.name}: the reference itself does not come through it: {timing.error}"
        if timing.echo_share > ECHO_SHARE:
            yield (
                f"benches.py, {timing.name}: carrying arguments and result takes {timing.echo_share:.0%} of the "
                f"reference's time, and {ECHO_SHARE:.0%} is the most: let the call compute more, or send less"
            )


def faster(name: str, timings: tuple[Timing, ...]) -> Iterator[str]:
    for timing in timings:
        if timing.error:
            yield f"benches.py, {timing.name}: alternatives/{name} does not come through it: {timing.error}"
        elif timing.high is not None and timing.high < BEATEN:
            yield (
                f"benches.py, {timing.name}: alternatives/{name} takes {timing.ratio:.2f} of the reference's time: "
                "the reference is to be the fast one"
            )


def _timed(template: Template, path: Path, effort: Effort) -> tuple[Timing, ...]:
    return template.bench(read_attempt(path), Options(), effort.bench_seconds)
