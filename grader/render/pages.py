"""Longer texts: Markdown, source and differences. Their libraries are heavy, so only what shows them imports this."""

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.markdown import Markdown
from rich.syntax import Syntax
from rich.text import Text

from grader.practice.lessons import LEVELS, Hint
from grader.printable import printable

THEME = "ansi_dark"
"""The terminal's own colours, so that it can be read on a light ground too."""
DIFF_STYLES = {"+": "green", "-": "red", "@": "cyan"}


def markdown(text: str) -> RenderableType:
    return Markdown(text, code_theme=THEME, hyperlinks=False)


def source(text: str) -> RenderableType:
    return Syntax(text, "python", theme=THEME, word_wrap=True)


def hint_text(hint: Hint) -> str:
    """Markdown: every level seen so far, under headings that say which."""
    titles = [f"## {hint.kata.slug}, {hint.part.title}: hint {level} of {LEVELS}" for level in range(1, hint.level + 1)]
    return "\n\n".join(f"{title}\n\n{text}" for title, text in zip(titles, hint.texts, strict=True)) + "\n"


def difference_text(lines: Iterable[str]) -> str:
    """One's own code may hold anything, so it is escaped for a pipe too."""
    shown = [printable(line.expandtabs(4)) for line in lines] or ["your attempt is the solution, line for line"]
    return "\n".join(shown) + "\n"


def difference(text: str) -> RenderableType:
    return Group(*(Text(line, DIFF_STYLES.get(line[:1], ""), overflow="fold") for line in text.splitlines()))
