"""The headed texts of a kata: hints.md by part and level, debrief.md by part. Splits at headings; renders nothing."""

from grader.bank.files import read_text
from grader.bank.kata import Kata
from grader.errors import BadKata


def hint_text(kata: Kata, part_id: str, level: int) -> str:
    """The Markdown of one hint; `level` is 1 (the idea), 2 (the steps) or 3 (nearly the code).

    Raises UsageError where the kata has no such part, BadKata where hints.md lacks the hint.
    """
    part = kata.part(part_id)
    levels = sections(sections(read_text(kata.hints), 2).get(part.id, ""), 3)
    text = levels.get(str(level), "")
    if not text:
        wanted = f"`### {level}` of `## {part.id}`"
        raise BadKata(f"{kata.hints}: no text under {wanted}; write it, then `kata lint {kata.slug}`")
    return text


def sections(text: str, depth: int) -> dict[str, str]:
    """What stands under each heading of `depth` (2 is `## `), by heading; a `#` inside a code fence is no heading.

    >>> sections("intro\\n## loss\\nSubtract.\\n## train\\nLoop.", 2)
    {'loss': 'Subtract.', 'train': 'Loop.'}
    """
    mark, fenced = "#" * depth + " ", False
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.split("\n"):
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
        if line.startswith(mark) and not fenced:
            lines = found.setdefault(line.removeprefix(mark).strip(), [])
        else:
            lines.append(line)
    return {heading: "\n".join(body).strip() for heading, body in found.items()}
