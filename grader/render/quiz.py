"""A quiz as a learner sees it: a question, its model answer with the rubric, and in the end how it went."""

from collections.abc import Iterator, Sequence

import msgspec
from rich.console import Group, RenderableType
from rich.text import Text

from grader.bank.questions import Question
from grader.practice.quiz import GOOD, STRONG, WEAK, Summary
from grader.printable import printable
from grader.render.layout import Items, labelled, plural

NAMES = {WEAK: "weak", GOOD: "good", STRONG: "strong"}
STYLES = {WEAK: "red", GOOD: "yellow", STRONG: "green"}
SHOWN_WEAK = 5
ANSWER = "your answer> "
RATING = "your rating, 1 to 3> "


def question_view(question: Question, number: int, total: int) -> RenderableType:
    """What is asked, under its number, pillar, topic and kind."""
    about = [Text(printable(word), "dim") for word in (question.pillar, question.topic, question.kind)]
    return Group(Items(about, Text(f"{number} of {total}  ", "bold")), "", *_paragraphs(question.text, "bold"), "")


def answer_view(question: Question) -> RenderableType:
    """Everything that the learner's own answer is held against."""
    levels = zip(NAMES.items(), question.rubric.levels, strict=True)
    rubric = ((f"{rating} {name}", Text(printable(text), STYLES[rating])) for (rating, name), text in levels)
    return Group("", labelled(_answer(question), width=10), "", labelled(rubric, width=10), "")


def summary_view(summary: Summary, seed: str) -> RenderableType:
    """How many were rated, which of them weak, under their topics, and what to type next."""
    counts = [Text(f"{summary.count(rating)} {name}", STYLES[rating]) for rating, name in NAMES.items()]
    lead = Text(f"{len(summary.rated)} of {plural(summary.asked, 'question')} rated  ", "bold")
    weak = [(question.topic, _first_line(question.text)) for question in summary.weak[:SHOWN_WEAK]]
    steps = Items([Text(printable(step), "bold cyan") for step in next_steps(summary)])
    return Group(Items([*counts, Text(f"seed {seed}", "dim")], lead), labelled([*weak, ("next", steps)]))


def next_steps(summary: Summary) -> list[str]:
    """The weak ones come first in the next quiz; a kata that puts one to use teaches more than to be asked again."""
    again = f"kata quiz --topic {summary.weak[0].topic}" if summary.weak else "kata quiz"
    katas = dict.fromkeys(slug for question in summary.weak for slug in question.katas)
    return [again, *(f"kata start {slug}" for slug in list(katas)[:1])]


def quiz_json(drawn: Sequence[Question], seed: str) -> str:
    """What `kata quiz --json` prints, without its line end."""
    return msgspec.json.encode({"seed": seed, "questions": drawn}).decode()


def _answer(question: Question) -> Iterator[tuple[str, RenderableType]]:
    yield "answer", Group(*_paragraphs(question.answer))
    if question.misconception:
        yield "often said", Group(*_paragraphs(question.misconception, "magenta"))
    sources = "\n".join(f"{printable(source.title)}  {printable(source.url)}" for source in question.sources)
    yield "sources", Text(sources, "dim")
    if question.katas:
        yield "katas", Text(", ".join(map(printable, question.katas)))


def _paragraphs(text: str, style: str = "") -> list[RenderableType]:
    return [Text(printable(line), style, overflow="fold") for line in text.split("\n")]


def _first_line(text: str) -> Text:
    return Text(printable(text), no_wrap=True, overflow="ellipsis")
