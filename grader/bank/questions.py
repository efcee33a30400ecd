"""Conceptual questions: questions.toml of a bank and of its katas → frozen types. Draws and asks nothing.

A bank's own file also declares its topics and how many questions each needs; a kata's file holds questions that belong
to that kata. A text is plain: a line break in it is a space, an empty line begins a paragraph.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, TypeVar

from msgspec import Meta, Struct
from msgspec.structs import replace

from grader.bank.catalogue import Catalogue
from grader.bank.kata import Kata
from grader.bank.tables import Url, read_table, refusal
from grader.errors import BadKata

FORMAT = 1
FILE = "questions.toml"
KINDS = ("recall", "derive", "judge")

Id = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*\Z")]
Text = Annotated[str, Meta(pattern=r"\S")]
Kind = Annotated[str, Meta(pattern=r"^(recall|derive|judge)\Z")]
Least = Annotated[int, Meta(ge=0, le=10_000)]


class Rubric(Struct, frozen=True, forbid_unknown_fields=True):
    """What an answer of each level holds: a sentence each, that learners can hold their own answer against."""

    weak: Text
    good: Text
    strong: Text

    @property
    def levels(self) -> tuple[str, str, str]:
        """By rating, 1 to 3."""
        return self.weak, self.good, self.strong


class Source(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the answer can be checked."""

    title: Text
    url: Url


class Question(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One question with its model answer."""

    id: Id
    pillar: Id
    topic: Id
    kind: Kind
    """`recall` a fact, `derive` a formula or a number, or `judge` a trade-off or a claim."""
    text: Text
    answer: Text
    misconception: str = ""
    """The common wrong answer, said to be wrong and why; empty where none is common."""
    rubric: Rubric
    sources: Annotated[tuple[Source, ...], Meta(min_length=1)]
    katas: tuple[Id, ...] = ()
    """Slugs of katas in which the answer is put to use."""


class Topic(Struct, frozen=True, forbid_unknown_fields=True):
    """What questions are about; its pillar is the larger part of the field."""

    id: Id
    pillar: Id
    title: Text


class Coverage(Struct, frozen=True, forbid_unknown_fields=True):
    """How many questions a bank promises at least; lint holds it to that."""

    questions: Least = 0
    each_topic: Least = 0
    each_kind: Least = 0
    """Of every kind in each topic."""


class KataFile(Struct, frozen=True, forbid_unknown_fields=True):
    """solutions/<slug>/questions.toml."""

    format: int
    questions: tuple[Question, ...] = ()


class BankFile(Struct, frozen=True, forbid_unknown_fields=True):
    """questions.toml in the root of a bank. Topics come in the order to learn them."""

    format: int
    coverage: Coverage = Coverage()
    topics: tuple[Topic, ...] = ()
    questions: tuple[Question, ...] = ()


File = TypeVar("File", BankFile, KataFile)
TABLES = (Question, Rubric, Source, Topic, Coverage)


@dataclass(frozen=True, slots=True)
class Questions:
    """The questions of all banks at hand, and which of their files cannot be used."""

    all: tuple[Question, ...]
    """Those of the banks first, then those of their katas."""
    broken: tuple[BadKata, ...] = ()

    @classmethod
    def load(cls, catalogue: Catalogue) -> "Questions":
        """What the banks of the catalogue and its katas hold; of an id that is there twice, the first."""
        found: dict[str, Question] = {}
        broken: list[BadKata] = []
        files: list[Callable[[], BankFile | KataFile]] = [partial(of_bank, bank) for bank in catalogue.banks]
        files += [partial(of_kata, kata) for kata in catalogue.katas]
        for read in files:
            try:
                file = read()
            except BadKata as error:
                broken.append(error)
                continue
            found |= {question.id: question for question in file.questions if question.id not in found}
        return cls(tuple(found.values()), tuple(broken))


def of_bank(bank: Path) -> BankFile:
    """The bank's own file, empty where it has none. Raises BadKata."""
    file = bank / FILE
    if not file.exists():
        return BankFile(format=FORMAT)
    found = _read(file, BankFile, "kata lint")
    _refuse_twice(file, "topics", [topic.id for topic in found.topics], "kata lint")
    return found


def of_kata(kata: Kata) -> KataFile:
    """The kata's own questions, tied to it; none where it has no such file. Raises BadKata."""
    if not kata.questions.exists():
        return KataFile(format=FORMAT)
    found = _read(kata.questions, KataFile, f"kata lint {kata.slug}")
    tied = (replace(one, katas=tuple(dict.fromkeys((kata.slug, *one.katas)))) for one in found.questions)
    return replace(found, questions=tuple(tied))


def _read(file: Path, kind: type[File], then: str) -> File:
    found = read_table(file, kind, *TABLES, format=FORMAT, then=then)
    _refuse_twice(file, "questions", [question.id for question in found.questions], then)
    return replace(found, questions=tuple(map(_unfolded, found.questions)))


def _refuse_twice(file: Path, table: str, ids: Sequence[str], then: str) -> None:
    for index, id in enumerate(ids):
        if id in ids[:index]:
            raise refusal(file, f"{table}[{index}].id", f"{id!r} is the id of {table}[{ids.index(id)}] too", then)


def _unfolded(question: Question) -> Question:
    """Every text with its paragraphs in a line each, whatever its line breaks in the file."""
    rubric = Rubric(*map(_paragraphs, question.rubric.levels))
    text, answer, misconception = map(_paragraphs, (question.text, question.answer, question.misconception))
    return replace(question, text=text, answer=answer, misconception=misconception, rubric=rubric)


def _paragraphs(text: str) -> str:
    r"""
    >>> _paragraphs("\none\n  line\n\nanother\n")
    'one line\n\nanother'
    """
    found = (" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
    return "\n\n".join(filter(None, found))
