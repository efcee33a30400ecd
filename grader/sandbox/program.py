"""What a worker is asked to run: one source file, what is given beside it, and what replaces parts of it."""

import ast
import builtins
import functools
import importlib.abc
import importlib.machinery
import importlib.util
import linecache
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import CodeType, ModuleType
from typing import Any, NoReturn

import msgspec


class Patch(msgspec.Struct, frozen=True):
    """A definition that takes the place of others, executed inside the namespace of the program."""

    source: str
    """One `def` or `class`, and before it whatever statements it needs."""
    name: str
    """What the definition is called in `source`."""
    replaces: tuple[str, ...]
    """`"f"`, `"Class"` or `"Class.method"`. With several, the definition is a class that holds one for each."""


class Program(msgspec.Struct, frozen=True):
    """One attempt, reference, alternative or mistake, ready to be loaded in any process."""

    module: str
    filename: str
    source: bytes
    given: dict[str, bytes] = {}
    probes: bytes = b""
    patches: tuple[Patch, ...] = ()
    forbidden: tuple[tuple[str, str], ...] = ()


class Forbidden(RuntimeError):
    """The program uses what its task forbids."""


class Denied:
    """Stands where something forbidden was: to call it, or to look into it, raises Forbidden."""

    def __init__(self, name: str, why: str) -> None:
        self._told = f"{name} is not allowed here: {why}"

    def __call__(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise Forbidden(self._told)

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):  # who looks at every object of a module looks for these
            raise AttributeError(name)
        raise Forbidden(self._told)


def load(program: Program) -> ModuleType:
    """Execute the source as a fresh module. Whatever the source raises comes out as it is."""
    module = ModuleType(program.module)
    module.__file__ = program.filename
    sys.modules[program.module] = module
    remember_lines(program.filename, program.source)
    modules = {name: why for name, why in program.forbidden if "." not in name}
    if modules:
        module.__dict__["__builtins__"] = vars(builtins) | {"__import__": _importing_without(modules)}
    exec(compiled(program.source, program.filename), module.__dict__)
    for patch in program.patches:
        apply(patch, module)
    return module


@functools.lru_cache(maxsize=64)
def compiled(source: bytes, filename: str) -> CodeType:
    """The code of a source; kept, since a judge loads the reference anew for every check."""
    return compile(source, filename, "exec", dont_inherit=True)


def apply(patch: Patch, module: ModuleType) -> None:
    namespace = module.__dict__
    local: dict[str, Any] = {}
    before = set(namespace)
    tree = ast.parse(patch.source)
    *helpers, definition = tree.body
    exec(compile(ast.Module(helpers, []), "mistakes.py", "exec", dont_inherit=True), namespace)
    clash = before & {node.name for node in helpers if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    if clash:
        raise ValueError(f"a helper takes the name {min(clash)!r} of the reference")
    exec(compile(ast.Module([definition], []), "mistakes.py", "exec", dont_inherit=True), namespace, local)
    new = local[patch.name]
    for target in patch.replaces:
        replacement = new if len(patch.replaces) == 1 else new.__dict__[target.rpartition(".")[2]]
        owner, _, name = target.rpartition(".")
        holder = namespace[owner] if owner else module
        if not hasattr(holder, name):
            raise ValueError(f"there is no {target!r} to replace")
        setattr(holder, name, replacement)


def remember_lines(filename: str, source: bytes) -> None:
    """Let tracebacks and `inspect.getsource` find the lines, though no file can be read."""
    lines = source.decode("utf-8", "replace").splitlines(keepends=True)
    linecache.cache[filename] = (len(source), None, lines, filename)


class GivenModules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports given code by name from memory, and says why a neighbour of the attempt is not there."""

    def __init__(self, sources: Mapping[str, bytes], absent: Mapping[str, str]) -> None:
        self.sources, self.absent = dict(sources), dict(absent)

    def find_spec(self, name: str, path: Any = None, _target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if path is None and name in self.sources:
            return importlib.util.spec_from_loader(name, self)
        if name in self.absent:
            raise ModuleNotFoundError(self.absent[name], name=name)
        return None

    def create_module(self, _spec: Any) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        filename = module.__name__ + ".py"
        source = self.sources[module.__name__]
        remember_lines(filename, source)
        exec(compile(source, filename, "exec", dont_inherit=True), module.__dict__)


def offer(given: Mapping[str, bytes], forbidden: Iterable[Sequence[str]] = ()) -> None:
    """Make given code importable and forbidden names unusable, in this process, from now on."""
    absent = {}
    for name, why in forbidden:
        if not _deny(name, why) and "." not in name:
            absent[name] = f"{name} is not allowed here: {why}"
    sys.meta_path.insert(0, GivenModules(given, absent))
    for name in given:
        sys.modules.pop(name, None)


def _importing_without(forbidden: Mapping[str, str]) -> Callable[..., Any]:
    """What `import` does in a program that may not import these: libraries have loaded some of them already."""

    def guarded(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
        top = name.partition(".")[0]
        if top in forbidden and not level:
            raise Forbidden(f"{top} is not allowed here: {forbidden[top]}")
        return builtins.__import__(name, globals, locals, fromlist, level)

    return guarded


def _deny(name: str, why: str) -> bool:
    """Replace an attribute of a loaded module by one that raises; False for a whole module."""
    owner, _, leaf = name.rpartition(".")
    holder: Any = sys.modules.get(owner)
    if holder is None:
        outer, _, inner = owner.rpartition(".")
        holder = getattr(sys.modules.get(outer), inner, None)
    if holder is None or not hasattr(holder, leaf):
        return False
    setattr(holder, leaf, Denied(name, why))
    return True
