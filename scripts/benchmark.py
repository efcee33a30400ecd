"""How fast we are, measured side by side in one run and printed as ratios: `make benchmark`.

    python scripts/benchmark.py [--quick]

Nothing here is a test: what it prints depends on the machine and on what else it does. docs/speed.md keeps a result.
"""

import argparse
import datetime
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

import psutil

from grader.bank import Catalogue, Kata
from grader.batch import grade_all
from grader.batch.grades import Submission
from grader.grading import Grader, Options
from grader.panel import judges_here
from grader.workspace import read_attempt

ROOT = Path(__file__).resolve().parents[1]
KATA = [sys.executable, "-m", "grader"]
COLD, LISTED, WARM, BATCH = "dpo", "list", "kl", "kl"
PER_CHECK = ("kl", "dpo", "attention-backward")
EMPTY_CHECKS = 25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repeats, for trying this script")
    quick = parser.parse_args().quick
    load = os.getloadavg()[0]
    print(f"{datetime.date.today()}, {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"load before: {load:.2f}\n")
    print("| what | ratio or figure | made of |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["KATA_HOME"] = folder
        for row in rows(3 if quick else 9, (10, 30) if quick else (10, 1000)):
            print("| " + " | ".join(row) + " |", flush=True)


def rows(repeats: int, sizes: tuple[int, int]) -> Iterator[tuple[str, str, str]]:
    catalogue = Catalogue.load()
    yield cold(catalogue.get(COLD), repeats)
    yield listing(repeats)
    with Grader() as grader:
        yield warm(grader, catalogue.get(WARM), 3 * repeats)
        for preload in ("numpy", "torch"):
            with empty_kata(preload) as kata:
                yield per_check(grader, kata, 3 * repeats)
        for slug in PER_CHECK:
            yield per_check(grader, catalogue.get(slug), 3 * repeats)
    yield against_pytest(catalogue.get(BATCH), repeats, sizes[0])
    yield from growth(catalogue, catalogue.get(BATCH), sizes)


def cold(kata: Kata, repeats: int) -> tuple[str, str, str]:
    """From the command's start to its end, less what the checks compute, over `import torch`."""
    imports, checks, beyond = [], [], []
    command = [*KATA, "check", kata.slug, "--file", str(kata.reference), "--json"]
    for _ in range(repeats):
        imports.append(seconds(lambda: run([sys.executable, "-c", "import torch"])))
        start = time.perf_counter()
        verdict = json.loads(run(command))
        checks.append(time.perf_counter() - start)
        beyond.append(checks[-1] - verdict["seconds"]["attempt"] - verdict["seconds"]["reference"])
    ratio = median(beyond) / median(imports)
    made = f"{median(checks):.2f} s, {median(beyond):.2f} s without its computing; import torch {median(imports):.2f} s"
    return f"cold `kata check {kata.slug}` / `import torch`", f"{ratio:.2f}", made


def listing(repeats: int) -> tuple[str, str, str]:
    """CPU seconds: reading a catalogue waits for nothing."""
    ours, theirs = [], []
    for _ in range(2 * repeats):
        ours.append(cpu(lambda: run([*KATA, LISTED])))
        theirs.append(cpu(lambda: run([sys.executable, "-c", "import typer, rich.table, rich.console, msgspec"])))
    made = f"{1e3 * median(ours):.0f} ms over {1e3 * median(theirs):.0f} ms of CPU"
    return "`kata list` / importing its libraries", f"{median(ours) / median(theirs):.2f}", made


def warm(grader: Grader, kata: Kata, repeats: int) -> tuple[str, str, str]:
    """What `kata watch` takes for a verdict, and what of it beyond computing, where everything is started already."""
    found = overheads(grader, kata, repeats, judges_here())
    made = f"{1e3 * median(each.took for each in found):.0f} ms by {judges_here()} judges, {repeats} grades"
    beyond = median(each.beyond for each in found)
    return f"warm verdict of {kata.slug}, beyond computing", f"{1e3 * beyond:.0f} ms", made


def per_check(grader: Grader, kata: Kata, repeats: int) -> tuple[str, str, str]:
    """What checks compute themselves, inputs and comparisons, is in it: those of an empty kata compute nothing."""
    beyond = [each.beyond / each.checks for each in overheads(grader, kata, repeats)]
    return f"cost per check of {kata.slug}, beyond computing", f"{1e3 * median(beyond):.1f} ms", f"{repeats} grades"


@contextmanager
def empty_kata(preload: str) -> Iterator[Kata]:
    """One whose checks ask for a number and compare it."""
    with tempfile.TemporaryDirectory() as name:
        folder, solutions = Path(name, "katas", f"empty-{preload}"), Path(name, "solutions", f"empty-{preload}")
        folder.mkdir(parents=True)
        solutions.mkdir(parents=True)
        (folder / "kata.toml").write_text(EMPTY_KATA.format(preload=preload))
        checks = "".join(EMPTY_CHECK.format(number=number) for number in range(EMPTY_CHECKS))
        (folder / "checks.py").write_text(f"from grader.checking import assert_equal, check\n{checks}")
        for path in (folder / "stub.py", solutions / "mistakes.py"):
            path.touch()
        (solutions / "reference.py").write_text(f"import {preload}\n\n\ndef f(x):\n    return x\n")
        yield Catalogue.load([Path(name)]).get(folder.name)


EMPTY_KATA = """format = 1
title = "Empty"
summary = "Nothing is computed"
track = "none"
priority = "P2"
minutes = 1
difficulty = 1
preload = "{preload}"
budget_seconds = 5
parts = [{{ id = "all", title = "All" }}]
"""
EMPTY_CHECK = """

@check("all", points=4)
def test_{number}(attempt, reference):
    \"\"\"it is {number}\"\"\"
    assert_equal(attempt.f({number}), reference.f({number}))
"""


class Overhead(NamedTuple):
    """Seconds of one grade."""

    took: float
    beyond: float
    """Without what calls into attempt and reference compute."""
    checks: int


def overheads(grader: Grader, kata: Kata, repeats: int, judges: int = 1) -> list[Overhead]:
    attempt, options = read_attempt(kata.reference), Options(judges=judges)
    grader.grade(kata, attempt, options)
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        verdict = grader.grade(kata, attempt, options).verdict
        took = time.perf_counter() - start
        assert verdict.passed, f"the reference of {kata.slug} did not pass"
        computing = verdict.seconds.attempt + verdict.seconds.reference
        found.append(Overhead(took, took - computing, len(verdict.checks)))
    return found


def against_pytest(kata: Kata, repeats: int, count: int) -> tuple[str, str, str]:
    """Attempts a second, over one pytest process for each attempt that runs the same checks within itself."""
    alone = [seconds(lambda: run_pytest(kata)) for _ in range(repeats)]
    with people(kata, 10 * count) as files, Grader() as grader:
        many = batch(Catalogue.load(), grader, files, os.cpu_count() or 1)
    rate, theirs = len(files) / many, 1 / median(alone)
    made = f"{rate:.1f} attempts/s in a batch, {theirs:.2f}/s of pytest processes one after the other"
    return f"attempts a second of {kata.slug} / a pytest process each", f"{rate / theirs:.1f}", made


def growth(catalogue: Catalogue, kata: Kata, sizes: tuple[int, int]) -> Iterator[tuple[str, str, str]]:
    """How cost and memory grow with the number of attempts, and with jobs."""
    few, many = sizes
    with people(kata, many) as files, Grader() as grader:
        batch(catalogue, grader, files[:few], 1)
        small = batch(catalogue, grader, files[:few], 1) / few
        before = memory()
        large = batch(catalogue, grader, files, 1) / many
        after = memory()
        double = batch(catalogue, grader, files, 2) / many
    yield f"cost per attempt, {many} / {few}", f"{large / small:.2f}", f"{1e3 * large:.0f} and {1e3 * small:.0f} ms"
    yield "cost per attempt, 1 job / 2 jobs", f"{large / double:.2f}", f"{1e3 * large:.0f} and {1e3 * double:.0f} ms"
    for name in before:
        yield f"memory of {name}, MiB", f"{after[name]:.0f}", f"{before[name]:.0f} before {many} attempts"


def batch(catalogue: Catalogue, grader: Grader, files: list[Submission], jobs: int) -> float:
    grader.template(catalogue.get(BATCH))
    start = time.perf_counter()
    rows = list(grade_all(catalogue, grader, files, Options(find_mistakes=False), jobs))
    took = time.perf_counter() - start
    assert all(row.passed for row in rows), "a reference did not pass"
    return took


def memory() -> dict[str, float]:
    """Proportional memory of our processes, in MiB, by what they are."""
    ours = {"the command": psutil.Process()}
    servers = [
        child for child in psutil.Process().children(recursive=True) if "forkserver" in " ".join(child.cmdline())
    ]
    found = {name: process.memory_info().rss / 2**20 for name, process in ours.items()}
    found["forkserver and judge"] = sum(process.memory_full_info().pss for process in servers) / 2**20
    return found


@contextmanager
def people(kata: Kata, count: int) -> Iterator[list[Submission]]:
    """So many copies of the reference, each with a content of its own."""
    with tempfile.TemporaryDirectory() as name:
        files = []
        for number in range(count):
            path = Path(name) / f"p{number:04}" / kata.attempt_name
            path.parent.mkdir()
            path.write_bytes(kata.reference.read_bytes() + f"# {number}\n".encode())
            files.append(Submission(path.parent.name, path, f"{path.parent.name}/{path.name}"))
        yield files


def run_pytest(kata: Kata) -> None:
    """The same checks in one plain pytest process, attempt and reference side by side in it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(kata.checks, folder / "test_checks.py")
        shutil.copy(ROOT / "scripts" / "plain_conftest.py", folder / "conftest.py")
        environment = {**os.environ, "PLAIN_KATA": str(kata.folder), "PYTHONPATH": str(ROOT)}
        run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)], environment)


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def cpu(work: Callable[[], object]) -> float:
    """CPU seconds of the processes that `work` runs and waits for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def run(command: list[str], environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command} ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


if __name__ == "__main__":
    main()
