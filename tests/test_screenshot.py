"""The README's picture is of the page that a report is today. `make readme` takes it anew, in a Chromium."""

import hashlib
import tempfile
from contextlib import nullcontext
from pathlib import Path

import msgspec
from chromium import shown
from PIL import Image, PngImagePlugin

from grader.bank import Catalogue
from grader.history import Event, History, Interviews
from grader.mock.events import Answered, Begun, Closed, Drawn, Finished, Graded, Rated, Saved
from grader.mock.interview import Interview
from grader.mock.moment import Moment
from grader.practice.learner import Learner
from grader.report.gather import mock_report
from grader.report.pages import as_html
from grader.timing import BenchReport, Speed, Timing

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "images" / "report.png"
MADE_OF = "sha256 of the page"
WIDTH, HEIGHT, COLOURS = 880, 1600, 40
NOON = 1_789_473_600.0
"""2026-09-15, 12:00 UTC."""
MAXIMA = {"logprobs": 22, "dpo": 22, "ipo": 6, "kto": 15, "safedpo": 13, "train": 22}
ANSWER = "It is log π/π_ref, scaled: the partition function cancels in the difference."


class Hands:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.minutes = 0.0

    def __call__(self) -> Moment:
        return Moment(NOON + 60 * self.minutes, "boot", 60 * self.minutes)


def page() -> str:
    """The report of an interview on dpo: two wrong versions, a right one, one question."""
    hands = Hands()

    def wall() -> float:
        return hands().wall

    with History.open(Path(":memory:"), now=wall) as history:
        one = Interview.drawn(Interviews(history), Drawn(("dpo",), ("dpo-derivation",), 45.0, "0"), hands)
        one.do(Begun())
        for minutes, version, lost, mistakes in (
            (14, "a", ("dpo", "kto", "safedpo", "train"), ("reference_forgotten",)),
            (27, "b", ("kto", "safedpo"), ()),
            (38, "c", (), ()),
        ):
            hands.minutes = minutes
            parts = {id: (0 if id in lost else most, most) for id, most in MAXIMA.items()}
            one.do(Saved("dpo", version, hands()))
            one.do(Graded("dpo", version, sum(score for score, _ in parts.values()), 100, parts, mistakes))
        one.do(Answered("dpo-derivation", ANSWER))
        hands.minutes = 41
        for event in (Finished(), Rated("dpo-derivation", 2), Closed()):
            one.do(event)
        training = Timing(name="training", title="", ratio=1.12, low=1.09, high=1.15, pairs=9, verdict=Speed.SLOWER)
        bench = BenchReport(kata="dpo", sha256="c", device="cpu", clock="cpu", workloads=[training])
        history.record_event("dpo", Event.BENCHED, msgspec.to_builtins(bench))
        return as_html(mock_report(Learner(Catalogue.load, lambda: nullcontext(history), Path("/"), wall)))


def test_the_picture_in_the_readme_is_of_this_page() -> None:
    with Image.open(PICTURE) as picture:
        assert picture.info[MADE_OF] == hashlib.sha256(page().encode()).hexdigest(), "type `make readme`"


def update() -> None:
    text = page()
    told = PngImagePlugin.PngInfo()
    told.add_text(MADE_OF, hashlib.sha256(text.encode()).hexdigest())
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder, "shot.png")
        shown(text, Path(folder), "--hide-scrollbars", f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={shot}")
        picture = Image.open(shot).convert("P", palette=Image.Palette.ADAPTIVE, colors=COLOURS)
        PICTURE.parent.mkdir(parents=True, exist_ok=True)
        picture.save(PICTURE, pnginfo=told, optimize=True)


if __name__ == "__main__":
    update()
