"""What can be seen of a kata by reading its files: none of them is run."""

from grader.bank import Catalogue, Kata
from grader.bank.files import read_text
from grader.lint import checklist, folders, names, questions, texts
from grader.lint.interface import differences, read_interface
from grader.lint.report import Rule
from grader.lint.setting import Told, told


def read(kata: Kata, catalogue: Catalogue | None) -> Told:
    """What is wrong with the files as texts. What the rest builds on comes first, and alone where it is missing."""
    lacking = [*folders.missing(kata), *folders.unreadable(kata)]
    if lacking:
        yield from told(Rule.FILES, lacking)
        return
    stub, reference = (read_interface(read_text(path)) for path in (kata.stub, kata.reference))
    yield from told(Rule.STRAY, folders.unexpected(kata))
    yield from told(Rule.TODO, folders.unfinished(kata))
    yield from told(Rule.NAMES, [*names.shadowing(kata), *names.reserved(stub)])
    if catalogue is not None:
        yield from told(Rule.MANIFEST, names.unknown_prerequisites(kata, catalogue))
    yield from told(Rule.TEXTS, [*texts.hints(kata), *texts.debrief(kata)])
    yield from told(Rule.QUESTIONS, questions.of_one(kata, catalogue))
    yield from told(Rule.SIGNATURES, differences(stub, reference))
    yield from told(Rule.CHECKS, checklist.misnamed(read_text(kata.checks)))
    yield from told(Rule.ALTERNATIVES, folders.few_alternatives(kata))
