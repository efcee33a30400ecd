"""A study plan in the terminal: a block a week, a line a day."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from grader.practice.calendar import told
from grader.practice.plan import Day, Plan
from grader.printable import printable
from grader.render.layout import labelled, plural


def plan_view(plan: Plan) -> RenderableType:
    """Days without anything to do are left out."""
    lines: list[RenderableType] = []
    for number, week in enumerate(plan.by_week, 1):
        days = [day for day in week if day.items]
        if days:
            lines += [Text.assemble((f"week {number}  ", "bold"), days[0].phase), _days(days), ""]
    if plan.left_out:
        names = ", ".join(printable(kata.slug) for kata in plan.left_out)
        lines += [Text(f"no room for {plural(len(plan.left_out), 'kata')}: {names}", "yellow", overflow="fold"), ""]
    first = next((item.command for day in plan.days for item in day.items), "kata list")
    steps = [("next", Text(first, "bold cyan")), ("also", Text("--format md or ics, for a file or a calendar"))]
    return Group(*lines, labelled(steps))


def _days(days: Sequence[Day]) -> RenderableType:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for day in days:
        table.add_row(f"  {day.date:%a %d %b}", Text("\n".join(printable(told(item)) for item in day.items)))
    return table
