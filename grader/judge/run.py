"""One attempt's grading: runs the planned checks in order, each in processes of its own, and makes the verdict."""

import math
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from grader.checking import MARK, Comparing, Mark, comparing
from grader.errors import HarnessFault
from grader.judge import rng, seen
from grader.judge.desk import Desk
from grader.judge.programs import Programs
from grader.judge.protocol import Checked, End, Event, Job, LooseComparison
from grader.judge.seeds import derive
from grader.judge.seen import Seen
from grader.judge.workshop import Bench, LoadFailed, Workshop
from grader.sandbox.cost import NotMeasurable
from grader.sandbox.proxy import Conversation, Module, Raised
from grader.sandbox.worker import seed_everything
from grader.verdict import CheckResult, Seconds, State, holds_back

CHECKS = "checks.py"
CUDA_SLACK = 10.0
Body = Callable[[], BaseException | None]
"""Runs a test function with its fixtures; returns what it raised."""


@dataclass(frozen=True, slots=True)
class Check:
    """One planned check."""

    id: str
    title: str
    mark: Mark


@dataclass(slots=True)
class Staff:
    """What one run of one check holds; its fixtures are these."""

    rng: rng.Rng
    bench: Bench | None
    desk: Desk
    stand_in: Desk | None = None
    """The reference in the attempt's place, where the check itself is in doubt."""
    attempt_module: Module | None = None
    reference_module: Module | None = None

    @property
    def attempt(self) -> Module:
        if self.attempt_module is None:
            holder = self.stand_in or self.bench
            assert holder is not None
            self.attempt_module = holder.module()
        return self.attempt_module

    @property
    def reference(self) -> Module:
        if self.reference_module is None:
            self.reference_module = self.desk.module()
        return self.reference_module

    @property
    def conversation(self) -> Conversation | None:
        return self.attempt_module._conversation if self.attempt_module is not None else None

    def close(self) -> None:
        for holder in (self.bench, self.desk, self.stand_in):
            if holder is not None:
                holder.close()


@dataclass(slots=True)
class Run:
    """The state of one grading."""

    job: Job
    programs: Programs
    workshop: Workshop
    checks: tuple[Check, ...]
    emit: Callable[[Event], None]
    results: dict[str, CheckResult] = field(default_factory=dict)
    evidence: dict[str, Conversation] = field(default_factory=dict)
    """What passed between judge and attempt in checks that did not pass, by check."""
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    """What each check cost in calls, of attempt and reference together."""
    attempt_seconds: float = 0.0
    reference_seconds: float = 0.0
    started: float = field(default_factory=time.perf_counter)
    staff: Staff | None = None

    def selected(self, check: Check) -> bool:
        if self.job.exactly is not None:
            return check.id in self.job.exactly
        return self.job.only is None or any(
            self.job.only.casefold() in text.casefold() for text in (check.id, check.title, check.mark.part)
        )

    def do(self, check: Check, body: Body) -> None:
        """Run one check, unless it is not asked for or waits for another, and report it."""
        waits_for = self._waits_for(check)
        if not self.selected(check):
            result = self._result(check, Seen(State.NOT_SELECTED))
        elif waits_for is not None:
            result = self._result(check, Seen(State.WAITING, f"waits for: {waits_for.title}"))
        else:
            result = self._run(check, body)
        self.results[check.id] = result
        self.emit(Checked(result))

    def _waits_for(self, check: Check) -> Check | None:
        if check.mark.needs is None or self.job.ignore_needs:
            return None
        needed = next(other for other in self.checks if other.id == check.mark.needs)
        done = self.results.get(needed.id)
        return needed if done is not None and holds_back(done.state) else None

    def _run(self, check: Check, body: Body) -> CheckResult:
        result = self._once(check, body)
        again = self._doubt(check, result)
        if again is not None:
            self.workshop.source.renew()
            result = self._once(check, body, *again)
        return result

    def _doubt(self, check: Check, result: CheckResult) -> tuple[str, ...] | None:
        """The names under which a check that did not pass is run once more, if it is."""
        if result.state in (State.PASSED, State.NOT_ATTEMPTED, State.HARNESS_FAULT, State.NOT_MEASURABLE):
            return None
        if check.mark.trained:
            return ("again",)
        # One interpreter served all checks so far: what failed may be an earlier check's doing.
        return () if self.workshop.source.level == "process" else None

    def _once(self, check: Check, body: Body, *names: str) -> CheckResult:
        start = time.perf_counter()
        how = Comparing(
            CUDA_SLACK if self.job.device.startswith("cuda") else 1.0, [] if self.job.probe_rounding else None
        )
        comparing.set(how)
        self.staff = staff = self._staff(check, names)
        try:
            left = [other for other in self.checks if other is not check and other.id not in self.results]
            if any(self.selected(other) for other in left):
                self.workshop.expect()
            outcome = self._outcome(staff, body)
            printed = staff.bench.printed() if staff.bench else ""
        finally:
            staff.close()
        ours, theirs = staff.desk.cpu_seconds, staff.bench.cpu_seconds if staff.bench else 0.0
        self.reference_seconds += ours
        self.attempt_seconds += theirs
        self.cpu_seconds[check.id] = ours + theirs
        if outcome.state is not State.PASSED and staff.conversation is not None:
            self.evidence[check.id] = staff.conversation
        for line in how.loose or ():
            self.emit(LooseComparison(check.id, line))
        return self._result(check, outcome, time.perf_counter() - start, printed)

    def _staff(self, check: Check, names: tuple[str, ...]) -> Staff:
        seed, worker_seed = (derive(self.job.seed, check.id, *more, *names) for more in ((), ("worker",)))
        seed_everything(worker_seed)
        bench = Bench(self.workshop, self.programs.attempt(self.job.source, self.job.patches), worker_seed)
        return Staff(rng.Rng(seed), bench, Desk(self.workshop, self.programs.reference, worker_seed))

    def _outcome(self, staff: Staff, body: Body) -> Seen:
        error = body()
        lost = staff.bench.lost if staff.bench else None
        # A check that swallowed the loss of its worker has not passed.
        error = error or lost
        if error is None:
            return seen.PASSED
        if isinstance(error, NotMeasurable):
            return Seen(State.NOT_MEASURABLE, str(error))
        if isinstance(error, HarnessFault):
            return Seen(State.HARNESS_FAULT, str(error))
        self._tell_stub_apart(error)
        told = seen.seen(error, staff.conversation)
        return told or self._whose_fault(staff, error, body)

    def _tell_stub_apart(self, error: BaseException) -> None:
        """Only what the stub itself raises means that nothing was attempted."""
        if not isinstance(error, Raised | LoadFailed) or error.report.kind != "not_attempted":
            return
        if error.report.message and error.report.message not in self.programs.stub_messages:
            error.report = msgspec.structs.replace(error.report, kind="raised")

    def _whose_fault(self, staff: Staff, error: BaseException, body: Body) -> Seen:
        """The check itself raised. If it does so with the reference in the attempt's place too, the check is broken."""
        conversation = staff.conversation
        names = (self.job.seed, "stand-in")
        desks = [Desk(self.workshop, self.programs.reference, derive(*names)) for _ in range(2)]
        self.staff = stand_in = Staff(rng.Rng(derive(*names)), None, desks[0], stand_in=desks[1])
        try:
            broken = body()
        finally:
            stand_in.close()
        if broken is None:
            return seen.unusable(error, conversation)
        where = _last_line(broken)
        return Seen(
            State.HARNESS_FAULT,
            f"the check is broken: {type(broken).__name__}: {broken}{where}; please report it with the seed",
        )

    def _result(self, check: Check, outcome: Seen, seconds: float = 0.0, output: str = "") -> CheckResult:
        return CheckResult(
            id=check.id,
            part=check.mark.part,
            title=check.title,
            points=check.mark.points,
            state=outcome.state,
            seconds=round(seconds, 6),
            message=outcome.message,
            call=outcome.call,
            expected=outcome.expected,
            got=outcome.got,
            output=output,
        )

    def end(self, results: Iterable[CheckResult]) -> End:
        """What stands at the end, of the checks that fell to this judge."""
        seconds = time.perf_counter() - self.started, self.attempt_seconds, self.reference_seconds
        return End(
            list(results),
            Seconds(*(math.ceil(x * 1e6) / 1e6 for x in seconds)),
            self.workshop.source.level or ("partial" if self.workshop.missing else "full"),
            list(self.workshop.missing),
        )


def planned(name: str, function: Any) -> Check | None:
    """The check that a collected test function is; None when it lacks its mark."""
    mark = getattr(function, MARK, None)
    title = " ".join((function.__doc__ or "").split())
    return Check(name, title, mark) if mark is not None else None


def _last_line(error: BaseException) -> str:
    lines = [
        line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename.endswith(CHECKS)
    ]
    return f" ({CHECKS}, line {lines[-1]})" if lines else ""
