"""Writes runs into a history, as a process of its own: the tests start several, starve it, and kill it.

    python history_writer.py DATABASE KATA COUNT [BYTES]

It says each number once that run is kept, and ends with 3 and the message of a HistoryError.
"""

import hashlib
import random
import sys
import time
from pathlib import Path

from grader.errors import HistoryError
from grader.history import History
from grader.verdict import AttemptRef, CheckResult, MistakeMatch, PartScore, Seconds, State, Verdict


def make_verdict(data: bytes, *, kata: str = "toy-kata", score: int = 40, **states: State) -> Verdict:
    """A verdict on `data`, with a check for each named state; 100 is a pass."""
    return Verdict(
        kata=kata,
        attempt=AttemptRef(path=f"/home/me/{kata}/attempt.py", sha256=hashlib.sha256(data).hexdigest()),
        seed="8f21c0de5eed4242",
        device="cpu",
        isolation="full",
        isolation_missing=[],
        score=score,
        max_score=100,
        passed=score == 100,
        parts=[PartScore("double", score, 100)],
        checks=[_check(name, state) for name, state in states.items()],
        seconds=Seconds(total=0.3, attempt=0.1, reference=0.1),
    )


def _check(name: str, state: State) -> CheckResult:
    mistake = MistakeMatch("adds_one", "Add x, not 1.") if state is State.FAILED else None
    return CheckResult(id=name, part="double", title="doubles x", points=10, state=state, seconds=0.1, mistake=mistake)


def main(database: str, kata: str, count: str, size: str = "0") -> int:
    rng = random.Random(kata)
    try:
        with History.open(Path(database), now=time.time) as history:
            for number in range(1, int(count) + 1):
                data = f"{kata} {number}".encode() + rng.randbytes(int(size))
                history.record_run(
                    make_verdict(data, kata=kata, test_a=State.PASSED, test_b=State.FAILED), data, selected=False
                )
                print(number, flush=True)
    except HistoryError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
