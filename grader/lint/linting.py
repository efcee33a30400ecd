"""Linting a kata: its files are read first, and where they are whole, its programs tried.

Nothing of a kata runs in this process.
"""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from grader.bank import Catalogue, Kata
from grader.bank.questions import FILE
from grader.errors import BadKata, KataError
from grader.grading import Grader
from grader.lint import questions
from grader.lint.changes import changed_since
from grader.lint.laboratory import Laboratory
from grader.lint.reading import read
from grader.lint.report import FULL, LIGHT, QUICK, Effort, Figures, Finding, Report, Rule, Watcher
from grader.lint.trial import Trial


def lint(
    kata: Kata,
    grader: Grader,
    *,
    full: bool = False,
    catalogue: Catalogue | None = None,
    jobs: int = 2,
    watch: Watcher | None = None,
    effort: Effort | None = None,
) -> Report:
    """Everything that is wrong with a kata.

    `catalogue` knows which prerequisites exist; without it they are not looked at. `watch` is called from several
    threads, one at a time. `effort` takes the place of what `full` stands for. Raises nothing for what a kata does.
    """
    start = time.monotonic()
    found, figures = list(read(kata, catalogue)), Figures()
    if Rule.FILES not in {rule for rule, _ in found}:
        tried, figures = _tried(kata, grader, effort or (FULL if full else QUICK), jobs, watch)
        found += tried
    findings = tuple(Finding(rule, kata.slug, message) for rule, message in found)
    return Report(kata.slug, findings, replace(figures, seconds=time.monotonic() - start))


def lint_all(
    catalogue: Catalogue,
    grader: Grader,
    *,
    full: bool = False,
    since: str | None = None,
    jobs: int = 2,
    watch: Watcher | None = None,
) -> Iterator[Report]:
    """A report on each kata of the catalogue, as it is done; first what cannot be loaded, and banks' questions.

    Of katas that have not changed since the commit `since`, less is tried. Raises UsageError where git cannot tell.
    """
    banks = {kata.bank for kata in catalogue.katas}
    changed = None if since is None else {bank: changed_since(bank, since) for bank in banks}
    for folder, error in catalogue.broken:
        yield Report(folder.name, (Finding(Rule.MANIFEST, folder.name, str(error)),))
    for kata in catalogue.katas:
        grader.warm(kata.preload)
    for bank in filter(questions.has_any, catalogue.banks):
        yield _of_questions(bank, catalogue)
    for kata in catalogue.katas:
        effort = LIGHT if changed is not None and kata.slug not in changed[kata.bank] else None
        yield lint(kata, grader, full=full, catalogue=catalogue, jobs=jobs, watch=watch, effort=effort)


def _of_questions(bank: Path, catalogue: Catalogue) -> Report:
    start = time.monotonic()
    found, total = questions.of_bank(bank, catalogue)
    findings = tuple(Finding(Rule.QUESTIONS, FILE, message) for message in found)
    return Report(FILE, findings, Figures(questions=total, seconds=time.monotonic() - start))


def _tried(
    kata: Kata, grader: Grader, effort: Effort, jobs: int, watch: Watcher | None
) -> tuple[list[tuple[Rule, str]], Figures]:
    """What came out, also where it broke off."""
    found: list[tuple[Rule, str]] = []
    try:
        with Laboratory(grader.template(kata), jobs, watch) as laboratory:
            trial = Trial(kata, laboratory, effort)
            found += trial.run()
            return found, replace(trial.figures, grades=laboratory.done)
    except BadKata as error:
        return [(Rule.MISTAKES, str(error))], Figures()
    except KataError as error:
        return [*found, (Rule.JUDGE, f"it cannot be graded: {error}")], Figures()
