"""A kata's own programs: the reference, what is given, and the mistakes, read once by a template judge."""

import ast
from dataclasses import dataclass
from pathlib import Path

import msgspec

from grader.bank import Kata
from grader.errors import BadKata
from grader.sandbox.program import Patch, Program

CHECKING = "grader.checking"


@dataclass(frozen=True, slots=True)
class Mistake:
    """A known wrong solution: the reference with some definitions replaced."""

    id: str
    caught_by: str
    advice: str
    patch: Patch


@dataclass(frozen=True, slots=True)
class Programs:
    """The reference and the mistakes of a kata, and how to make a program of an attempt."""

    kata: Kata
    reference: Program
    mistakes: tuple[Mistake, ...]
    stub_messages: frozenset[str] = frozenset()
    """What the stub's `NotImplementedError`s say."""

    def attempt(self, source: bytes, patches: tuple[Patch, ...] = ()) -> Program:
        """What a learner wrote, or, with patches, a reference with its mistakes in the learner's place."""
        forbidden = tuple((item.name, item.why) for item in self.kata.forbidden)
        return Program(
            self.kata.module_name,
            self.kata.attempt_name,
            source,
            self.reference.given,
            self.reference.probes,
            patches,
            forbidden,
        )

    def mistaken(self, mistake: Mistake) -> Program:
        return msgspec.structs.replace(self.reference, patches=(mistake.patch,))


def read_programs(kata: Kata) -> Programs:
    """Raises BadKata when a file is missing or cannot be parsed."""
    given = {path.stem: _read(path) for path in kata.given_paths()}
    probes = _read(kata.probes) if kata.probes.exists() else b""
    name = f"kata_{kata.module_name}_reference"
    reference = Program(name, "reference.py", _read(kata.reference), given, probes)
    mistakes = tuple(mistake for path in kata.mistakes for mistake in read_mistakes(path))
    return Programs(kata, reference, mistakes, _strings(_read(kata.stub)))


def _strings(source: bytes) -> frozenset[str]:
    try:
        nodes = ast.walk(ast.parse(source))
    except SyntaxError:  # lint tells
        return frozenset()
    return frozenset(node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))


def read_mistakes(path: Path) -> tuple[Mistake, ...]:
    """The mistakes of a file, by reading it: nothing of it is run."""
    text = _read(path).decode()
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise BadKata(f"{path}, line {error.lineno}: {error.msg}; mend it and type kata lint again") from error
    helpers = [node for node in tree.body if _decorator(node) is None and not _imports_checking(node)]
    preamble = "\n".join(ast.unparse(node) for node in helpers)
    found = []
    for node in tree.body:
        decorator = _decorator(node)
        if decorator is not None:
            assert isinstance(node, ast.FunctionDef | ast.ClassDef)
            found.append(_mistake(path, node, decorator, preamble))
    return tuple(found)


def _mistake(path: Path, node: ast.FunctionDef | ast.ClassDef, decorator: ast.Call, preamble: str) -> Mistake:
    try:
        name = ast.literal_eval(decorator.args[0])
        keywords = {keyword.arg: ast.literal_eval(keyword.value) for keyword in decorator.keywords}
        replaces, caught_by, advice = keywords["replaces"], keywords["caught_by"], keywords["advice"]
    except (IndexError, KeyError, ValueError) as error:
        raise BadKata(
            f"{path}, line {node.lineno}: @mistake needs a name, replaces, caught_by and advice, all literals; "
            "see docs/authoring.md"
        ) from error
    node.decorator_list.remove(decorator)
    source = f"{preamble}\n{ast.unparse(node)}\n"
    names = (replaces,) if isinstance(replaces, str) else tuple(replaces)
    return Mistake(name, caught_by, advice, Patch(source, node.name, names))


def _decorator(node: ast.stmt) -> ast.Call | None:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        for decorator in node.decorator_list:
            if (
                isinstance(decorator, ast.Call)
                and isinstance(decorator.func, ast.Name)
                and decorator.func.id == "mistake"
            ):
                return decorator
    return None


def _imports_checking(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and node.module == CHECKING


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadKata(f"{path}: {error.strerror}; type kata lint to see what the kata lacks") from error
