"""Reports, made of a real history."""

import json
import re
from html.parser import HTMLParser

import pytest
from cli_tools import SLUG, WRONG
from reported import HOSTILE, KINDS, interviewed, page, practise

from grader.report.data import Point, Report, Speed
from grader.report.pages import as_html, as_markdown
from grader.report.plots import scores, speeds


@pytest.fixture
def practised(person):
    return practise(person)


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
