"""Katas and how far a learner is with them: the list, the overview, one that was started, its history."""

import shlex
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from grader.bank import Kata
from grader.history import Progress, Version
from grader.practice.progress import Overview, Row
from grader.printable import printable
from grader.render.layout import Items, labelled, plural

SHOWN_DUE = 5
MARKS = {Progress.PASSED: ("✓", "green"), Progress.STARTED: ("·", "yellow"), Progress.NEW: (" ", "")}


def list_view(rows: Iterable[Row]) -> RenderableType:
    """A line for each kata, in the order to take them."""
    table = _table("", "kata", "best", "min", "prio", "track", "title", right=("best", "min"))
    table.columns[-1].overflow, table.columns[-1].no_wrap = "fold", False
    for row in rows:
        kata, best = row.kata, row.standing.best
        mark, style = MARKS[row.standing.state]
        cells = (kata.slug, "" if best is None else str(best), str(kata.minutes), kata.priority, kata.track, kata.title)
        table.add_row(Text(mark, style), *map(Text, cells))
    return table


def list_json(rows: Iterable[Row]) -> str:
    """What `kata list --json` prints, without its line end."""
    return msgspec.json.encode({"katas": [_listed(row) for row in rows]}).decode()


def overview_view(overview: Overview) -> RenderableType:
    """What is in progress, and what to type; for somebody new, the way to a first green check."""
    if overview.brand_new and overview.next is not None:
        return _welcome(overview.next)
    shown_due = [f"{len(overview.due)} due"] if overview.due else []
    counts = [
        plural(overview.total, "kata"),
        f"{overview.passed} passed",
        f"{len(overview.started)} in progress",
        *shown_due,
    ]
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    table.add_column(no_wrap=True, style="cyan")
    for number, one in enumerate(overview.due[:SHOWN_DUE]):
        again = f"tried {'once' if one.reviews == 1 else f'{one.reviews} times'}, {one.retrievability:.0%} kept"
        table.add_row("" if number else "due", one.kata.slug, again, f"kata reset {one.kata.slug}")
    for number, row in enumerate(overview.started):
        best = "not passed yet" if row.standing.best is None else f"best {row.standing.best}/100"
        table.add_row("" if number else "in progress", row.kata.slug, best, f"kata check {row.kata.slug}")
    if overview.next is not None:
        kata = overview.next
        table.add_row("next", kata.slug, f"{kata.title}, {kata.minutes} min", f"kata start {kata.slug}")
    parts: list[RenderableType] = [Items([Text(count) for count in counts]), "", table]
    if not overview.due and not overview.started and overview.next is None:
        parts[2] = Text("Everything is passed. `kata list` shows it; `kata debrief NAME` goes over it again.")
    return Group(*parts)


def started_view(kata: Kata, path: Path, created: Sequence[Path]) -> RenderableType:
    """What `kata start` did; the paths as one would type them."""
    facts = [kata.title, f"{kata.minutes} min", kata.priority, f"difficulty {kata.difficulty} of 5"]
    parts = [(part.id, Text(f"{part.title}{f', {part.minutes} min' if part.minutes else ''}")) for part in kata.parts]
    wrote = ", ".join(printable(str(file)) for file in created) or "nothing: all of it was there, and is as it was"
    check = Text.assemble(f"edit {printable(str(path))}, then ", ("kata check", "bold cyan"))
    watch = Text.assemble("or ", ("kata watch", "bold cyan"), ", for a verdict on every save")
    return Group(
        Items([Text(fact) for fact in facts], Text(f"{kata.slug}  ", "bold")),
        labelled(parts, indent=2),
        "",
        labelled([("wrote", Text(wrote)), ("next", check), ("", watch)]),
    )


def history_view(kata: Kata, versions: Sequence[Version]) -> RenderableType:
    """The versions of an attempt, newest first."""
    if not versions:
        return Text(f"{kata.slug} has no history yet: `kata check {kata.slug}` begins it")
    table = _table("version", "when", "score", "", "content", right=("version", "score"))
    for version in versions:
        table.add_row(*map(Text, _version_cells(version)))
    return Group(table, "", labelled([("next", Text(f"kata history {kata.slug} --restore N", "bold cyan"))]))


def scaffold_view(slug: str, files: Sequence[Path], banks: Sequence[Path]) -> RenderableType:
    """What `kata new` wrote, and how the author finds what is left to do."""
    wrote = Text("\n".join(printable(str(file)) for file in files))
    bank = f"--bank {shlex.quote(str(banks[-1]))} " if banks else ""
    steps = Text.assemble("fill in what is marked TODO, then ", (f"kata {printable(bank)}lint {slug}", "bold cyan"))
    return labelled([("wrote", wrote), ("next", steps)])


def _table(*names: str, right: tuple[str, ...]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for name in names:
        table.add_column(name, no_wrap=True, justify="right" if name in right else "left")
    return table


def _version_cells(version: Version) -> tuple[str, ...]:
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(version.when))
    score = "" if version.score is None else f"{version.score}/{version.max_score}"
    told = "passed" if version.passed else version.reason
    return str(version.n), when, score, f"{told}, some checks" if version.selected else told, version.sha256[:12]


def _listed(row: Row) -> dict[str, object]:
    kata = row.kata
    return {
        "slug": kata.slug,
        "problem": kata.problem,
        "title": kata.title,
        "track": kata.track,
        "priority": kata.priority,
        "minutes": kata.minutes,
        "state": row.standing.state.value,
        "best": row.standing.best,
    }


def _welcome(first: Kata) -> RenderableType:
    folder = f"{first.slug}/"
    steps = [
        (f"kata start {first.slug}", f"writes {folder}{first.attempt_name} and {folder}PROMPT.md: {first.title}"),
        (f"kata hint {first.slug}", f"when you are stuck in {folder}{first.attempt_name}, which you edit"),
        ("kata check", "says which checks pass, and what is wrong with the first that does not"),
        ("kata watch", "does so every time you save"),
    ]
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="bold cyan", no_wrap=True)
    grid.add_column(overflow="fold")
    for command, what in steps:
        grid.add_row(Text(command), Text(what))
    return grid
