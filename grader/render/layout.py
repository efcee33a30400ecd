"""Small shapes that the views are made of: items on a line, labels with values, rows with a number at the right."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

DOT = " · "


@dataclass(frozen=True, slots=True)
class Items:
    """Texts with dots between them; a line breaks at a dot, and goes on under the first item."""

    texts: Sequence[Text]
    lead: Text = field(default_factory=Text)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines: list[list[Text]] = [[]]
        room = left = options.max_width - self.lead.cell_len
        for text in self.texts:
            width = text.cell_len + len(DOT)
            if lines[-1] and width > left + len(DOT):
                lines.append([])
                left = room
            lines[-1].append(text)
            left -= width
        for number, line in enumerate(lines):
            indent = self.lead if number == 0 else Text(" " * self.lead.cell_len)
            dotted = [piece for text in line for piece in ((DOT, "dim"), text)][1:]
            yield Text.assemble(indent, *dotted, overflow="fold")


def labelled(pairs: Iterable[tuple[str, RenderableType]], *, indent: int = 0, width: int = 0) -> RenderableType:
    """Names in a narrow column, their texts wrapped beside them."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True, min_width=width)
    grid.add_column(overflow="fold")
    for name, text in pairs:
        grid.add_row(Text(name), text)
    return Padding(grid, (0, 0, 0, indent))


def plural(count: int, noun: str) -> str:
    """
    >>> plural(1, "check"), plural(2, "check")
    ('1 check', '2 checks')
    """
    return f"{count} {noun}{'' if count == 1 else 's'}"


def duration(minutes: float) -> str:
    """
    >>> duration(0.4), duration(34), duration(200), duration(5000)
    ('less than a minute', '34 min', '3 h 20 min', '3 days')
    """
    if minutes < 1:
        return "less than a minute"
    whole = int(minutes)
    if whole < 100:
        return f"{whole} min"
    hours, rest = divmod(whole, 60)
    return f"{hours} h {rest} min" if hours < 48 else f"{hours // 24} days"
