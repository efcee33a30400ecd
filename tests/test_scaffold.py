"""`kata new`: a scaffold is whole in form, starts, and is marked wherever the author has to write."""

import ast
import doctest
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grader.bank import Kata, hint_text, is_slug, load_kata, sections
from grader.errors import UsageError
from grader.scaffold import create


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Kata, list[Path]]:
    bank = tmp_path_factory.mktemp("bank")
    files = create("grad-clip", bank)
    return load_kata(bank / "katas" / "grad-clip"), files


@pytest.fixture(scope="module")
def kata(made) -> Kata:
    return made[0]


def namespace(file: Path) -> dict[str, Any]:
    names: dict[str, Any] = {"np": np}
    exec(compile(file.read_text(encoding="utf-8"), str(file), "exec"), names)
    return names


def functions(file: Path) -> dict[str, tuple[str, str | None]]:
    """Signature and docstring of each top-level function."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    return {
        node.name: (f"{ast.unparse(node.args)} -> {ast.unparse(node.returns)}", ast.get_docstring(node))
        for node in found
    }


def test_every_file_of_a_kata_is_made(made):
    kata, files = made
    single = {kata.folder / "kata.toml", kata.prompt, kata.stub, kata.hints, kata.checks}
    single |= {kata.reference, *kata.mistakes, kata.debrief}
    assert set(files) == single | set(kata.alternatives())
    assert {file for file in kata.bank.rglob("*") if file.is_file()} == set(files)
    assert len(kata.alternatives()) == 1


def test_every_file_has_a_todo_and_none_a_template_mark(made):
    for file in made[1]:
        text = file.read_text(encoding="utf-8")
        assert "TODO" in text, file
        assert not {"{{", "{%", "}}"} & set(text.split()), file
        assert text.endswith("\n")
        assert not text.endswith("\n\n")


def test_every_module_parses(made):
    for file in made[1]:
        if file.suffix == ".py":
            ast.parse(file.read_text(encoding="utf-8"))


def test_the_title_comes_from_the_slug(kata):
    assert kata.title == "Grad clip"
    assert kata.problem is None


def test_hints_and_debrief_have_every_part(kata):
    for part in kata.parts:
        assert all(hint_text(kata, part.id, level) for level in (1, 2, 3))
        assert part.id in sections(kata.prompt.read_text(encoding="utf-8"), 2)
    headings = set(sections(kata.debrief.read_text(encoding="utf-8"), 2))
    assert headings == {*(part.id for part in kata.parts), "Follow-up questions"}


def test_stub_and_reference_have_the_same_signatures_and_docstrings(kata):
    assert functions(kata.stub) == functions(kata.reference) != {}


def test_the_stub_is_not_attempted(kata):
    with pytest.raises(NotImplementedError, match="solve: "):
        namespace(kata.stub)["solve"](np.ones(3))


def test_the_examples_of_the_prompt_hold_for_the_reference(kata):
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(verbose=False)
    text = kata.prompt.read_text(encoding="utf-8").replace("```", "")
    result = runner.run(parser.get_doctest(text, namespace(kata.reference), "prompt", None, None))
    assert (result.attempted, result.failed) == (1, 0)


def test_the_alternative_agrees_with_the_reference(kata):
    x = np.array([3.5, -1.0, 8.25])
    for file in kata.alternatives():
        np.testing.assert_allclose(namespace(file)["solve"](x), namespace(kata.reference)["solve"](x), rtol=1e-12)


def test_points_come_to_a_hundred_and_mistakes_name_checks(kata):
    checks = [node for node in ast.parse(kata.checks.read_text()).body if isinstance(node, ast.FunctionDef)]
    points = [keyword.value.value for node in checks for keyword in node.decorator_list[0].keywords]
    assert sum(points) == 100
    (mistakes,) = kata.mistakes
    named = [call for call in ast.walk(ast.parse(mistakes.read_text())) if isinstance(call, ast.Call)]
    caught = {keyword.value.value for call in named for keyword in call.keywords if keyword.arg == "caught_by"}
    assert caught == {node.name for node in checks}


@pytest.mark.parametrize("there", ["katas/dpo/notes.md", "solutions/dpo/reference.py", "katas/dpo"])
def test_nothing_is_overwritten_or_added_to(tmp_path, there):
    (tmp_path / there).parent.mkdir(parents=True)
    (tmp_path / there).write_text("mine")
    with pytest.raises(UsageError, match=r"dpo is there already; choose another name"):
        create("dpo", tmp_path)
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [tmp_path / there]


def test_a_link_that_leads_nowhere_is_not_written_through(tmp_path):
    (tmp_path / "katas").mkdir()
    (tmp_path / "katas" / "dpo").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="is there already"):
        create("dpo", tmp_path)
    assert not (tmp_path / "elsewhere").exists()


def test_a_bank_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "bank").write_text("a file")
    with pytest.raises(UsageError, match=r"cannot be written: .*; choose another --bank"):
        create("dpo", tmp_path / "bank")


def test_a_name_too_long_for_the_disk_is_told(tmp_path):
    create("dpo", tmp_path)
    with pytest.raises(UsageError, match="cannot be written"):
        create("a" * 300, tmp_path)


@settings(max_examples=40, deadline=None)
@given(
    st.text(max_size=12).filter(lambda text: not is_slug(text))
    | st.sampled_from(["../dpo", "a/b", "class", "Dpo", "", "a\n"])
)
def test_a_name_that_is_no_slug_writes_nothing(tmp_path_factory, slug):
    bank = tmp_path_factory.mktemp("bank")
    with pytest.raises(UsageError, match="cannot name a kata; use lower-case"):
        create(slug, bank)
    assert not list(bank.iterdir())


@settings(max_examples=10, deadline=None)
@given(st.from_regex(r"[a-z][a-z0-9-]{0,15}", fullmatch=True).filter(is_slug))
def test_whatever_may_name_a_kata_makes_one_that_loads(tmp_path_factory, slug):
    bank = tmp_path_factory.mktemp("bank")
    create(slug, bank)
    assert load_kata(bank / "katas" / slug).module_name.isidentifier()
