"""Commands that grade: check, replay, bench."""

import re
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from grader.cli.options import Isolation, Json, Kata
from grader.cli.session import Session
from grader.cli.ticker import Ticker
from grader.errors import UsageError
from grader.grading import Options, Watcher
from grader.judge.protocol import Begun, Checked, Event, Plan, Timed
from grader.panel import judges_here
from grader.practice import bench as benching
from grader.practice import check as checking
from grader.practice.replay import write_replay
from grader.render.bench import bench_view
from grader.render.verdict import replayed_view, verdict_view


def check(
    context: typer.Context,
    kata: Kata = None,
    file: Annotated[str | None, typer.Option("--file", metavar="F", help="Grade this file.")] = None,
    only: Annotated[str | None, typer.Option("-k", metavar="NAME", help="Only checks or parts of that name.")] = None,
    seed: Annotated[str | None, typer.Option("--seed", metavar="N", help="Repeat the run of that seed.")] = None,
    device: Annotated[str, typer.Option("--device", metavar="D", help="cpu or cuda.")] = "cpu",
    json: Json = False,
    explain: Annotated[bool, typer.Option("--explain", help="Name the known mistake, if it looks like one.")] = False,
    all_: Annotated[bool, typer.Option("--all", help="Every failing check in full.")] = False,
    require: Annotated[str | None, typer.Option("--require-isolation", metavar="full", help="Or do not grade.")] = None,
    isolation: Isolation = "auto",
) -> None:
    """Grade your attempt.

    Ends with 0 if it passed, 1 if not, 2 if it cannot be graded, 3 for a fault of ours.
    """
    session: Session = context.obj
    options = check_options(only, seed, device, require)
    forgotten = session.learner.forgive_history()
    chosen = session.learner.kata(kata)
    path = Path(file) if file else session.learner.attempt(chosen)
    with session.grading(isolation) as grader:
        outcome = checking.check(session.learner, chosen, path, grader, options, counting(session.ticker))
    if json:
        session.screen.raw(msgspec.json.encode(outcome.verdict).decode() + "\n")
    else:
        session.screen.show(verdict_view(outcome, expand_all=all_, explain=explain))
    session.warn(forgotten, outcome.forgotten)
    raise typer.Exit(outcome.exit_code)


def replay(context: typer.Context, kata: Kata = None, isolation: Isolation = "auto") -> None:
    """Write the failing calls as a script for the debugger."""
    session: Session = context.obj
    learner = session.learner
    chosen = learner.kata(kata)
    with session.grading(isolation) as grader:
        replayed = write_replay(learner, chosen, grader, counting(session.ticker))
    script = learner.nearby(replayed.script) if replayed.script else None
    session.screen.show(replayed_view(chosen, replayed.check, script))


def bench(
    context: typer.Context,
    kata: Kata = None,
    file: Annotated[str | None, typer.Option("--file", metavar="F", help="Time this file.")] = None,
    device: Annotated[str, typer.Option("--device", metavar="D", help="cpu or cuda.")] = "cpu",
    json: Json = False,
    isolation: Isolation = "auto",
) -> None:
    """How fast an attempt that passes is, beside ours.

    Ends with 0, with 1 where the attempt went wrong on the way, 2 where there is nothing to time.
    """
    session: Session = context.obj
    options = check_options(None, None, device, None)
    forgotten = session.learner.forgive_history()
    chosen = session.learner.kata(kata)
    path = Path(file) if file else session.learner.attempt(chosen)
    with session.grading(isolation) as grader:
        benched = benching.bench(session.learner, chosen, path, grader, options, counting(session.ticker))
    if json:
        session.screen.raw(msgspec.json.encode(benched.report).decode() + "\n")
    else:
        session.screen.show(bench_view(benched))
    session.warn(forgotten, benched.forgotten)
    raise typer.Exit(1 if benched.failed else 0)


def check_options(only: str | None, seed: str | None, device: str, require: str | None) -> Options:
    """Raises UsageError for what means nothing."""
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise UsageError(f"--device takes cpu or cuda, not {device!r}")
    if require not in (None, "full"):
        raise UsageError(f"--require-isolation takes full, not {require!r}; leave it out to grade with what there is")
    full = None if seed is None else checking.full_seed(seed)
    judges = judges_here() if device == "cpu" else 1
    return Options(seed=full, only=only, device=device, require_full=require == "full", judges=judges)


def counting(ticker: Ticker) -> Watcher:
    def watch(event: Event) -> None:
        if isinstance(event, Plan):
            ticker.expect(len(event.checks))
        elif isinstance(event, Begun):
            ticker.begin("Timing…")
            ticker.expect(event.count)
        elif isinstance(event, Checked | Timed):
            ticker.step()

    return watch
