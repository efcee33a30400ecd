"""Speed as a ratio to the reference: paired log-ratios, their median and interval, and what may be said of it.

A ratio is judged only where its interval allows it; otherwise it is too noisy. Pure: nothing here reads a clock.
"""

import math
from collections.abc import Sequence
from enum import StrEnum
from functools import cache
from statistics import median

import msgspec

FORMAT = 1
CONFIDENCE = 0.95
NARROW = 0.03
"""Half the width of an interval of log-ratios at which measuring may end."""
LEAST_PAIRS = 9
SLOWER, FASTER = 1.05, 0.95
ON_PAR = (0.90, 1.10)
DISAGREEMENT = math.log(1.25)
"""Between CPU and wall clock, beyond what their intervals allow."""


class Speed(StrEnum):
    FASTER = "faster"
    ON_PAR = "on par"
    SLOWER = "slower"
    TOO_NOISY = "too noisy"


class Interval(msgspec.Struct, frozen=True):
    """A ratio with its 95 % interval, from that many pairs."""

    ratio: float
    low: float
    high: float
    pairs: int

    @property
    def half_width(self) -> float:
        """In log-ratio: 0.03 is about 3 %."""
        return math.log(self.high / self.low) / 2

    @property
    def speed(self) -> Speed:
        if self.low > SLOWER:
            return Speed.SLOWER
        if self.high < FASTER:
            return Speed.FASTER
        if ON_PAR[0] <= self.low and self.high <= ON_PAR[1]:
            return Speed.ON_PAR
        return Speed.TOO_NOISY


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """One workload, measured. The numbers are None where the attempt did not come through it."""

    name: str
    title: str
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    pairs: int = 0
    verdict: Speed = Speed.TOO_NOISY
    wall_ratio: float | None = None
    """By the wall clock, where it says something else than the CPU clock; sleeping, threads or processes do that."""
    peak_mb: float | None = None
    reference_peak_mb: float | None = None
    echo_share: float = 0.0
    """What only carrying arguments and result costs, as a part of the reference's time; it is taken off both."""
    reference_ms: float = 0.0
    """Of one call; for judging the workload, not the attempt."""
    error: str = ""
    """What the attempt did wrong."""


class BenchReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `kata bench --json` prints."""

    format: int = FORMAT
    kata: str
    sha256: str
    device: str
    clock: str
    """`cpu`, read from outside the process; `events` on a GPU, bounded by the judge's wall clock."""
    workloads: list[Timing]


def interval(log_ratios: Sequence[float]) -> Interval:
    """The median, and the order statistics that hold the true median with 95 %; needs at least 6."""
    ordered = sorted(log_ratios)
    k = rank(len(ordered))
    return Interval(
        math.exp(median(ordered)), math.exp(ordered[k - 1]), math.exp(ordered[len(ordered) - k]), len(ordered)
    )


@cache
def rank(n: int) -> int:
    """The largest k with P(Binomial(n, ½) < k) ≤ 2.5 %: the k-th smallest and k-th largest bound the median.

    >>> rank(9), rank(20)
    (2, 6)
    """
    below, k = 0.0, 0
    while True:
        below += math.comb(n, k) / 2**n
        if below > (1 - CONFIDENCE) / 2:
            break
        k += 1
    if k == 0:
        raise ValueError(f"{n} pairs say nothing with {CONFIDENCE:.0%}: 6 are the least")
    return k


def enough(log_ratios: Sequence[float]) -> bool:
    """Whether more pairs are not needed."""
    return len(log_ratios) >= LEAST_PAIRS and interval(log_ratios).half_width < NARROW


def disagree(cpu: Interval, wall: Interval) -> bool:
    """Whether the clocks contradict each other beyond the noise of both."""
    apart = abs(math.log(wall.ratio / cpu.ratio))
    return apart > DISAGREEMENT and apart > cpu.half_width + wall.half_width
