"""One failing check in full: the call, what was wanted, what came, why, and what it printed."""

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from grader.practice.check import Outcome
from grader.printable import printable, printable_lines
from grader.render.layout import labelled
from grader.verdict import CheckResult, MistakeMatch

SHOWN_LINES = 12
"""Of what a check printed: so many in all, two thirds from its beginning."""
LONGEST_LINE = 400
NAMED_AFTER = 2
"""Failures of the same check in a row, after which a known mistake is named unasked."""


def details(outcome: Outcome, check: CheckResult, *, explain: bool) -> RenderableType:
    """What stands under an expanded check."""
    return labelled(_lines(outcome, check, explain), indent=6, width=10)


def _lines(outcome: Outcome, check: CheckResult, explain: bool) -> Iterator[tuple[str, Text]]:
    sentence, *frames = check.message.split("\n")
    for name, text in (("call", check.call), ("expected", check.expected), ("got", check.got), ("why", sentence)):
        if text:
            yield name, Text(printable(text))
    for frame in frames:
        yield "at", Text(printable(frame), "dim")
    if check.mistake is not None:
        named = explain or outcome.failed_runs.get(check.id, 0) >= NAMED_AFTER
        yield "looks like", _mistake(check.mistake, outcome.kata.slug, named)
    if check.output.strip():
        yield "printed", Text("\n".join(shortened(check.output)), "dim")


def _mistake(mistake: MistakeMatch, slug: str, named: bool) -> Text:
    if not named:
        return Text(f"a known mistake: `kata check {slug} --explain` names it")
    return Text.assemble((mistake.id.replace("_", " "), "bold"), f": {mistake.advice}")


def shortened(output: str) -> list[str]:
    """The first and the last lines of what was printed, made printable, and how many there were between."""
    lines = [line[:LONGEST_LINE] + "…" * (len(line) > LONGEST_LINE) for line in printable_lines(output.strip("\r\n"))]
    if len(lines) <= SHOWN_LINES:
        return lines
    head = SHOWN_LINES * 2 // 3
    tail = SHOWN_LINES - head
    return [*lines[:head], f"… {len(lines) - SHOWN_LINES} more lines …", *lines[-tail:]]
