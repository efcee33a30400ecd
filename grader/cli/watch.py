"""The command people live in: watch. Save, and the verdict is there."""

import queue
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from grader import workspace
from grader.bank import Kata as BankKata
from grader.cli.judge import check_options, counting
from grader.cli.keys import Keys
from grader.cli.options import Isolation, Kata
from grader.cli.session import Session
from grader.errors import BadAttempt, KataError
from grader.grading import Grader
from grader.practice import check as checking
from grader.practice import folder, lessons
from grader.practice.progress import next_kata
from grader.practice.saves import Saves
from grader.render import pages
from grader.render.verdict import verdict_view
from grader.render.watch import View, keys_line, watched_line
from grader.workspace import read_attempt

SAVED = ""
"""What stands in the queue of keys for a save."""
CLEAR = "\x1b[2J\x1b[3J\x1b[H"


def watch(
    context: typer.Context,
    kata: Kata = None,
    poll: Annotated[bool, typer.Option("--poll", help="Look again and again: for network file systems.")] = False,
    isolation: Isolation = "auto",
) -> None:
    """Grade on every save, until q.

    The verdict of what is there comes first. Ends with 0.
    """
    session: Session = context.obj
    session.warn(session.learner.forgive_history())
    chosen = session.learner.kata(kata)
    with session.grading(isolation) as grader:
        Watch(session, grader, poll=poll).run(chosen)


class Watch:
    """One terminal that shows the verdict of one file at a time."""

    def __init__(self, session: Session, grader: Grader, *, poll: bool) -> None:
        self.session, self.grader, self.poll = session, grader, poll
        self.learner, self.screen = session.learner, session.screen
        self.events: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.keys = Keys(session.screen.answers, self.events.put)
        self.outcome: checking.Outcome | None = None
        self.expand_all = False
        self.graded: str | None = None
        """Digest of what was graded last."""

    def run(self, kata: BankKata | None) -> None:
        """Watch that kata, then the ones that the learner goes on to, until there is none."""
        with self.keys:
            while kata is not None:
                kata = self._watch(kata)

    def _watch(self, kata: BankKata) -> BankKata | None:
        """The kata to go on with; None at the end."""
        self.kata, self.path = kata, self.learner.attempt(kata)
        self.graded, self.outcome = None, None
        with Saves(self.path, lambda: self.events.put(SAVED), poll=self.poll):
            self._check()
            while (event := self.events.get()) != "q":
                if event == SAVED:
                    self._saved()
                elif event == "n":
                    following = self._next()
                    if following is not None:
                        return following
                elif event in self._actions():
                    self._told(self._actions()[event])
        return None

    def _actions(self) -> dict[str, Callable[[], None]]:
        return {
            "h": self._hint,
            "a": self._all,
            "r": self._check,
            "d": lambda: self._page(
                pages.difference_text(lessons.difference(self.learner, self.kata)), pages.difference
            ),
            "s": lambda: self._page(lessons.solution(self.learner, self.kata), pages.source),
            "x": self._reset,
        }

    def _told(self, action: Callable[[], None]) -> None:
        try:
            action()
        except KataError as error:
            self.screen.warn(error)

    def _saved(self) -> None:
        """Grade what is there, if it is there and is something else: editors write twice, or delete first."""
        try:
            changed = read_attempt(self.path).sha256 != self.graded
        except BadAttempt as error:
            self.graded = None
            self.screen.warn(error)
            return
        if changed:
            self._check()

    def _check(self) -> None:
        """Grade, then show; what is typed meanwhile is dropped."""
        ticker = self.session.ticker
        ticker.begin()
        try:
            outcome = checking.check(
                self.learner,
                self.kata,
                self.path,
                self.grader,
                check_options(None, None, "cpu", None),
                counting(ticker),
            )
        except KataError as error:
            ticker.clear()
            self.screen.warn(error)
            return
        ticker.clear()
        self.outcome, self.graded = outcome, outcome.verdict.attempt.sha256
        self._forget_keys()
        self._show()

    def _show(self) -> None:
        if self.outcome is not None:
            self._draw(verdict_view(self.outcome, expand_all=self.expand_all, compact=True))

    def _draw(self, *views: View) -> None:
        """A terminal shows the newest alone; a pipe one after the other."""
        if self.screen.tty:
            self.screen.raw(CLEAR)
        self.screen.show(*views)
        self.screen.show(keys_line(self.keys.on), watched_line(self.learner.nearby(self.path)))

    def _page(self, text: str, laid_out: Callable[[str], View]) -> None:
        self._draw(laid_out(text))

    def _hint(self) -> None:
        self._page(pages.hint_text(lessons.next_hint(self.learner, self.kata, None)), pages.markdown)

    def _all(self) -> None:
        self.expand_all = not self.expand_all
        self._show()

    def _reset(self) -> None:
        self.screen.raw(f"Put the stub in place of {self.path.name}? The history keeps what is there. [y/N] ")
        answer = self._next_key()
        self.screen.raw("\n")
        if answer in ("y", "Y"):
            folder.reset(self.learner, self.kata)  # and the save that this is has it graded

    def _next(self) -> BankKata | None:
        following = next_kata(self.learner, [self.kata.slug])
        if following is None:
            self.screen.say("there is no other kata to go on with; `kata list` shows them all")
            return None
        started = workspace.start(following, home(self.path, self.kata))
        self.learner.history.record_started(following.slug, started.path)
        return following

    def _next_key(self) -> str:
        """The key that answers; a save before it is seen afterwards."""
        saved = False
        while (event := self.events.get()) == SAVED:
            saved = True
        if saved:
            self.events.put(SAVED)
        return event

    def _forget_keys(self) -> None:
        """Those typed while it was graded; a save is not forgotten."""
        self.keys.forget()
        saved = False
        while not self.events.empty():
            saved |= self.events.get() == SAVED
        if saved:
            self.events.put(SAVED)


def home(path: Path, kata: BankKata) -> Path:
    """Where the kata's folder lies: the next one's is made beside it."""
    return path.parent.parent if path.parent.name == kata.slug else path.parent
