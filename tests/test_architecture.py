"""The map of the code, held: imports point one way, modules stay small, and the grader knows no kata by name."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / "grader").rglob("*.py"))
MAX_LINES = 400

# From the ground up. A module may import what stands on a line below its own, and its own package.
LAYERS = (
    ("errors", "verdict", "timing", "printable", "preloads"),
    ("sandbox", "bank"),
    ("comparison", "workspace", "scaffold"),
    ("checking", "history"),
    ("benching",),
    ("judge",),
    ("panel",),
    ("grading",),
    ("mock",),
    ("lint", "practice", "batch"),
    ("report",),
    ("render",),
    ("cli",),
    ("__main__",),
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
ONLY_IMPORTERS = {
    "rich": {"render"},
    "sqlite3": {"history"},
    "typer": {"cli"},
    "jinja2": {"scaffold", "report"},
    "matplotlib": {"report"},
    "watchfiles": {"practice"},
    "fsrs": {"practice"},
}


def unit(module: Path) -> str:
    """`grader/judge/run.py` belongs to `judge`, `grader/cli.py` to `cli`."""
    return module.relative_to(ROOT / "grader").parts[0].removesuffix(".py")


def imports(module: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def units_imported(module: Path) -> set[str]:
    names = [name.split(".") for name in imports(module)]
    return {parts[1] for parts in names if parts[0] == "grader" and len(parts) > 1 and parts[1] in RANK}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
class TestEveryModule:
    def test_imports_point_one_way(self, module: Path) -> None:
        if module.name == "__init__.py" and module.parent.name == "grader":
            return
        own = unit(module)
        assert own in RANK, f"{own} has no place in LAYERS"
        upward = {other for other in units_imported(module) if other != own and RANK[other] >= RANK[own]}
        assert not upward

    def test_a_library_has_one_importer(self, module: Path) -> None:
        for library, owners in ONLY_IMPORTERS.items():
            if any(name.partition(".")[0] == library for name in imports(module)):
                assert unit(module) in owners, f"only {owners} import {library}"

    def test_a_module_is_one_noun(self, module: Path) -> None:
        lines = module.read_text().splitlines()
        assert len(lines) <= MAX_LINES
        assert not lines or lines[0].startswith('"""'), "the first line says what it is"

    def test_no_kata_is_known_by_name(self, module: Path) -> None:
        slugs = [toml.parent.name for toml in (ROOT / "katas").glob("*/kata.toml")]
        words = {node.value for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.Constant)}
        strings = " ".join(word for word in words if isinstance(word, str))
        # A dot before it makes it a library's module.
        known = [slug for slug in slugs if len(slug) > 3 and re.search(rf"(?<!\.){re.escape(slug)}", strings)]
        assert not known


def test_there_are_katas_to_look_for() -> None:
    assert list((ROOT / "katas").glob("*/kata.toml"))
