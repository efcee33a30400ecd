"""The references that the oracle tests compare, loaded as the judge loads them."""

from pathlib import Path
from types import ModuleType

from grader.bank import load_kata
from grader.judge.programs import read_programs
from grader.sandbox.program import load, offer

ROOT = Path(__file__).parents[2]


def reference(slug: str) -> ModuleType:
    """A kata's reference, with what is given to its learners at hand."""
    program = read_programs(load_kata(ROOT / "katas" / slug)).reference
    offer(program.given)
    return load(program)
