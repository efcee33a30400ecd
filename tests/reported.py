"""What the tests of reports share: somebody who has something to report, and their pages."""

import time

from cli_tools import RIGHT, SLUG, WRONG, Person

from grader.history import History, Interviews
from grader.mock.events import Answered, Begun, Closed, Drawn, Finished, Graded, Rated, Saved
from grader.mock.interview import Interview
from grader.mock.moment import now

HOSTILE = '<script>document.title = "owned"</script><img src=x onerror=alert(1)> ]]> \x1b[31m \u202e'
KINDS = {"progress": (), "kata": ("--kata", SLUG), "mock": ("--last-mock",)}


def practise(person: Person) -> Person:
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


def page(person: Person, *arguments: str) -> str:
    said = person.kata("report", *arguments, "--output", "page.html")
    assert (said.code, said.out) == (0, "wrote page.html\n")
    return (person.where / "page.html").read_text(encoding="utf-8")


KINDS = {"progress": (), "kata": ("--kata", SLUG), "mock": ("--last-mock",)}
