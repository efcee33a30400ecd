"""The examples of a prompt: fenced blocks with `>>>`, executed against the reference."""

import subprocess
import sys
from collections.abc import Iterator

import msgspec

from grader.bank import Kata
from grader.bank.files import read_text
from grader.judge.programs import Programs
from grader.lint.doctests import Block, Failure, Request
from grader.preloads import libraries
from grader.sandbox.launcher import clean_environment

SECONDS = 60


def failing(kata: Kata, programs: Programs) -> Iterator[str]:
    """Examples that do not hold."""
    found = tuple(blocks(read_text(kata.prompt)))
    if not found:
        return
    try:
        failures = _run(Request(programs.reference, found, libraries(kata.preload)))
    except subprocess.TimeoutExpired:
        yield f"the examples of prompt.md do not end within {SECONDS} s: make them smaller"
    except subprocess.CalledProcessError as error:
        last = error.stderr.decode("utf-8", "replace").strip().split("\n")[-1]
        yield f"the examples of prompt.md cannot be run: {last}: correct them"
    else:
        for failure in failures:
            yield (
                f"prompt.md, line {failure.line}: `{failure.source.strip()}` gives {_one_line(failure.got)}, "
                f"where the prompt says {_one_line(failure.want)}: correct either"
            )


def blocks(text: str) -> Iterator[Block]:
    """The fenced blocks that hold an example."""
    inside: list[str] | None = None
    for number, line in enumerate(text.split("\n")):
        if line.startswith("```"):
            if inside is not None and any(inner.lstrip().startswith(">>>") for inner in inside):
                yield Block("\n".join([*inside, ""]), number - len(inside))
            inside = [] if inside is None else None
        elif inside is not None:
            inside.append(line)


def _run(request: Request) -> list[Failure]:
    done = subprocess.run(
        [sys.executable, "-I", "-B", "-m", "grader.lint.doctests"],
        input=msgspec.msgpack.encode(request),
        capture_output=True,
        env=clean_environment(),
        timeout=SECONDS,
        check=True,
    )
    return msgspec.json.decode(done.stdout, type=list[Failure])


def _one_line(text: str) -> str:
    return f"`{' '.join(text.split())}`" if text.strip() else "nothing"
