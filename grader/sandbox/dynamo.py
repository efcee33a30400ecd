"""A stand-in for `torch._dynamo` until somebody compiles.

Making the first optimizer imports torch's compiler, only to tell it what not to compile: 1 s of CPU, in every worker
anew (measured with torch 2.13). Until anything else of the compiler is asked for, this module says the same without it.
"""

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

NAME = "torch._dynamo"
ATTRIBUTE = "_dynamo"


class Rules:
    """What a new process group asks for; none have been traced."""

    @staticmethod
    def clear_lru_cache() -> None: ...


class Standin(ModuleType):
    """These names do nothing where nothing compiles; every other brings the real module in."""

    trace_rules = Rules

    @staticmethod
    def graph_break(*_args: Any, **_kwargs: Any) -> None: ...

    @staticmethod
    def disable(fn: Any = None, *_args: Any, **_kwargs: Any) -> Any:
        return fn if fn is not None else _same

    def __getattr__(self, name: str) -> Any:
        # Whoever looks through all modules, as `inspect` does, wants no compiler; the import of a submodule does.
        if name.startswith("__") and name != "__path__":
            raise AttributeError(name)
        return getattr(real(), name)


def stand_in() -> None:
    """Put the stand-in where torch will find it, unless the real module is loaded."""
    torch = sys.modules.get("torch")
    if torch is not None and NAME not in sys.modules:
        sys.modules[NAME] = module = Standin(NAME)
        setattr(torch, ATTRIBUTE, module)


def real() -> ModuleType:
    """The real module, imported now if the stand-in is still in its place."""
    if isinstance(sys.modules.get(NAME), Standin):
        del sys.modules[NAME]
    module = importlib.import_module(NAME)
    setattr(sys.modules["torch"], ATTRIBUTE, module)
    return module


def _same(fn: Callable[..., Any]) -> Callable[..., Any]:
    return fn
