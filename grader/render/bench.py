"""What `kata bench` shows: a bar for each workload, with its interval, beside the reference."""

import math
from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from grader.practice.bench import Benched
from grader.printable import printable
from grader.render.layout import Items, labelled
from grader.timing import Speed, Timing

STYLES = {Speed.FASTER: "green", Speed.ON_PAR: "green", Speed.SLOWER: "red", Speed.TOO_NOISY: "yellow"}
WIDTH = 41
SPAN = math.log(8)
"""The bar shows ratios from 1/8 to 8."""


def bench_view(benched: Benched) -> RenderableType:
    report = benched.report
    facts = [Text("time as a ratio to the reference"), Text(report.device), Text(f"{report.clock} clock")]
    lines: list[RenderableType] = [Items(facts, Text(f"{report.kata}  ", "bold")), ""]
    for timing in report.workloads:
        lines += workload(timing)
    lines.append(labelled([("next", Text(_next(benched), "bold cyan"))]))
    return Group(*lines)


def workload(timing: Timing) -> Iterator[RenderableType]:
    """Name and verdict, the bar, and what else was seen."""
    yield Text.assemble((timing.name, "bold"), f"  {timing.title}", overflow="fold")
    if timing.ratio is None or timing.low is None or timing.high is None:
        yield Text(f"  {printable(timing.error)}", "red", overflow="fold")
        yield Text("")
        return
    style = STYLES[timing.verdict]
    numbers = f"{timing.ratio:.2f}×  [{timing.low:.2f}, {timing.high:.2f}]  {timing.pairs} pairs"
    yield Text.assemble(
        "  ", bar(timing.ratio, timing.low, timing.high, style), "  ", (timing.verdict, f"bold {style}")
    )
    yield Text(f"  {numbers}{_memory(timing)}")
    if timing.wall_ratio is not None:
        yield Text(
            f"  the wall clock says {timing.wall_ratio:.2f}×: it waits, or computes in several threads", "yellow"
        )
    yield Text("")


def summary(timing: Timing) -> str:
    """One workload in a few words.

    >>> summary(Timing(name="attention", title="", ratio=1.21, low=1.18, high=1.24, pairs=9, verdict=Speed.SLOWER))
    'attention 1.21× (slower)'
    """
    return f"{timing.name} {timing.ratio:.2f}× ({timing.verdict})" if timing.ratio else f"{timing.name} went wrong"


def bar(ratio: float, low: float, high: float, style: str) -> Text:
    """The interval as a line and the ratio as a mark, on a logarithmic scale with the reference in the middle."""
    first, mark, last = (_column(value) for value in (low, ratio, high))
    signs = ["·"] * WIDTH
    signs[WIDTH // 2] = "│"
    signs[first : last + 1] = ["━"] * (last - first + 1)
    signs[mark] = "●"
    text = Text("".join(signs))
    text.stylize(style, first, last + 1)
    return text


def _column(ratio: float) -> int:
    place = (math.log(ratio) / SPAN + 1) / 2
    return round(min(max(place, 0.0), 1.0) * (WIDTH - 1))


def _memory(timing: Timing) -> str:
    if timing.peak_mb is None or timing.reference_peak_mb is None:
        return ""
    return f"  peak {timing.peak_mb:.1f} MiB, reference {timing.reference_peak_mb:.1f} MiB"


def _next(benched: Benched) -> str:
    slug = benched.report.kata
    slow = any(timing.verdict is Speed.SLOWER for timing in benched.report.workloads)
    return f"kata check {slug}" if benched.failed else f"kata solution {slug}" if slow else f"kata debrief {slug}"
