"""Start-up: what a command imports, and how long looking takes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cli_tools import BANK, RIGHT, ROOT, SLUG, Person, new_person

HEAVY = ("torch", "numpy", "pytest", "pydantic", "rich.markdown", "rich.syntax")
REPORT = f"""
import sys
from grader.__main__ import main
code = main()
print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
sys.exit(code)
"""
BASELINE = ["-c", "import typer, rich.table"]


@pytest.fixture
def person(tmp_path: Path) -> Person:
    return new_person(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        pytest.param([], 0, id="kata"),
        pytest.param(["list"], 0, id="list"),
        pytest.param(["start", SLUG], 0, id="start"),
        pytest.param(["check", SLUG], 0, id="check"),
        pytest.param(["check", SLUG, "--isolation", "process"], 0, id="check in one interpreter"),
    ],
)
def test_a_command_imports_nothing_heavy(person: Person, arguments: list[str], code: int) -> None:
    person.write(RIGHT)
    done = subprocess.run(
        [sys.executable, "-c", REPORT, *arguments, "--bank", str(BANK)],
        cwd=person.where,
        env=person.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (code, "[]\n")


def test_listing_takes_at_most_twice_its_two_largest_imports(person: Person) -> None:
    """CPU seconds, the least of several runs side by side: other programs hardly move that."""
    listing = ["-m", "grader", "list"]
    runs = [(cpu_seconds(person, listing), cpu_seconds(person, BASELINE)) for _ in range(5)]
    ours, theirs = (min(column) for column in zip(*runs, strict=True))
    assert ours <= 2 * theirs


def test_on_a_terminal_something_is_seen_before_anything_heavy_is_imported() -> None:
    """The count begins ahead of the imports that grading needs."""
    script = (
        "import sys\nfrom contextlib import ExitStack\nfrom pathlib import Path\nfrom grader.cli.early import warmed\n"
        "class Ticker:\n    def begin(self):\n        print('grader.grading' in sys.modules)\n"
        f"banks = [Path({str(BANK)!r})]\n"
        f"with ExitStack() as stack:\n    warmed(['check', {SLUG!r}], banks, Path.cwd(), stack, Ticker())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "False\n", done.stderr


def cpu_seconds(person: Person, arguments: list[str]) -> float:
    null = os.open(os.devnull, os.O_WRONLY)
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, *arguments],
        person.environment(),
        file_actions=[(os.POSIX_SPAWN_DUP2, null, 1)],
    )
    os.close(null)
    _, status, usage = os.wait4(pid, 0)
    assert status == 0
    return usage.ru_utime + usage.ru_stime
