"""What lint sees of a kata by reading it: each broken kata breaks one rule."""

import pytest
from lint_bank import GOOD, broken_bank, cases, wanted

from grader.bank import Catalogue, builtin_bank
from grader.lint.interface import open_names, read_interface
from grader.lint.names import HANDLE_NAMES, MODULE_NAMES
from grader.lint.reading import read
from grader.sandbox.proxy import Handle, Module


@pytest.mark.parametrize("case", cases("read"), ids=lambda case: case.name)
def test_a_broken_kata_breaks_one_rule(case, tmp_path):
    catalogue = broken_bank(case, tmp_path)
    (kata,) = catalogue.katas
    found = list(read(kata, catalogue))
    assert {rule for rule, _ in found} == {wanted(case)["rule"]}, found
    assert any(wanted(case)["says"] in message for _, message in found), found


def test_a_good_kata_breaks_none():
    catalogue = Catalogue.of([GOOD])
    assert [list(read(kata, catalogue)) for kata in catalogue.katas] == [[]]


def test_every_kata_that_ships_reads_well():
    catalogue = Catalogue.of([builtin_bank()])
    assert catalogue.broken == ()
    assert {kata.slug: list(read(kata, catalogue)) for kata in catalogue.katas} == {
        kata.slug: [] for kata in catalogue.katas
    }


def test_what_python_leaves_behind_is_no_stray_file(tmp_path):
    catalogue = Catalogue.of([GOOD])
    (kata,) = broken_bank(cases("read")[0], tmp_path).katas
    for folder in (kata.folder, kata.solutions / "alternatives"):
        (folder / "__pycache__").mkdir()
        (folder / "__pycache__" / "stub.cpython-311.pyc").write_bytes(b"\0")
    assert "stray" not in {rule for rule, _ in read(kata, catalogue)}


def test_reserved_names_are_those_of_the_proxies():
    assert {name for name in dir(Module) if not name.startswith("_")} == set(MODULE_NAMES)
    assert {name for name in dir(Handle) if not name.startswith("_")} == set(HANDLE_NAMES)


def test_what_is_left_to_write_is_what_raises_not_implemented():
    source = (GOOD / "katas" / "level" / "stub.py").read_text()
    assert open_names(read_interface(source)) == ("center", "Mean.add")


def test_private_helpers_are_no_part_of_the_interface():
    source = (
        "def _f(): ...\nclass A(B, metaclass=M):\n    x: int = 3\n    def _g(self): ...\n    def __len__(self): ...\n"
    )
    elements = read_interface(source)
    assert list(elements) == ["A", "A.__len__"]
    assert elements["A"].header == "class A(B, metaclass=M); x: int = 3"
