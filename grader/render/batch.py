"""What `kata grade` shows: a line for each file as it is done, and in the end how each check went."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from grader.batch import Grade, Outcome
from grader.batch.formats import Statistics
from grader.printable import printable
from grader.render.layout import Items, plural
from grader.verdict import State

SHOWN = 12
"""Checks in the table of those that fewest passed."""


def row_view(row: Grade, width: int) -> RenderableType:
    name = Text(f"{printable(row.file):{width}}  ")
    if row.verdict is None:
        return Text.assemble(("! ", "magenta"), name, (printable(row.message), "magenta"), overflow="fold")
    mark, style = ("✓ ", "green") if row.passed else ("✗ ", "red")
    first = next((check for check in row.verdict.checks if check.state is not State.PASSED), None)
    told = printable(first.title) if first else ""
    text = Text.assemble((mark, style), name, (f"{row.score:>3}/{row.max_score}", "bold"), "  ", (told, "dim"))
    text.no_wrap, text.overflow = True, "ellipsis"
    return Group(text)  # printed as it is, it would lose how it overflows


def statistics_view(statistics: Statistics) -> RenderableType:
    """How many passed, the checks that fewest passed, and the mistakes that were recognised."""
    facts = [Text(plural(statistics.files, "file")), Text(f"{statistics.passed} passed", "green")]
    facts += [
        Text(f"{count} {outcome.replace('_', ' ')}", "magenta")
        for outcome, count in sorted(statistics.outcomes.items())
        if outcome != Outcome.GRADED
    ]
    lines: list[RenderableType] = ["", Items(facts)]
    failed = [record for record in statistics.of_checks() if record["passed"] != record["attempts"]]
    if failed:
        lines += ["", _checks(failed[:SHOWN])]
    if len(failed) > SHOWN:
        lines.append(Text(f"and {plural(len(failed) - SHOWN, 'check')} more: --format json has them all", "dim"))
    for (kata, mistake), count in statistics.mistakes.most_common(SHOWN):
        lines.append(Text(f"{count:>4} × {kata}: looks like {mistake}"))
    return Group(*lines)


def _checks(records: list[dict[str, object]]) -> RenderableType:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row(Text("passed", "dim"), Text("kata", "dim"), Text("check", "dim"))
    for record in records:
        share = Text(f"{record['passed']}/{record['attempts']}")
        table.add_row(share, Text(str(record["kata"])), Text(printable(str(record["title"]))))
    return table
