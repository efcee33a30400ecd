"""The workloads of a kata, read from its benches.py, which is ours and runs in the judge."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from grader.bank import Kata
from grader.benching import MARK, Call, Mark
from grader.errors import BadKata, UsageError
from grader.judge.loading import load_file
from grader.judge.rng import Rng
from grader.sandbox.proxy import Module


@dataclass(frozen=True, slots=True)
class Workload:
    """One function of benches.py."""

    name: str
    title: str
    steps: Callable[[Module, Rng], Iterator[Call]]
    mark: Mark


def read_workloads(kata: Kata) -> tuple[Workload, ...]:
    """In the order of the file. Raises UsageError where the kata has none, BadKata where the file cannot be used."""
    path = kata.benches
    if not path.exists():
        raise UsageError(f"{kata.slug} has nothing to time: there is no benches.py; `kata check {kata.slug}` grades it")
    try:
        module = load_file(f"kata_{kata.module_name}_benches", path)
    except Exception as error:
        raise BadKata(f"{path}: {type(error).__name__}: {error}; mend it and type kata lint {kata.slug}") from error
    return tuple(
        Workload(name, " ".join((function.__doc__ or "").split()), function, getattr(function, MARK))
        for name, function in vars(module).items()
        if hasattr(function, MARK)
    )
