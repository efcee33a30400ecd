"""Reports, made of a real history and shown in a real Chromium, where there is one."""

import json
import re
import shutil
import subprocess
import time
from html.parser import HTMLParser

import pytest
from cli_tools import RIGHT, SLUG, WRONG, Person

from grader.history import History, Interviews
from grader.mock.events import Answered, Begun, Closed, Drawn, Finished, Graded, Rated, Saved
from grader.mock.interview import Interview
from grader.mock.moment import now
from grader.report.data import Point, Report, Speed
from grader.report.pages import as_html, as_markdown
from grader.report.plots import scores, speeds

CHROMIUM = shutil.which("chromium")
HOSTILE = '<script>document.title = "owned"</script><img src=x onerror=alert(1)> ]]> \x1b[31m \u202e'


@pytest.fixture
def practised(person):
    """Somebody with a failure that prints what is hostile, and a pass."""
    person.kata("start", SLUG)
    for source in (WRONG.replace("def total", f"print({HOSTILE!r})\n\n\ndef total"), RIGHT):
        person.write(source)
        person.kata("check", SLUG)
    return person


def interviewed(person: Person) -> None:
    """A closed interview with a hostile answer."""
    with History.open(person.home / "history.db", now=time.time) as history:
        one = Interview.drawn(Interviews(history), Drawn((SLUG,), ("sum-of-nothing",), 45.0, "0"), now)
        for event in (
            Begun(),
            Saved(SLUG, "a", now()),
            Graded(SLUG, "a", 40, 100, {"total": (0, 60), "largest": (40, 40)}, ("last_one_forgotten",)),
            Saved(SLUG, "b", now()),
            Graded(SLUG, "b", 100, 100, {"total": (60, 60), "largest": (40, 40)}),
            Answered("sum-of-nothing", HOSTILE),
            Finished(),
            Rated("sum-of-nothing", 2),
            Closed(),
        ):
            one.do(event)


class Links(HTMLParser):
    """Everything that a page would fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.found += [tag] if tag in ("script", "link", "iframe", "object", "embed") else []
        self.found += [f"{name}={value}" for name, value in attrs if name in ("src", "srcset", "action")]
        self.found += [f"{name}={value}" for name, value in attrs if name == "href" and not value.startswith("#")]
        self.found += [name for name, _ in attrs if name.startswith("on")]


def page(person: Person, *arguments: str) -> str:
    said = person.kata("report", *arguments, "--output", "page.html")
    assert (said.code, said.out) == (0, "wrote page.html\n")
    return (person.where / "page.html").read_text(encoding="utf-8")


KINDS = {"progress": (), "kata": ("--kata", SLUG), "mock": ("--last-mock",)}


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_is_whole_small_and_fetches_nothing(practised, kind):
    interviewed(practised)
    text = page(practised, *KINDS[kind])
    links = Links()
    links.feed(text)
    assert links.found == []
    assert "default-src 'none'" in text
    assert len(text) < 500_000
    assert "http://" not in re.sub(r'xmlns(:xlink)?="[^"]*"', "", text)


def test_what_an_attempt_printed_is_text_and_nothing_else(practised):
    practised.write(WRONG.replace("def total", f"print({HOSTILE!r})\n\n\ndef total"))
    practised.kata("check", SLUG)
    text = page(practised, "--kata", SLUG)
    assert "&lt;script&gt;" in text
    assert "<script" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
@pytest.mark.parametrize("kind", KINDS)
def test_chromium_shows_it_without_a_word_on_the_console(practised, kind, tmp_path):
    interviewed(practised)
    page(practised, *KINDS[kind])
    path = practised.where / "page.html"
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--log-level=0")
    shot = tmp_path / "page.png"
    done = subprocess.run(
        [CHROMIUM, *flags, f"--user-data-dir={tmp_path}/profile", f"--screenshot={shot}", "--dump-dom", path.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "owned" not in re.search(r"<title>(.*?)</title>", done.stdout)[1]
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []


def test_the_interview_s_report_tells_what_the_sheet_told(practised):
    interviewed(practised)
    report = json.loads(practised.kata("report", "--last-mock", "--format", "json").out)
    assert (report["format"], report["kind"]) == (1, "mock")
    assert report["headline"].startswith("92/100, strong hire")
    (kata,) = report["katas"]
    assert [(part["id"], part["score"]) for part in kata["parts"]] == [("total", 60), ("largest", 40)]
    assert [point["score"] for point in kata["points"]] == [40, 100]
    assert kata["mistakes"] == ["last one forgotten"]
    assert report["questions"][0]["points"] == 60


def test_progress_counts_days_and_masters(practised):
    report = json.loads(practised.kata("report", "--format", "json").out)
    assert sum(report["days"].values()) == 2
    line = next(line for line in report["lines"] if line["slug"] == SLUG)
    assert (line["state"], line["best"]) == ("passed", 100)
    assert line["due"] > report["made"]
    assert {one["name"]: one["percent"] for one in report["mastery"]}["toys"] == 50


def test_markdown_bears_hostile_answers(practised):
    interviewed(practised)
    text = practised.kata("report", "--last-mock", "--format", "md").out
    assert "\\<script\\>" in text
    assert text.startswith("# Mock interview 1\n")


def test_drawings_take_the_page_s_colour_and_say_what_they_show():
    drawn = scores([Point(1.0, 40), Point(2.0, 100)], minutes=True)
    assert drawn.startswith("<svg")
    assert "currentColor" in drawn
    assert 'aria-label="Score of 2 graded versions: first 40, last 100"' in drawn
    assert 'aria-label="Time as a ratio to the reference: a 2.00, slower"' in speeds(
        [Speed("a", 2.0, 1.9, 2.1, "slower")]
    )


def test_an_empty_report_is_a_page_too():
    report = Report(kind="progress", title="Progress", made=0.0, headline="nothing yet")
    assert "nothing yet" in as_html(report)
    assert "nothing yet" in as_markdown(report)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--last-mock",), "there was no mock interview yet"),
        (("--kata", SLUG), "was never checked"),
        (("--kata", SLUG, "--last-mock"), "two reports: ask for one"),
        (("--format", "pdf"), "--format takes one of html, md, json"),
        (("--output", "no/such/folder.html"), "cannot be written"),
    ],
)
def test_what_cannot_be_reported_says_why(person, arguments, told):
    said = person.kata("report", *arguments)
    assert said.code == 2
    assert told in said.err
