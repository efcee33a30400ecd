"""Timing an attempt against the reference in fresh pairs of confined workers, by clocks that neither can touch.

What counts is the CPU time of a process from the end of its previous call to the end of this one, so that work put off
until after the reply is paid for as well, and on a GPU the time between events. The wall clock runs beside it.
"""

import math
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from secrets import randbelow
from statistics import mean, median
from typing import Any

import msgspec

from grader.benching import Call
from grader.comparison.compare import CheckFailed, assert_close
from grader.errors import BadKata, HarnessFault
from grader.judge.rng import Rng
from grader.judge.seeds import derive
from grader.judge.stopwatch import Cost, stopwatch
from grader.judge.workloads import Workload
from grader.judge.workshop import Bench, LoadFailed, Workshop
from grader.sandbox.channel import WorkerLost
from grader.sandbox.cost import NotMeasurable
from grader.sandbox.program import Program
from grader.sandbox.proxy import Handle, Raised
from grader.timing import LEAST_PAIRS, Timing, disagree, enough, interval

BLOCKS = 4
BLOCK_SECONDS = 0.01
MOST_CALLS = 40
ALIKE = 4
LINE_BYTES, SHIFTS = 64, 1024
WARM_UPS = 2
TRUSTED = 2
"""How many times what the reference's calls take beyond a GPU's events the attempt's may take."""
FEWEST_PAIRS, MOST_PAIRS = 6, 80
PATIENCE = 3
"""How many times its CPU seconds a measurement may take by the wall clock: others may want the cores too."""
MIB = 2**20

ECHO = b"""
stored = None

def store(value):
    global stored
    stored = value

def echo(*args, **kwargs):
    return stored
"""


class Side:
    """One program in one fresh worker, set up for a workload. Close it."""

    def __init__(
        self, workshop: Workshop, program: Program, workload: Workload, seed: int, beyond: float = math.inf
    ) -> None:
        self.bench = Bench(workshop, program, seed, apart=True)
        self.results: list[Any] = []
        try:
            self.module = self.bench.module()
            # All workers of a run are copies of one process: without this, the luck of where arrays lie lasts for it.
            self.module._conversation.ask("shift", LINE_BYTES * randbelow(SHIFTS))
            self.calls = workload.steps(self.module, Rng(seed))
            self.next = next(self.calls)
            self.watch = stopwatch(self.module._conversation, workshop.device, beyond)
        except BaseException:
            self.bench.close()
            raise

    def cost(self, calls: int) -> Cost:
        """What that many calls cost together; their results are kept."""
        total = Cost()
        for _ in range(calls):
            result, cost = self.watch.time(self.next)
            self.results.append(result)
            total += cost
            self.next = next(self.calls)
        return total

    def close(self) -> None:
        self.bench.close()


@dataclass(frozen=True, slots=True)
class Shape:
    """How a pair is measured: calls in a block of the reference and of the attempt, blocks, and calls before them."""

    ours: int = 1
    theirs: int = 1
    blocks: int = BLOCKS
    warm_ups: int = WARM_UPS


class WrongResult(Exception):
    """The attempt computed something else than the reference."""


@dataclass(slots=True)
class Measurement:
    """One workload of one attempt."""

    workshop: Workshop
    attempt: Program
    reference: Program
    workload: Workload
    seed: str
    counted: list[float] = field(default_factory=list)
    """Log-ratios by the clock that counts, one a pair."""
    wall: list[float] = field(default_factory=list)
    shape: Shape = field(default_factory=Shape)
    echo: Cost = field(default_factory=Cost)
    reference_cost: Cost = field(default_factory=Cost)
    """Of one call."""
    beyond: float = math.inf
    """Wall seconds that a call of the attempt may take besides what it says."""
    cpu_seconds: float = 0.0
    """Of all workers so far."""

    def run(self, budget_seconds: float) -> Timing:
        """Pairs until the interval is narrow or so many CPU seconds are spent, ours among them; there are always enough
        for an interval. Without any time it is only tried, once.

        Raises BadKata where the workload or the reference is broken.
        """
        cpu_end, wall_end = time.process_time() + budget_seconds, time.monotonic() + PATIENCE * budget_seconds
        try:
            self._rehearse(budget_seconds)
            if not budget_seconds:
                return self._outline()
            while not self._done(cpu_end, wall_end):
                self._pair(len(self.counted))
            peaks = self._peaks() if self.workload.mark.memory else (None, None)
        except WrongResult as error:
            return Timing(name=self.workload.name, title=self.workload.title, error=str(error))
        except (HarnessFault, BadKata):
            raise
        except Exception as error:
            told = f"{type(error).__name__}: {error}"
            raise BadKata(
                f"benches.py, {self.workload.name}: the reference itself does not come through it: {told}"
            ) from error
        return self._timing(*peaks)

    def _done(self, cpu_end: float, wall_end: float) -> bool:
        late = time.process_time() + self.cpu_seconds > cpu_end or time.monotonic() > wall_end
        return (late and len(self.counted) >= FEWEST_PAIRS) or enough(self.counted) or len(self.counted) >= MOST_PAIRS

    def _rehearse(self, budget_seconds: float) -> None:
        """How many calls make a block, and what only carrying their arguments and results costs."""
        with self._sides("rehearsal", swapped=False) as (reference, attempt):
            reference.cost(WARM_UPS)
            self.reference_cost = min((reference.cost(1) for _ in range(2)), key=lambda cost: cost.counted)
            self.beyond = TRUSTED * (self.reference_cost.wall - self.reference_cost.counted)
            theirs = self._told(attempt, 1)
            self._compare(reference, attempt)
            self.echo = self._echo(reference.next, reference.results[-1])
        slow = theirs.wall * LEAST_PAIRS * (BLOCKS + WARM_UPS) > budget_seconds
        calls = _alike(_calls(self.reference_cost), _calls(theirs))
        self.shape = Shape(*calls, *((2, 1) if slow else (BLOCKS, WARM_UPS)))

    def _echo(self, call: Call, result: Any) -> Cost:
        bench = Bench(self.workshop, Program("echo", "echo.py", ECHO), 0, apart=True)
        try:
            module = bench.module()
            module.store(result)
            args = tuple(None if isinstance(value, Handle) else value for value in call.args)
            kwargs = {name: value for name, value in call.kwargs.items() if not isinstance(value, Handle)}
            watch = stopwatch(module._conversation, self.workshop.device)
            costs = [watch.time(Call(module.echo, args, kwargs))[1] for _ in range(WARM_UPS + 9)][WARM_UPS:]
        finally:
            bench.close()
        return Cost(median(cost.counted for cost in costs), median(cost.wall for cost in costs))

    def _pair(self, number: int) -> None:
        """One log-ratio for each clock, from two pairs of fresh workers.

        Who is made first, warmed up first and timed first is the other one in the second: each is worth a few per cent.
        """
        halves = [self._half(f"{number}.{int(swapped)}", swapped=swapped) for swapped in (False, True)]
        self.counted.append(mean(counted for counted, _ in halves))
        self.wall.append(mean(wall for _, wall in halves))

    def _half(self, name: str, *, swapped: bool) -> tuple[float, float]:
        """Log-ratio by the clock that counts, and by the wall clock, of two fresh workers, their blocks interleaved."""
        with self._sides(name, swapped=swapped) as (reference, attempt):
            self._block(reference, attempt, self.shape.warm_ups, self.shape.warm_ups, swapped=swapped)
            blocks = [
                self._block(reference, attempt, self.shape.ours, self.shape.theirs, swapped=swapped != bool(block % 2))
                for block in range(self.shape.blocks)
            ]
            self._compare(reference, attempt)
        return (
            median(math.log(theirs.counted / ours.counted) for ours, theirs in blocks),
            median(math.log(theirs.wall / ours.wall) for ours, theirs in blocks),
        )

    def _block(self, reference: Side, attempt: Side, ours: int, theirs: int, *, swapped: bool) -> tuple[Cost, Cost]:
        """What one call of each costs, meaned over that many."""
        if swapped:
            their_cost = self._told(attempt, theirs)
            our_cost = reference.cost(ours)
        else:
            our_cost = reference.cost(ours)
            their_cost = self._told(attempt, theirs)
        return our_cost.each(ours, self.echo), their_cost.each(theirs, self.echo)

    @contextmanager
    def _sides(self, name: str, *, swapped: bool) -> Iterator[tuple[Side, Side]]:
        """Reference and attempt, fresh, with the same inputs before them; which is made first may decide where in
        memory it lies."""
        seed = derive(self.seed, "bench", self.workload.name, name)
        with ExitStack() as stack:
            if swapped:
                attempt = stack.enter_context(closing(self._attempt(seed)))
            reference = stack.enter_context(closing(Side(self.workshop, self.reference, self.workload, seed)))
            if not swapped:
                attempt = stack.enter_context(closing(self._attempt(seed)))
            yield reference, attempt
            self.cpu_seconds += reference.bench.cpu_seconds + attempt.bench.cpu_seconds

    def _attempt(self, seed: int) -> Side:
        try:
            return Side(self.workshop, self.attempt, self.workload, seed, self.beyond)
        except (LoadFailed, Raised, WorkerLost) as error:
            raise WrongResult(str(error)) from error

    def _told(self, attempt: Side, calls: int) -> Cost:
        try:
            return attempt.cost(calls)
        except (Raised, WorkerLost) as error:
            raise WrongResult(str(error)) from error

    def _compare(self, reference: Side, attempt: Side) -> None:
        """All results that both have computed. Raises WrongResult."""
        mark = self.workload.mark
        for want, got in zip(reference.results, attempt.results, strict=False):
            try:
                assert_close(got, want, rtol=mark.rtol, atol=mark.atol)
            except CheckFailed as failure:
                raise WrongResult(f"what it returned is wrong: {failure.message}") from failure

    def _peaks(self) -> tuple[float | None, float | None]:
        """MiB that one call of the attempt and of the reference needs at its highest, after one that went before."""
        with self._sides("peak", swapped=False) as (reference, attempt):
            try:
                self._told(attempt, 1)
                theirs = attempt.watch.peak_bytes(attempt.next)
                reference.cost(1)
                ours = reference.watch.peak_bytes(reference.next)
            except NotMeasurable:
                return None, None
            except (Raised, WorkerLost) as error:
                raise WrongResult(str(error)) from error
        return theirs / MIB, ours / MIB

    def _outline(self) -> Timing:
        """What is known without a pair."""
        share = self.echo.counted / self.reference_cost.counted if self.reference_cost.counted else 0.0
        return Timing(
            name=self.workload.name,
            title=self.workload.title,
            echo_share=share,
            reference_ms=1e3 * self.reference_cost.counted,
        )

    def _timing(self, peak: float | None, reference_peak: float | None) -> Timing:
        counted, wall = interval(self.counted), interval(self.wall)
        apart = self.workshop.device == "cpu" and disagree(counted, wall)
        return msgspec.structs.replace(
            self._outline(),
            ratio=counted.ratio,
            low=counted.low,
            high=counted.high,
            pairs=counted.pairs,
            verdict=counted.speed,
            wall_ratio=wall.ratio if apart else None,
            peak_mb=peak,
            reference_peak_mb=reference_peak,
        )


def _calls(cost: Cost) -> int:
    """How many make a block."""
    return max(1, min(MOST_CALLS, math.ceil(BLOCK_SECONDS / max(cost.counted, 1e-5))))


def _alike(ours: int, theirs: int) -> tuple[int, int]:
    """As many calls for both, unless one is far slower: the first of a block finds the caches cold, and costs more.

    >>> _alike(2, 3), _alike(40, 1)
    ((3, 3), (40, 1))
    """
    most = max(ours, theirs)
    return (most, most) if most <= ALIKE * min(ours, theirs) else (ours, theirs)
