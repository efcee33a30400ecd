"""The drawings of a report, as SVG to stand inside a page. The only importer of matplotlib.

Lines and letters take the page's own colour, so that they can be read on a light and on a dark ground; letters stay
letters, so that they can be searched and read aloud.
"""

import re
from collections.abc import Callable, Sequence
from io import StringIO
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from grader.report.data import Point, Speed, day

INK, ACCENT = "#010203", "#0b7a4b"
"""The first is replaced by the page's colour; the second can be read on both grounds."""
STYLE: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "kata", "font.family": "sans-serif", "font.size": 9}


def scores(points: Sequence[Point], *, minutes: bool) -> str:
    """Score over time: over the minutes of an interview, or over days."""

    def draw(axes: Axes) -> None:
        if minutes:
            axes.plot([point.at for point in points], [point.score for point in points], "o-", color=ACCENT)
            axes.set_xlabel("minutes")
        else:
            axes.plot(range(1, len(points) + 1), [point.score for point in points], "o-", color=ACCENT)
            axes.set_xlabel("runs, oldest first")
        axes.set_ylim(-4, 104)
        axes.set_ylabel("score")

    first, last = points[0], points[-1]
    when = "" if minutes else f" from {day(first.at)} to {day(last.at)}"
    return _svg(draw, f"Score of {len(points)} graded versions{when}: first {first.score}, last {last.score}", 2.2)


def speeds(found: Sequence[Speed]) -> str:
    """Ratios to the reference with their intervals, on a logarithmic scale."""

    def draw(axes: Axes) -> None:
        places = range(len(found))
        ratios = [one.ratio for one in found]
        errors = ([one.ratio - one.low for one in found], [one.high - one.ratio for one in found])
        axes.errorbar(ratios, places, xerr=errors, fmt="o", color=ACCENT, capsize=3)
        axes.axvline(1.0, color=INK, linewidth=0.8, linestyle=":")
        axes.set_xscale("log", base=2)
        axes.set_xlim(min(0.5, *(0.9 * one.low for one in found)), max(2.0, *(1.1 * one.high for one in found)))
        axes.xaxis.set_major_formatter("{x:g}×")
        axes.set_yticks(list(places), [one.name for one in found])
        axes.set_ylim(-0.6, len(found) - 0.4)
        axes.set_xlabel("time as a ratio to the reference")

    told = "; ".join(f"{one.name} {one.ratio:.2f}, {one.verdict}" for one in found)
    return _svg(draw, f"Time as a ratio to the reference: {told}", 0.8 + 0.4 * len(found))


def _svg(draw: Callable[[Axes], None], title: str, height: float) -> str:
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, height), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        draw(axes)
        axes.spines[["top", "right"]].set_visible(False)
        for spine in axes.spines.values():
            spine.set_color(INK)
        axes.tick_params(colors=INK)
        axes.xaxis.label.set_color(INK)
        axes.yaxis.label.set_color(INK)
        text = StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _inline(text.getvalue(), title)


def _inline(svg: str, title: str) -> str:
    """Without what only a file of its own needs, and with what it shows in words."""
    body = svg[svg.index("<svg") :].replace(INK, "currentColor")
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    escaped = title.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return body.replace("<svg", f'<svg role="img" aria-label="{escaped}"', 1)
