"""What `kata lint` found."""

from rich.console import Group, RenderableType
from rich.text import Text

from grader.lint import Figures, Report
from grader.printable import printable
from grader.render.layout import Items, labelled, plural


def report_view(report: Report) -> RenderableType:
    """A line for a kata that is well, else one for each thing that is not."""
    mark = Text("✓ ", "green") if report.passed else Text("✗ ", "red")
    head = Items(_figures(report), Text.assemble(mark, (report.kata, "bold"), "  "))
    return Group(head, labelled(((f.rule.value, Text(printable(f.message))) for f in report.findings), indent=2))


def _figures(report: Report) -> list[Text]:
    figures: Figures = report.figures
    counted = {
        "finding": len(report.findings),
        "check": figures.checks,
        "alternative": figures.alternatives,
        "mistake": figures.mistakes,
        "impostor": figures.impostors,
        "seed": figures.seeds,
        "grade": figures.grades,
        "question": figures.questions,
    }
    told = [Text(plural(count, noun), "red" if noun == "finding" else "") for noun, count in counted.items() if count]
    return [*told, Text(f"{figures.seconds:.0f} s")]
