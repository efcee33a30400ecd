"""Options of the test suite, and what many of its modules need."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_tools import Person

from grader.grading import Grader


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write tests/golden/ anew; review it in the diff")


@pytest.fixture(scope="module")
def grader() -> Iterator[Grader]:
    """One that keeps what it started warm, for all tests of a module."""
    with Grader() as grader:
        yield grader


@pytest.fixture
def person(tmp_path: Path) -> Person:
    """Somebody new, in an empty folder."""
    (tmp_path / "here").mkdir()
    return Person(tmp_path / "here", tmp_path / "home")
