"""A report as a document: HTML with everything in one file, Markdown, JSON."""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import NamedTuple

import jinja2
import msgspec

from grader.bank import templates_folder
from grader.printable import printable
from grader.report.data import KataPart, Report, day

WEEKS = 26
STEPS = (0, 1, 3, 6, 10)
"""Runs of a day from which a square is a shade darker."""


class Square(NamedTuple):
    """A day of the heatmap."""

    date: str
    runs: int
    shade: int


def as_html(report: Report) -> str:
    """One file: no script, no request, everything that others wrote escaped."""
    from grader.report import plots  # half a second of imports, for this format alone

    def drawn(kata: KataPart) -> dict[str, str]:
        found = {}
        if len(kata.points) > 1:
            found["scores"] = plots.scores(kata.points, minutes=report.kind == "mock")
        if kata.speeds:
            found["speeds"] = plots.speeds(kata.speeds)
        return found

    template = _environment(autoescape=True).get_template("report.html")
    return template.render(report=report, drawn=drawn, weeks=_weeks(report), day=_day, text=_text)


def as_markdown(report: Report) -> str:
    return _environment(autoescape=False).get_template("report.md").render(report=report, day=_day, text=_line)


def as_json(report: Report) -> str:
    return msgspec.json.format(msgspec.json.encode(report)).decode() + "\n"


FORMATS: dict[str, Callable[[Report], str]] = {"html": as_html, "md": as_markdown, "json": as_json}


def _environment(*, autoescape: bool) -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates_folder() / "report"),
        undefined=jinja2.StrictUndefined,
        autoescape=autoescape,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _weeks(report: Report) -> list[list[Square]]:
    """The last half year, a list of seven days for each week, Monday first."""
    today = datetime.fromtimestamp(report.made).date()
    monday = today - timedelta(days=today.weekday() + 7 * (WEEKS - 1))
    return [[_square(report, monday + timedelta(days=7 * week + day)) for day in range(7)] for week in range(WEEKS)]


def _square(report: Report, day: date) -> Square:
    runs = report.days.get(day.isoformat(), 0)
    return Square(day.isoformat(), runs, sum(runs >= step for step in STEPS[1:]))


def _day(when: float | None) -> str:
    return "" if when is None else day(when)


def _text(text: str) -> str:
    """What a learner or their code wrote: its lines, without what a page could trip over."""
    return "\n".join(printable(line) for line in text.split("\n"))


def _line(text: str) -> str:
    """The same on one line of Markdown."""
    return "".join(f"\\{sign}" if sign in "\\`*_{}[]<>|#" else sign for sign in printable(text.replace("\n", " ")))
