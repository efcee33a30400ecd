"""hints.md and debrief.md: whether every part has its own."""

from collections.abc import Iterator

from grader.bank import Kata, hint_text, sections
from grader.bank.files import read_text
from grader.errors import BadKata

LEVELS = (1, 2, 3)
FOLLOW_UP = "Follow-up questions"


def hints(kata: Kata) -> Iterator[str]:
    for part in kata.parts:
        for level in LEVELS:
            try:
                hint_text(kata, part.id, level)
            except BadKata:
                yield f"hints.md has no text under `## {part.id}`, `### {level}`: write that level"
    for heading in sections(read_text(kata.hints), 2).keys() - {part.id for part in kata.parts}:
        yield f"hints.md: `## {heading}` is no part of kata.toml: name the part's id, or remove it"


def debrief(kata: Kata) -> Iterator[str]:
    told = sections(read_text(kata.debrief), 2)
    for heading in (*(part.id for part in kata.parts), FOLLOW_UP):
        if not told.get(heading):
            yield f"debrief.md has no text under `## {heading}`: write it"
