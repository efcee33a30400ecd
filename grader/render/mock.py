"""A mock interview as a learner sees it: brief, clock, ratings, score sheet."""

from collections.abc import Iterator, Mapping
from typing import Protocol

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from grader.bank import Kata
from grader.bank.questions import Question
from grader.mock.sheet import FROM, KataLine, QuestionLine, Sheet
from grader.mock.state import Phase, State
from grader.printable import printable
from grader.render.bench import summary
from grader.render.layout import Items, labelled, plural
from grader.render.quiz import NAMES, answer_view
from grader.timing import BenchReport
from grader.verdict import State as CheckState
from grader.verdict import Verdict

BAR = 40
SHOWN_FAILING = 6
WORDS = {
    Phase.DRAWN: "not begun",
    Phase.RUNNING: "running",
    Phase.PAUSED: "paused",
    Phase.OVER: "over, not closed yet",
    Phase.CLOSED: "closed",
}
GOOD, MIDDLING = 75, 40


class Files(Protocol):
    """Where the files of an interview are."""

    @property
    def katas(self) -> Mapping[str, Kata]: ...

    def path(self, slug: str) -> object: ...


def brief_view(state: State, katas: Mapping[str, Kata], keys: bool) -> RenderableType:
    """What is asked, where it is written, and the rules."""
    rows = [
        (kata.slug, Text(f"{kata.title}, {plural(len(kata.parts), 'part')}, planned for {kata.minutes} min"))
        for kata in katas.values()
    ]
    count = len(state.questions)
    rules = [
        f"The files are in {state.folder}; PROMPT.md beside each says all there is to know.",
        "Save as often as you like: each version is graded, and the last one before the bell counts.",
        "Hints and solutions are closed; of a hidden check you see its sentence, and whether it passes.",
        "The clock goes on when this terminal is closed. Pausing is possible, and recorded.",
    ]
    if count:
        rules.append(f"There are {plural(count, 'question')}, answered while the clock runs: about 3 min each.")
    lines: list[RenderableType] = [
        Items([Text(f"{state.limit / 60:g} min"), Text(f"seed {state.seed}", "dim")], Text("mock interview  ", "bold")),
        "",
        labelled(rows, indent=2),
        "",
        *(Text(printable(rule), overflow="fold") for rule in rules),
        "",
    ]
    return Group(*lines, Text("Return starts the clock, q leaves", "bold cyan") if keys else Text("The clock starts."))


def clock_view(state: State, number: int, files: Files, verdicts: Mapping[str, Verdict], notice: str) -> RenderableType:
    """The whole screen while it runs."""
    counting = state.counting
    lines: list[RenderableType] = [*_clock(state, number), ""]
    for slug in state.katas:
        versions = sum(version.kata == slug for version in state.versions)
        lines += [*_kata(slug, files, versions, counting[slug].sha256 if slug in counting else None, verdicts), ""]
    if state.questions:
        done = len(state.questions) - len(state.unanswered)
        lines += [Text(f"questions  {done} of {len(state.questions)} answered"), ""]
    lines.append(Text(printable(notice), "yellow"))
    pause = "continue" if state.phase is Phase.PAUSED else "pause"
    keys = (("a", "answer a question"), ("p", pause), ("f", "finish"), ("q", "leave; the clock goes on"))
    lines.append(Items([Text.assemble((key, "bold cyan"), f" {word}") for key, word in keys]))
    return Group(*lines)


def status_view(state: State, number: int) -> RenderableType:
    """One line on an interview, and what to type."""
    facts = [Text(f"{clock(state.left)} left of {clock(state.limit)}"), Text(", ".join(state.katas))]
    step = "kata report --last-mock" if state.phase is Phase.CLOSED else "kata mock resume"
    lead = Text(f"mock interview {number}  {WORDS[state.phase]}  ", "bold")
    return Group(Items(facts, lead), labelled([("next", Text(step, "bold cyan"))]))


def rating_view(question: Question, answer: str) -> RenderableType:
    """The question, what was answered, and what to hold it against."""
    return Group(
        Text(printable(question.text), "bold", overflow="fold"),
        "",
        labelled([("you said", Text(printable(answer), overflow="fold"))], width=10),
        answer_view(question),
        Text("your rating, 1 to 3; q leaves it for later", "bold cyan"),
    )


def sheet_view(sheet: Sheet, number: int, speeds: Mapping[str, BenchReport]) -> RenderableType:
    """The score sheet, with every number that the band is made of."""
    facts = [Text(f"{sheet.minutes:.0f} of {sheet.limit_minutes:g} min")]
    if sheet.pauses:
        facts.append(Text(f"{plural(sheet.pauses, 'pause')}, {sheet.paused_minutes:.0f} min", "yellow"))
    lead = Text.assemble(f"mock interview {number}  ", (f"{sheet.total}/100  {sheet.band}  ", _style(sheet.total)))
    lead.stylize("bold")
    lines: list[RenderableType] = [Items(facts, lead), ""]
    for line in sheet.katas:
        lines += [*_kata_line(line, speeds.get(line.slug)), ""]
    lines += [_question_line(line) for line in sheet.questions]
    bands = ", ".join(f"{band} from {least}" for least, band in FROM if least)
    rule = f"0.8 × mean of katas + 0.2 × mean of questions (weak 0, good 60, strong 100); {bands}"
    return Group(
        *lines,
        "",
        Text(rule, "dim", overflow="fold"),
        labelled([("next", Text("kata report --last-mock", "bold cyan"))]),
    )


def clock(seconds: float) -> str:
    """
    >>> clock(59.2), clock(3600)
    ('0:59', '60:00')
    """
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def _clock(state: State, number: int) -> Iterator[RenderableType]:
    part = state.elapsed / state.limit
    filled = min(BAR, round(BAR * part))
    style = "red" if part >= 0.8 else "yellow" if part >= 0.5 else "green"
    yield Text.assemble(
        (f"mock interview {number}  ", "bold"),
        (f"{clock(state.left)} left", f"bold {style}"),
        f" of {clock(state.limit)}",
    )
    yield Text.assemble(("━" * filled, style), ("━" * (BAR - filled), "dim"), f"  {WORDS[state.phase]}")


def _kata(
    slug: str, files: Files, versions: int, counting: str | None, verdicts: Mapping[str, Verdict]
) -> Iterator[RenderableType]:
    verdict = verdicts.get(slug)
    score = f"{verdict.score}/{verdict.max_score}" if verdict else "no verdict yet"
    busy = "  checking…" if counting is not None and (verdict is None or verdict.attempt.sha256 != counting) else ""
    yield Text.assemble((slug, "bold"), f"  {score}  {plural(versions, 'version')}", (busy, "cyan"))
    yield Text(f"  {printable(str(files.path(slug)))}", "dim", overflow="fold")
    if verdict is None:
        return
    yield Text("  " + "  ".join(f"{part.id} {part.score}/{part.max}" for part in verdict.parts), overflow="fold")
    failing = [check for check in verdict.checks if check.state not in (CheckState.PASSED, CheckState.WAITING)]
    for check in failing[:SHOWN_FAILING]:
        yield Text.assemble("  ", ("✗ ", "red"), printable(check.title), overflow="fold")
    if len(failing) > SHOWN_FAILING:
        yield Text(f"  and {plural(len(failing) - SHOWN_FAILING, 'check')} more", "dim")


def _kata_line(line: KataLine, speed: BenchReport | None) -> Iterator[RenderableType]:
    yield Text.assemble((line.slug, "bold"), f"  {line.score}/{line.max}  {plural(line.versions, 'version')}")
    table = Table.grid(padding=(0, 2, 0, 0))
    for part in line.parts:
        when = f"complete after {part.minutes:.0f} min" if part.minutes is not None else "not complete"
        table.add_row(Text(f"  {part.id}"), Text(f"{part.score}/{part.max}"), Text(when, "dim"))
    yield table
    if line.mistakes:
        yield Text(f"  looked like: {', '.join(name.replace('_', ' ') for name in line.mistakes)}", "dim")
    if speed:
        yield Text(f"  time as a ratio to the reference: {', '.join(map(summary, speed.workloads))}", "dim")


def _question_line(line: QuestionLine) -> RenderableType:
    told = NAMES[line.rating] if line.rating else "not rated" if line.answer else "unanswered"
    return Text.assemble("question  ", (printable(line.id), "bold"), f"  {told}, {line.points} points")


def _style(total: int) -> str:
    return "green" if total >= GOOD else "yellow" if total >= MIDDLING else "red"
