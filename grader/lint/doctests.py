"""Executes a prompt's examples against a reference: a request on standard input, failures on standard output.

Run as `python -I -B -m grader.lint.doctests`.
"""

import doctest
import importlib
import sys
from typing import Any

import msgspec

from grader.sandbox.program import Program, load, offer

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
SHORT_NAMES = {"np": "numpy", "torch": "torch"}


class Block(msgspec.Struct, frozen=True):
    """A fenced block and the line of the file on which its text begins, from 0."""

    text: str
    line: int


class Request(msgspec.Struct, frozen=True):
    program: Program
    blocks: tuple[Block, ...]
    libraries: tuple[str, ...]


class Failure(msgspec.Struct, frozen=True):
    """An example that did not do what the prompt says."""

    line: int
    source: str
    want: str
    got: str


class Runner(doctest.DocTestRunner):
    """Keeps what failed rather than printing it."""

    def __init__(self) -> None:
        super().__init__(verbose=False, optionflags=FLAGS)
        self.broken: list[Failure] = []

    def report_failure(self, out: Any, test: doctest.DocTest, example: doctest.Example, got: str) -> None:
        del out
        self.broken.append(Failure((test.lineno or 0) + example.lineno + 1, example.source, example.want, got))

    def report_unexpected_exception(
        self, out: Any, test: doctest.DocTest, example: doctest.Example, exc_info: Any
    ) -> None:
        self.report_failure(out, test, example, f"{exc_info[0].__name__}: {exc_info[1]}")


def run(request: Request) -> list[Failure]:
    """One session: a name that a block defines is there in the next."""
    offer(request.program.given)
    names = dict(vars(load(request.program)))
    names |= {short: importlib.import_module(full) for short, full in SHORT_NAMES.items() if full in request.libraries}
    runner, parser = Runner(), doctest.DocTestParser()
    for block in request.blocks:
        test = parser.get_doctest(block.text, {}, "prompt.md", "prompt.md", block.line)
        test.globs = names
        runner.run(test, clear_globs=False)
    return runner.broken


if __name__ == "__main__":
    asked = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Request)
    sys.stdout.buffer.write(msgspec.json.encode(run(asked)))
