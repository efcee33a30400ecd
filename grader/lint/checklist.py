"""The checks of a kata as they are planned: names, sentences, parts, points. None is run here."""

import ast
from collections import Counter
from collections.abc import Iterator, Sequence

from grader.bank import Kata
from grader.judge.protocol import PlannedCheck

TOTAL = 100
PREFIX = "test_"


def misnamed(source: str) -> Iterator[str]:
    """Checks that pytest would never see."""
    functions = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    counts = Counter(node.name for node in functions)
    for name in (name for name, count in counts.items() if count > 1):
        yield f"checks.py defines {name} {counts[name]} times, and only the last one counts: rename the others"
    for node in functions:
        if not node.name.startswith(PREFIX) and any(_is_check(part) for part in node.decorator_list):
            yield f"checks.py: {node.name} is a check that never runs: call it {PREFIX}{node.name}"


def misplanned(kata: Kata, plan: Sequence[PlannedCheck]) -> Iterator[str]:
    """What the checks say of themselves and must not."""
    total = sum(check.points for check in plan)
    if total != TOTAL:
        yield f"the points of the checks come to {total}: share out {TOTAL}"
    for part in kata.parts:
        if not any(check.part == part.id for check in plan):
            yield f"the part {part.id} has no check: write one, or take it out of kata.toml"
    for index, check in enumerate(plan):
        yield from _of_one(kata, check, {other.id for other in plan[:index]})


def _of_one(kata: Kata, check: PlannedCheck, before: set[str]) -> Iterator[str]:
    if check.part not in {part.id for part in kata.parts}:
        yield f"{check.id} belongs to {check.part!r}, which is no part of kata.toml: correct either"
    if check.points < 1:
        yield f"{check.id} carries {check.points} points: give it at least 1, or drop it"
    if not check.title:
        yield f"{check.id} has no docstring: write the sentence that the learner sees"
    if "[" in check.id:
        yield f"{check.id} is parametrized: loop inside the check"
    if check.needs is not None and check.needs not in before:
        yield f"{check.id} needs {check.needs!r}, which is no check before it: correct the name, or move it up"


def _is_check(decorator: ast.expr) -> bool:
    return isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Name) and decorator.func.id == "check"
