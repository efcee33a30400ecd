"""The terminal's side of a mock interview: brief, clock, questions, bell, ratings, score sheet."""

import queue
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial

from grader.bank import Kata
from grader.bank.questions import Question
from grader.cli.keys import Keys
from grader.cli.session import Session
from grader.errors import KataError
from grader.grading import Grader, Options
from grader.history import Outrun
from grader.mock.events import Answered, Begun, Closed, Continued, Finished, Paused, Rated
from grader.mock.running import Desk
from grader.mock.sheet import sheet
from grader.mock.state import WARNINGS, Impossible, Phase
from grader.practice.bench import measure
from grader.practice.check import bench_of
from grader.practice.saves import Saves
from grader.render.mock import brief_view, clock_view, rating_view, sheet_view
from grader.render.quiz import question_view
from grader.timing import BenchReport
from grader.verdict import Verdict
from grader.workspace import Attempt

TICK_SECONDS = 0.5
HOME, TO_LINE_END, TO_SCREEN_END, BELL = "\x1b[H", "\x1b[K", "\x1b[J", "\a"
ENTER, BACKSPACE = ("\n", "\r"), ("\x7f", "\b")

Happening = tuple[str, object]
"""What the loop waits for: ("key", a key), ("saved", a slug), ("graded", a verdict or what went wrong)."""


class Room:
    """One terminal that drives one interview, until it is over or the learner leaves."""

    def __init__(self, session: Session, grader: Grader, desk: Desk, questions: Mapping[str, Question]) -> None:
        self.session, self.screen = session, session.screen
        self.grader, self.desk, self.interview, self.questions = grader, desk, desk.interview, questions
        self.happenings: queue.SimpleQueue[Happening] = queue.SimpleQueue()
        self.keys = Keys(session.screen.answers, lambda key: self.happenings.put(("key", key)))
        self.pool = ThreadPoolExecutor(1)
        self.verdicts: dict[str, Verdict] = {}
        """The newest of each kata."""
        self.grading: set[str] = set()
        self.warned = 0
        self.notice = ""

    def enter(self) -> None:
        """From wherever the interview stands to its score sheet, or until the learner leaves."""
        self.interview.open()
        try:
            with self.keys, self.pool:
                if not self._work():
                    return
                self._settle()
                if not self._rate():
                    return
        except Outrun as error:
            self.screen.warn(error)
            return
        if self.interview.state.phase is Phase.OVER:
            self.interview.do(Closed())
        self.screen.show(sheet_view(sheet(self.interview.state), self.interview.number, self._speeds()))

    # ---- while the clock runs

    def _work(self) -> bool:
        """Whether it is over now; False where the learner has left."""
        if self.interview.state.phase is Phase.DRAWN and not self._begin():
            return False
        self._take_in()
        with ExitStack() as stack:
            for slug in self.desk.katas:
                tell = partial(self.happenings.put, ("saved", slug))
                stack.enter_context(Saves(self.desk.path(slug), tell))
            while not self.interview.look().over:
                self._draw()
                what, value = self._next()
                if (what, value) == ("key", "q"):
                    self._leave()
                    return False
                self._happened(what, value)
        self._take_in()
        self.screen.raw(BELL if self.screen.tty else "")
        return True

    def _begin(self) -> bool:
        self.screen.show(brief_view(self.interview.state, self.desk.katas, self.keys.on))
        while self.keys.on:
            what, key = self.happenings.get()
            if (what, key) == ("key", "q"):
                self.screen.say("the clock does not run yet; next: kata mock resume")
                return False
            if what == "key" and key in ENTER:
                break
        self.interview.do(Begun())
        return True

    def _next(self) -> Happening:
        try:
            return self.happenings.get(timeout=TICK_SECONDS)
        except queue.Empty:
            return "tick", None

    def _happened(self, what: str, value: object) -> None:
        try:
            if what == "saved":
                self._take_in()
            elif what == "graded":
                self._graded(value)
            elif what == "key" and value == "p":
                paused = self.interview.state.phase is Phase.PAUSED
                self.interview.do(Continued() if paused else Paused())
                self._take_in()
            elif what == "key" and value == "a":
                self._answer()
            elif what == "key" and value == "f":
                self._finish()
        except Impossible as impossible:
            self.notice = str(impossible)

    def _take_in(self) -> None:
        """Versions that are new, handed to the grader's thread; another time those that an earlier terminal showed."""
        self.desk.look_at_all()
        state = self.interview.state
        wanted = list(state.ungraded)
        if not state.over:
            wanted += state.counting.values()
        for version in wanted:
            if version.sha256 not in self.grading:
                self.grading.add(version.sha256)
                self.pool.submit(self._grade, version.kata, self.desk.attempt(version))

    def _grade(self, slug: str, attempt: Attempt) -> None:
        """In the grader's thread."""
        try:
            self.happenings.put(("graded", self.desk.grade(self.grader, slug, attempt)))
        except Exception as error:
            self.happenings.put(("graded", error))

    def _graded(self, outcome: object) -> None:
        if isinstance(outcome, Verdict):
            self.verdicts[outcome.kata] = outcome
            if outcome.attempt.sha256 not in self.interview.state.grades:
                self.desk.note(outcome)
        else:
            self.notice = str(outcome)

    def _finish(self) -> None:
        if self._line("finish now, before the bell? Type yes, then Return") == "yes":
            self._take_in()
            self.interview.do(Finished())

    def _leave(self) -> None:
        self._take_in()
        clock = "stands" if self.interview.state.phase is Phase.PAUSED else "goes on"
        self.screen.say(f"the clock {clock}; next: kata mock resume")

    def _answer(self) -> None:
        """Ask the next question that has no answer yet."""
        unanswered = self.interview.state.unanswered
        if not unanswered:
            self.notice = "every question has its answer"
            return
        number = len(self.interview.state.questions) - len(unanswered) + 1
        asked = self.questions.get(unanswered[0])
        if asked is None:
            self.interview.do(Answered(unanswered[0], ""))
            return
        self._clear()
        self.screen.show(question_view(asked, number, len(self.interview.state.questions)))
        answer = self._line("your answer; Return ends it")
        if answer is not None:
            self.interview.do(Answered(asked.id, answer))

    def _line(self, prompt: str) -> str | None:
        """A line typed while the clock goes on and saves are seen; None when the bell came first."""
        self.screen.raw(f"{prompt}> ")
        typed = ""
        while not self.interview.look().over:
            what, value = self._next()
            if what != "key":
                self._happened(what, value)
            elif value in ENTER:
                return typed.strip()
            elif value in BACKSPACE:
                typed = typed[:-1]
                self.screen.raw("\b \b")
            elif isinstance(value, str) and value.isprintable():
                typed += value
                self.screen.raw(value)
        return None

    # ---- after the bell

    def _settle(self) -> None:
        """Wait for what is being graded, and grade what still counts."""
        self._clear()
        self.screen.say("The time is over. What you saved last is being graded.")
        self.pool.shutdown()
        while not self.happenings.empty():
            what, value = self.happenings.get()
            if what == "graded":
                self._graded(value)
        self.desk.settle(self.grader)

    def _rate(self) -> bool:
        """Every answer held against the rubric; False where nobody rates."""
        for id in self.interview.state.unrated:
            question = self.questions.get(id)
            rating = 1 if question is None else self._rating(question, self.interview.state.answers[id])
            if rating is None:
                self.screen.say("your answers wait for your own rating; next: kata mock resume")
                return False
            self.interview.do(Rated(id, rating))
            self.desk.history.record_answer(id, self.interview.state.answers[id], rating, context="mock")
        return True

    def _rating(self, question: Question, answer: str) -> int | None:
        self._clear()
        self.screen.show(rating_view(question, answer))
        while self.keys.on:
            what, key = self.happenings.get()
            if what == "key" and key in ("1", "2", "3"):
                return int(str(key))
            if (what, key) == ("key", "q"):
                return None
        return None

    def _speeds(self) -> dict[str, BenchReport]:
        """How fast what is complete is, by kata. What cannot be timed costs nobody the score sheet."""
        found = {}
        for kata, attempt in self.desk.complete():
            if not kata.benches.exists():
                continue
            try:
                found[kata.slug] = self._speed(kata, attempt)
            except KataError as error:
                self.screen.warn(error)
        return found

    def _speed(self, kata: Kata, attempt: Attempt) -> BenchReport:
        """Measured where it is not known yet."""
        history = self.desk.history
        known = bench_of(history, kata.slug, attempt.sha256)
        if known is None:
            self.screen.say(f"timing {kata.slug} against the reference")
        return known or measure(history, kata, attempt, self.grader, Options()).report

    # ---- the screen

    def _draw(self) -> None:
        """A terminal is drawn over, a pipe is told the warnings."""
        state = self.interview.look()
        due = sum(state.elapsed >= part * state.limit for part in WARNINGS[:-1])
        if due > self.warned:
            self.warned = due
            self.notice = f"{WARNINGS[due - 1]:.0%} of the time is over"
            self.screen.raw(BELL if self.screen.tty else f"{self.notice}\n")
        if self.screen.tty:
            lines = self.screen.rendered(
                clock_view(state, self.interview.number, self.desk, self.verdicts, self.notice)
            )
            self.screen.raw(HOME + "".join(f"{line}{TO_LINE_END}\n" for line in lines) + TO_SCREEN_END)

    def _clear(self) -> None:
        self.screen.raw(HOME + TO_SCREEN_END if self.screen.tty else "")
