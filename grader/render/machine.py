"""What `kata doctor` found."""

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from grader.practice.doctor import Finding, Health
from grader.printable import printable

MARKS = {Health.GOOD: ("✓", "green"), Health.NOTE: ("–", "yellow"), Health.BAD: ("✗", "red")}


def finding_view(finding: Finding) -> RenderableType:
    """One line, shown as soon as it is known."""
    mark, style = MARKS[finding.health]
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=1)
    grid.add_column(width=10, no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(Text(mark, style), Text(finding.subject), Text(printable(finding.text)))
    return grid
