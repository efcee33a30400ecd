"""Gathering a report from catalogue and history. Reads only."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from statistics import mean

from grader.bank import Kata
from grader.bank.questions import Questions
from grader.errors import UsageError
from grader.history import Event
from grader.mock.interview import newest
from grader.mock.sheet import FROM, KataLine, sheet
from grader.mock.state import Phase, State
from grader.practice.check import bench_of, last_bench
from grader.practice.due import due
from grader.practice.learner import Learner
from grader.practice.progress import Row, next_kata, rows
from grader.report.data import Answer, Check, KataPart, Line, Mastery, Part, Point, Report, Speed, day
from grader.timing import BenchReport
from grader.verdict import State as CheckState
from grader.verdict import Verdict

RULE = (
    "total = 0.8 × mean of the katas' scores + 0.2 × mean of the questions (weak or unanswered 0, good 60, "
    "strong 100), or the one of them that there is, rounded down; "
    + ", ".join(f"{band} from {least}" for least, band in FROM)
)


def progress_report(learner: Learner) -> Report:
    """How practice goes, over all katas."""
    every = rows(learner)
    dues = {one.kata.slug: one.when for one in due(learner)}
    lines = [
        Line(
            row.kata.slug,
            row.kata.title,
            row.kata.track,
            row.kata.priority,
            row.standing.state.value,
            row.standing.best,
            dues.get(row.kata.slug),
        )
        for row in every
    ]
    passed = sum(line.state == "passed" for line in lines)
    following = next_kata(learner, ())
    late = [slug for slug, when in dues.items() if when <= learner.now()]
    return Report(
        kind="progress",
        title="Progress",
        made=learner.now(),
        headline=f"{passed} of {len(lines)} katas passed, {len(late)} due",
        lines=lines,
        days=_days(learner, every),
        mastery=[*_tracks(every), *_pillars(learner)],
        next=[*(f"kata reset {slug}" for slug in late[:3]), *([f"kata start {following.slug}"] if following else [])],
    )


def kata_report(learner: Learner, kata: Kata) -> Report:
    """One kata: score over time, parts, checks, speed. Raises UsageError where it was never checked."""
    verdict = learner.history.last_verdict(kata.slug)
    if verdict is None:
        raise UsageError(f"{kata.slug} was never checked: `kata check {kata.slug}` grades it")
    runs = [run for run in reversed(learner.history.runs(kata.slug)) if run.score is not None and not run.selected]
    mistakes = [check.mistake.advice for check in verdict.checks if check.mistake]
    part = KataPart(
        slug=kata.slug,
        title=kata.title,
        score=verdict.score,
        max=verdict.max_score,
        versions=len(runs),
        hints=_hints(learner, kata),
        parts=_parts(kata, verdict),
        checks=_checks(verdict),
        mistakes=mistakes,
        points=[Point(run.when, run.score or 0, f"version {run.n}") for run in runs],
        speeds=_speeds(last_bench(learner.history, kata.slug)),
    )
    step = f"kata debrief {kata.slug}" if verdict.passed else f"kata hint {kata.slug}"
    return Report(
        kind="kata",
        title=kata.title,
        made=learner.now(),
        headline=f"{verdict.score}/{verdict.max_score} at the last check",
        katas=[part],
        next=[step],
    )


def mock_report(learner: Learner) -> Report:
    """The newest mock interview. Raises UsageError where there is none that is over."""
    interview = newest(learner.history)
    if interview is None:
        raise UsageError("there was no mock interview yet: `kata mock` begins one")
    state = interview.look()
    if state.phase is not Phase.CLOSED:
        raise UsageError(f"mock interview {interview.number} is not done: `kata mock resume` goes on with it")
    scored = sheet(state)
    bank = {question.id: question for question in Questions.load(learner.catalogue).all}
    answers = [
        Answer(
            bank[line.id].text if line.id in bank else line.id,
            line.answer,
            bank[line.id].answer if line.id in bank else "",
            line.rating,
            line.points,
        )
        for line in scored.questions
    ]
    pauses = f", paused for {scored.paused_minutes:.0f} min in all" if scored.pauses else ""
    return Report(
        kind="mock",
        title=f"Mock interview {interview.number}",
        made=learner.now(),
        headline=f"{scored.total}/100, {scored.band}; {scored.minutes:.0f} of {scored.limit_minutes:g} min{pauses}",
        katas=[_asked(learner, state, line) for line in scored.katas],
        questions=answers,
        rule=RULE,
        next=_after(scored.katas),
    )


def _asked(learner: Learner, state: State, line: KataLine) -> KataPart:
    kata, counting = learner.catalogue.get(line.slug), state.counting.get(line.slug)
    titles = {part.id: part.title for part in kata.parts}
    graded = [version for version in state.versions if version.kata == line.slug and version.sha256 in state.grades]
    points = [
        Point(version.elapsed / 60, state.grades[version.sha256].score, f"version {number}")
        for number, version in enumerate(graded, 1)
    ]
    advice = [mistake.replace("_", " ") for mistake in line.mistakes]
    return KataPart(
        slug=line.slug,
        title=kata.title,
        score=line.score,
        max=line.max,
        versions=line.versions,
        hints=0,
        parts=[Part(part.id, titles.get(part.id, part.id), part.score, part.max, part.minutes) for part in line.parts],
        mistakes=advice,
        points=points,
        speeds=_speeds(bench_of(learner.history, line.slug, counting.sha256) if counting else None),
    )


def _after(katas: Iterable[KataLine]) -> list[str]:
    weak = [line.slug for line in katas if line.score < line.max]
    return [f"kata start {slug}" for slug in weak] or ["kata mock"]


def _days(learner: Learner, every: Iterable[Row]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for row in every:
        for run in learner.history.runs(row.kata.slug):
            if run.score is not None:
                found[day(run.when)] += 1
    return dict(sorted(found.items()))


def _tracks(every: Iterable[Row]) -> list[Mastery]:
    scores: dict[str, list[int]] = defaultdict(list)
    for row in every:
        scores[row.kata.track].append(row.standing.best or 0)
    return [
        Mastery(track, round(mean(found)), f"mean of the best scores of {len(found)} katas")
        for track, found in scores.items()
    ]


def _pillars(learner: Learner) -> list[Mastery]:
    """Of questions that were ever rated: good counts a half, strong the whole."""
    ratings = learner.history.ratings()
    found: dict[str, list[int]] = defaultdict(list)
    for question in Questions.load(learner.catalogue).all:
        if question.id in ratings:
            found[question.pillar].append((ratings[question.id] - 1) * 50)
    return [
        Mastery(f"questions: {pillar}", round(mean(points)), f"{len(points)} questions rated")
        for pillar, points in found.items()
    ]


def _parts(kata: Kata, verdict: Verdict) -> list[Part]:
    return [Part(part.id, kata.part(part.id).title, part.score, part.max) for part in verdict.parts]


def _checks(verdict: Verdict) -> list[Check]:
    return [
        Check(check.title, check.part, check.state.value, check.points, check.message, check.output)
        for check in verdict.checks
        if check.state is not CheckState.NOT_SELECTED
    ]


def _speeds(report: BenchReport | None) -> list[Speed]:
    return [
        Speed(timing.name, timing.ratio, timing.low, timing.high, timing.verdict.value)
        for timing in (report.workloads if report else ())
        if timing.ratio is not None and timing.low is not None and timing.high is not None
    ]


def _hints(learner: Learner, kata: Kata) -> int:
    return len({(data["part"], data["level"]) for _, data in learner.history.events(kata.slug, Event.HINT)})
