"""A panel: the judges that share the checks of one attempt, heard as if one had run them all in order."""

import os
import sys
from collections.abc import Iterator

from grader.errors import HarnessFault
from grader.judge.protocol import Checked, End, Event, Plan, PlannedCheck
from grader.verdict import LEVELS, CheckResult, Seconds, State, holds_back

MOST_JUDGES = 4


def cores_here() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def judges_here() -> int:
    """How many are worth having for somebody who waits: one for each core, up to a few."""
    return min(cores_here(), MOST_JUDGES)


class Panel:
    """Hears what that many judges say, as it comes, and passes on what one would have said."""

    def __init__(self, judges: int, *, ignore_needs: bool = False) -> None:
        self.judges, self.ignore_needs = judges, ignore_needs
        self.plan: list[PlannedCheck] = []
        self.answers: dict[str, CheckResult] = {}
        """As they came."""
        self.told: dict[str, CheckResult] = {}
        """As they were passed on: in the order of the plan, and waiting where one was run too early."""
        self.ends: list[End] = []

    def hear(self, event: Event) -> Iterator[Event]:
        """What can be passed on now. Raises HarnessFault where judges contradict each other."""
        match event:
            case Plan(checks):
                if self.plan and checks != self.plan:
                    raise HarnessFault("the judges of one attempt have different plans; please report it")
                if not self.plan:
                    self.plan = checks
                    yield event
            case Checked(result):
                if result.id in self.answers:
                    raise HarnessFault(f"{result.id} was answered twice; please report it")
                self.answers[result.id] = result
                yield from self._next_in_order()
            case End():
                self.ends.append(event)
                if len(self.ends) == self.judges:
                    yield self._end()
            case _:
                yield event

    def _next_in_order(self) -> Iterator[Checked]:
        for check in self.plan[len(self.told) :]:
            if check.id not in self.answers:
                return
            yield Checked(self._tell(check))

    def _tell(self, check: PlannedCheck) -> CheckResult:
        """Passed on now, after all before it: the judge that ran it may not have known how the one it needs ended."""
        answer = self.answers.get(check.id) or _without_outcome(check, State.HARNESS_FAULT, "never answered")
        needed = None if self.ignore_needs or check.needs is None else self.told.get(check.needs)
        if needed is not None and holds_back(needed.state) and answer.state is not State.NOT_SELECTED:
            answer = _without_outcome(check, State.WAITING, f"waits for: {needed.title}")
        self.told[check.id] = answer
        return answer

    def _end(self) -> End:
        """All of them as one. Every planned check is answered in it."""
        last = {result.id: result for end in self.ends for result in end.checks}
        for check in self.plan[len(self.told) :]:
            self._tell(check)
        checks = [told if told.state is State.WAITING else last.get(id, told) for id, told in self.told.items()]
        seconds = [end.seconds for end in self.ends]
        return End(
            checks,
            Seconds(
                max(one.total for one in seconds),
                sum(one.attempt for one in seconds),
                sum(one.reference for one in seconds),
            ),
            max((end.isolation for end in self.ends), key=LEVELS.index),
            list(dict.fromkeys(layer for end in self.ends for layer in end.isolation_missing)),
        )


def _without_outcome(check: PlannedCheck, state: State, message: str) -> CheckResult:
    return CheckResult(
        id=check.id, part=check.part, title=check.title, points=check.points, state=state, message=message
    )
