"""Whether counts follow a distribution, with a bound on how often a right sampler is called wrong."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from grader.comparison import values
from grader.comparison.compare import fail
from grader.comparison.gamma import chi_square_above, poisson_at_least
from grader.comparison.rules import Array

MIN_EXPECTED = 10
"""Draws: categories that are expected less often are pooled, and are themselves only tested for too many."""


def assert_distribution(counts: Any, probabilities: Any, *, alpha: float = 1e-7, label: str = "") -> None:
    """Passes when the draws that `counts` counts, one number a category, may come from `probabilities`.

    A right sampler fails with a chance below `alpha`. A category of probability 0 that was drawn fails at once; so does
    one beyond the last, for `np.bincount` is as long as the largest token. Otherwise: a likelihood-ratio test (G, with
    Williams' correction) over categories that are expected 10 times or more, rare ones pooled, and a Poisson test that
    no rare one is drawn too often. Pearson's statistic would not do: with 10 expected draws it fails a right sampler 50
    times too often at 1e-7.
    Raises ValueError for counts or probabilities that are none.
    """
    sample = _sample(counts, probabilities)
    prefix = f"{label}: " if label else ""
    if not sample.total:
        fail(f"{prefix}nothing was drawn")
    impossible = np.flatnonzero((sample.probabilities == 0) & (sample.counts > 0))
    if impossible.size:
        first = int(impossible[0])
        fail(
            f"{prefix}category {first} was drawn, and its probability is 0",
            expected=f"category {first} never",
            got=f"category {first} in {int(sample.counts[first])} of {sample.total} draws",
        )
    # χ² makes a category that is never drawn look up to seven times less likely than it is; with a tenth of alpha for
    # each test the bound holds (tests/test_distribution.py counts it out).
    groups = _groups(sample)
    if min(_rare_chance(sample, groups[-1]), _common_chance(groups[:-1])) < alpha / 10:
        _fail_on_worst(sample, prefix)


@dataclass(frozen=True, slots=True)
class _Sample:
    counts: Array
    probabilities: Array
    total: int

    @property
    def expected(self) -> Array:
        return self.probabilities * self.total


def _sample(counts: Any, probabilities: Any) -> _Sample:
    observed, wanted = (values.plain_array(x).astype(np.float64) for x in (counts, probabilities))
    if observed.ndim != 1 or wanted.ndim != 1 or not wanted.size:
        raise ValueError("counts and probabilities are one number a category")
    if not ((observed >= 0) & (observed % 1 == 0)).all():
        raise ValueError("counts are whole numbers, 0 or more")
    if not ((wanted >= 0).all() and abs(wanted.sum() - 1) < 1e-4):
        raise ValueError(f"probabilities are 0 or more and sum to 1, not to {wanted.sum():g}")
    size = max(observed.size, wanted.size)
    observed, wanted = (np.pad(x, (0, size - x.size)) for x in (observed, wanted))
    return _Sample(observed, wanted / wanted.sum(), int(observed.sum()))


def _groups(sample: _Sample) -> Array:
    """Rows of (draws, expected draws): the common categories, then the rare ones, the less rare first, pooled until
    enough are expected; in the last row what is left over, which may be rare."""
    order = np.argsort(-sample.expected, kind="stable")
    groups = [[0.0, 0.0]]
    for count, expected in zip(sample.counts[order], sample.expected[order], strict=True):
        groups[-1][0] += count
        groups[-1][1] += expected
        if groups[-1][1] >= MIN_EXPECTED:
            groups.append([0.0, 0.0])
    return np.array(groups)


def _rare_chance(sample: _Sample, left_over: Array) -> float:
    """The chance that a rare category, or those left over together, is drawn so often or more (Bonferroni)."""
    rare = (sample.expected < MIN_EXPECTED) & (sample.expected > 0)
    candidates = [tuple(left_over), *zip(sample.counts[rare], sample.expected[rare], strict=True)]
    return len(candidates) * min(poisson_at_least(int(count), float(mean)) for count, mean in candidates)


def _common_chance(groups: Array) -> float:
    """The chance of a G so large."""
    counts, expected = groups.T
    total, degrees = float(counts.sum()), len(groups) - 1
    if degrees < 1 or not total:
        return 1.0
    expected = expected / expected.sum() * total
    drawn = counts > 0
    statistic = 2 * float((counts[drawn] * np.log(counts[drawn] / expected[drawn])).sum())
    correction = 1 + (float((total / expected).sum()) - 1) / (6 * total * degrees)
    return chi_square_above(statistic / correction, degrees)


def _fail_on_worst(sample: _Sample, prefix: str) -> None:
    deviation = (sample.counts - sample.expected) / np.sqrt(np.maximum(sample.expected, 1e-300))
    worst = int(np.argmax(np.abs(deviation)))
    fail(
        f"{prefix}the draws do not follow the distribution",
        expected=f"category {worst} in about {sample.expected[worst]:.4g} of {sample.total} draws",
        got=f"category {worst} in {int(sample.counts[worst])}",
    )
