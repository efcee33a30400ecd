"""A template judge: collects the checks of one kata once, and forks a judge for every attempt.

It is itself forked from the forkserver and told only which kata it is for. It never sees an attempt: a judge reads its
job after the fork, from a socket of its own.
"""

import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from grader.bank import load_kata
from grader.errors import BadKata, KataError, Unavailable, UsageError
from grader.judge import fixtures, mistakes, replay
from grader.judge.fixtures import JudgePlugin
from grader.judge.pairs import Measurement
from grader.judge.programs import Programs, read_programs
from grader.judge.protocol import Begun, Brief, Event, Fault, Job, Plan, PlannedCheck, Refused, Timed, line
from grader.judge.run import Run
from grader.judge.sources import ForkedWorkers, Source
from grader.judge.turns import turns
from grader.judge.workloads import read_workloads
from grader.judge.workshop import Bench, Workshop
from grader.sandbox.forkserver import Grounds
from grader.sandbox.launcher import Client
from grader.sandbox.namespaces import die_with_parent
from grader.sandbox.program import compiled, offer
from grader.sandbox.wire import torch_module

Emit = Callable[[Event], None]
Judging = Callable[[socket.socket, int | None], None]
"""Does one job: on a socket of the job's own, with the queue of turns where other judges have a share in it."""
Jobs = Callable[[Judging], None]
"""Calls its argument for every job that comes in, until there will be no more."""


class Template(JudgePlugin):
    """The pytest plugin that never lets the loop end, but forks it."""

    def __init__(self, programs: Programs, jobs: Jobs, source: Source, grounds: Grounds) -> None:
        super().__init__(programs.kata)
        self.programs, self.jobs, self.source, self.grounds = programs, jobs, source, grounds

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.jobs(lambda events, queue: self.judge(session, events, queue))
        return True

    def judge(self, session: pytest.Session, events: socket.socket, queue: int | None) -> None:
        """Grade the one attempt whose job comes in on that socket: all of its checks, or those that fall to us."""

        def emit(event: Event) -> None:
            events.sendall(line(event))

        with events.makefile("rb") as lines:
            job = msgspec.json.decode(lines.readline(), type=Job)
        try:
            if job.bench_seconds is None:
                self.grade(session, job, queue, emit)
            else:
                self.bench(job, emit)
        except (BrokenPipeError, ConnectionResetError):
            return
        except UsageError as error:
            emit(Refused(str(error)))
        except KataError as error:
            emit(Fault(str(error)))
        except Exception as error:
            sys.excepthook(*sys.exc_info())
            emit(Fault(f"the judge failed: {type(error).__name__}: {error}"))

    def grade(self, session: pytest.Session, job: Job, queue: int | None, emit: Emit) -> None:
        if self.problems or not self.checks:
            raise BadKata(
                f"the checks of {self.kata.slug} could not be collected: {'; '.join(self.problems) or 'there are none'}"
            )
        workshop = Workshop(
            self.kata, self.grounds, self.source, device=job.device, cpu_seconds=job.cpu_seconds, threads=job.threads
        )
        require(workshop, self.programs, job)
        self.run = run = Run(job, self.programs, workshop, self.checks, emit)
        emit(
            Plan(
                [
                    PlannedCheck(c.id, c.mark.part, c.title, c.mark.points, c.mark.needs, c.mark.trained)
                    for c in self.checks
                ]
            )
        )
        for number in turns(queue, len(session.items)):
            item = session.items[number]
            session.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
        workshop.close()
        results = list(run.results.values())
        if job.find_mistakes:
            results = mistakes.recognise(run, results)
        if job.write_replay:
            replay.write(run, results)
        emit(run.end(results))

    def bench(self, job: Job, emit: Emit) -> None:
        """Time every workload of benches.py, if there is such a file."""
        workloads = read_workloads(self.kata)
        workshop = Workshop(self.kata, self.grounds, self.source, device=job.device, threads=job.threads)
        require(workshop, self.programs, job)
        attempt = self.programs.attempt(job.source, job.patches)
        # In the attempt's place, too: how a file is called and guarded moves its arrays, which was worth up to 5 %.
        reference = self.programs.attempt(self.programs.reference.source)
        emit(Begun(len(workloads)))
        for workload in workloads:
            measurement = Measurement(workshop, attempt, reference, workload, job.seed)
            emit(Timed(measurement.run(job.bench_seconds or 0.0)))
        workshop.close()


def require(workshop: Workshop, programs: Programs, job: Job) -> None:
    """Raises Unavailable when this machine cannot grade as the job asks."""
    torch = torch_module()
    if job.device.startswith("cuda") and (torch is None or not torch.cuda.is_available()):
        raise Unavailable(f"there is no {job.device} device here; leave --device out to check on the CPU")
    if job.require_full:
        bench = Bench(workshop, programs.attempt(b""), 0)
        bench.module()
        bench.close()
        missing = workshop.missing or ((workshop.source.level,) if workshop.source.level else ())
        if missing:
            raise Unavailable(
                f"full isolation was required, and this is missing: {', '.join(missing)}; `kata doctor` tells more"
            )


def forked(link: socket.socket) -> Jobs:
    """Jobs over that link, each in a child of its own."""

    def run(judge: Judging) -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        gc.freeze()  # what was collected here is not looked through again by every judge
        for events, queue in incoming(link):
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                die_with_parent()
                link.close()
                judge(events, queue)
                events.close()
                os._exit(0)
            events.close()
            if queue is not None:
                os.close(queue)

    return run


def in_turn(link: socket.socket) -> Jobs:
    """Jobs over that link, one after the other in this process."""

    def run(judge: Judging) -> None:
        for events, queue in incoming(link):
            with events:
                judge(events, queue)

    return run


def incoming(link: socket.socket) -> Iterator[tuple[socket.socket, int | None]]:
    while True:
        data, descriptors, _, _ = socket.recv_fds(link, 1, 2)
        if not data:
            return
        yield socket.socket(fileno=descriptors[0]), next(iter(descriptors[1:]), None)


def main(link: socket.socket, control: socket.socket, grounds: Grounds) -> None:
    """The body of a template judge forked from the forkserver."""
    serve(link, forked(link), ForkedWorkers(Client(control)), grounds)


def serve(link: socket.socket, jobs: Jobs, source: Source, grounds: Grounds) -> None:
    """Read which kata this is for, then judge until the link is hung up."""
    with link.makefile("rb", buffering=0) as lines:
        brief = msgspec.json.decode(lines.readline(), type=Brief)
    try:
        programs = read_programs(load_kata(Path(brief.folder)))
    except KataError as error:
        refusal = line(Refused(str(error)))
        jobs(lambda events, _queue: events.sendall(refusal))
        return
    offer(programs.reference.given)
    compiled(programs.reference.source, programs.reference.filename)
    pytest.main(fixtures.arguments(programs.kata), plugins=[Template(programs, jobs, source, grounds)])
