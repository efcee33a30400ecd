"""What a module offers, read from its source without running it: public functions, classes and their methods."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True, slots=True)
class Element:
    """A function, a class, or a method as `"Class.method"`."""

    name: str
    header: str
    """Its first line as Python would write it, with defaults, annotations, bases, decorators; a class's fields too."""
    doc: str
    open: bool
    """Whether it is left for the learner to write."""


def read_interface(source: str) -> dict[str, Element]:
    """By name, in the order of the file. Raises SyntaxError."""
    found = ast.parse(source).body
    return {element.name: element for node in found if isinstance(node, Definition) for element in _elements(node)}


def open_names(elements: Mapping[str, Element]) -> tuple[str, ...]:
    """What a learner has to write."""
    return tuple(name for name, element in elements.items() if element.open)


def differences(stub: Mapping[str, Element], reference: Mapping[str, Element]) -> Iterator[str]:
    """Where the two do not offer the same."""
    for name in stub.keys() - reference.keys():
        yield f"reference.py lacks {name}, which stub.py has: write it, or take it out of the stub"
    for name in reference.keys() - stub.keys():
        yield f"stub.py lacks {name}, which reference.py has: add it, or call it _{name.rpartition('.')[2]} there"
    for name in stub.keys() & reference.keys():
        mine, theirs = stub[name], reference[name]
        if mine.header != theirs.header:
            yield f"{name} is `{mine.header}` in stub.py and `{theirs.header}` in reference.py: make them one"
        if mine.doc != theirs.doc:
            yield f"the docstring of {name} is {_first_difference(mine.doc, theirs.doc)}: make them one"


def _elements(node: Definition, owner: str = "") -> Iterator[Element]:
    if not _is_public(node.name):
        return
    name = owner + node.name
    is_class = isinstance(node, ast.ClassDef)
    yield Element(name, _header(node), ast.get_docstring(node) or "", not is_class and _raises_not_implemented(node))
    if is_class and not owner:
        for inner in node.body:
            if isinstance(inner, Definition):
                yield from _elements(inner, f"{name}.")


def _is_public(name: str) -> bool:
    return not name.startswith("_") or (name.startswith("__") and name.endswith("__"))


def _header(node: Definition) -> str:
    decorators = [f"@{ast.unparse(decorator)}" for decorator in node.decorator_list]
    return " ".join([*decorators, _class_header(node) if isinstance(node, ast.ClassDef) else _function_header(node)])


def _class_header(node: ast.ClassDef) -> str:
    bases = ", ".join(ast.unparse(part) for part in (*node.bases, *node.keywords))
    fields = [ast.unparse(part) for part in node.body if isinstance(part, ast.AnnAssign | ast.Assign)]
    return "; ".join([f"class {node.name}({bases})", *fields])


def _function_header(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    kind = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{kind} {node.name}({ast.unparse(node.args)}){returns}"


def _raises_not_implemented(node: ast.AST) -> bool:
    raised = (inner.exc for inner in ast.walk(node) if isinstance(inner, ast.Raise))
    named = (part.func if isinstance(part, ast.Call) else part for part in raised)
    return any(isinstance(part, ast.Name) and part.id == "NotImplementedError" for part in named)


def _first_difference(mine: str, theirs: str) -> str:
    for one, other in zip(mine.split("\n"), theirs.split("\n"), strict=False):
        if one != other:
            return f"`{one.strip()}` in stub.py and `{other.strip()}` in reference.py"
    return "longer in one of stub.py and reference.py than in the other"
