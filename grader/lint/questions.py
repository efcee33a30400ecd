"""The conceptual questions of a kata and of a bank: ids, topics, the katas they are tied to, and what they cover."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from grader.bank import Catalogue, Kata
from grader.bank import questions as bank_questions
from grader.bank.questions import FILE, KINDS, BankFile, Question, Topic
from grader.errors import BadKata


class Found(NamedTuple):
    """What is wrong with a bank's questions, and how many there are in all."""

    messages: list[str]
    total: int


def has_any(bank: Path) -> bool:
    """Whether the bank has a file of its own for questions."""
    return (bank / FILE).exists()


def of_one(kata: Kata, catalogue: Catalogue | None) -> Iterator[str]:
    """What is wrong with a kata's own questions; without a catalogue, nobody knows which katas there are."""
    try:
        own, shared = bank_questions.of_kata(kata).questions, bank_questions.of_bank(kata.bank)
    except BadKata as error:
        yield str(error)
        return
    where = str(kata.questions.relative_to(kata.bank))
    yield from _misplaced(where, own, shared.topics)
    if catalogue is not None:
        yield from _untied(where, own, catalogue)
    yield from _taken(where, own, {question.id: FILE for question in shared.questions})


def of_bank(bank: Path, catalogue: Catalogue) -> Found:
    """What is wrong with the bank's own questions, and with all of them together.

    What is wrong in a kata's file alone is told by that kata's report.
    """
    try:
        shared = bank_questions.of_bank(bank)
    except BadKata as error:
        return Found([str(error)], 0)
    messages = [*_misplaced(FILE, shared.questions, shared.topics), *_untied(FILE, shared.questions, catalogue)]
    every, homes = list(shared.questions), dict[str, str]()
    for where, own in _of_katas(bank, catalogue):
        messages += _taken(where, own, homes)
        homes |= {question.id: where for question in own}
        every += own
    return Found([*messages, *_lacking(shared, every)], len(every))


def _of_katas(bank: Path, catalogue: Catalogue) -> Iterator[tuple[str, tuple[Question, ...]]]:
    """The file and the questions of each kata of the bank that can be read."""
    for kata in (kata for kata in catalogue.katas if kata.bank == bank):
        try:
            own = bank_questions.of_kata(kata).questions
        except BadKata:
            continue
        yield str(kata.questions.relative_to(bank)), own


def _misplaced(where: str, questions: Iterable[Question], topics: Iterable[Topic]) -> Iterator[str]:
    pillars = {topic.id: topic.pillar for topic in topics}
    for question in questions:
        pillar = pillars.get(question.topic)
        if pillar is None:
            yield (
                f"{where}: {question.id} is on {question.topic!r}, which is no topic of the bank's {FILE}: "
                "declare it there, or correct it"
            )
        elif pillar != question.pillar:
            yield (
                f"{where}: {question.id} is of the pillar {question.pillar!r}, and its topic {question.topic!r} of "
                f"{pillar!r}: correct either"
            )


def _untied(where: str, questions: Iterable[Question], catalogue: Catalogue) -> Iterator[str]:
    known = {kata.slug for kata in catalogue.katas}
    for question in questions:
        for slug in question.katas:
            if slug not in known:
                yield f"{where}: {question.id} is tied to {slug!r}, which is no kata: correct it, or take it out"


def _taken(where: str, questions: Iterable[Question], homes: dict[str, str]) -> Iterator[str]:
    for question in questions:
        if question.id in homes:
            yield f"{where}: {question.id} is the id of a question of {homes[question.id]} too: rename one"


def _lacking(shared: BankFile, every: list[Question]) -> Iterator[str]:
    """What the bank promises and does not hold."""
    least = shared.coverage
    if len(every) < least.questions:
        yield f"{FILE}: the bank has {len(every)} of at least {least.questions} questions: write more"
    by_topic = Counter(question.topic for question in every)
    by_kind = Counter((question.topic, question.kind) for question in every)
    for topic in shared.topics:
        if by_topic[topic.id] < least.each_topic:
            yield f"{FILE}: {topic.id} has {by_topic[topic.id]} of at least {least.each_topic} questions: write more"
        for kind in KINDS:
            has = by_kind[topic.id, kind]
            if has < least.each_kind:
                yield f"{FILE}: {topic.id} has {has} of at least {least.each_kind} questions to {kind}: write more"
