"""Counts against a distribution: accuracy of the tails, the bound on false alarms, and what is caught."""

import math

import numpy as np
import pytest
import torch

from grader.comparison.compare import CheckFailed
from grader.comparison.distribution import assert_distribution
from grader.comparison.gamma import chi_square_above, poisson_at_least, tails

ALPHA = 1e-7


def passes(counts: object, probabilities: object) -> bool:
    try:
        assert_distribution(counts, probabilities, alpha=ALPHA)
    except CheckFailed:
        return False
    return True


@pytest.mark.parametrize("x", [0.01, 0.5, 1.0, 3.84, 28.37, 60.0, 600.0])
def test_chi_square_has_its_closed_forms(x: float) -> None:
    assert chi_square_above(x, 1) == pytest.approx(math.erfc(math.sqrt(x / 2)), rel=1e-12)
    assert chi_square_above(x, 2) == pytest.approx(math.exp(-x / 2), rel=1e-12)
    assert chi_square_above(x, 6) == pytest.approx(math.exp(-x / 2) * (1 + x / 2 + x * x / 8), rel=1e-12)


@pytest.mark.parametrize(
    ("degrees", "critical"),
    [(1, 3.841458820694124), (5, 11.070497693516351), (10, 18.307038053275146), (50, 67.50480654)],
)
def test_chi_square_has_the_tabled_critical_values(degrees: int, critical: float) -> None:
    assert chi_square_above(critical, degrees) == pytest.approx(0.05, rel=1e-8)


@pytest.mark.parametrize(("count", "mean"), [(1, 1e-9), (3, 1e-3), (20, 4.0), (5, 5.0), (40, 12.5), (300, 200.0)])
def test_poisson_has_its_sum(count: int, mean: float) -> None:
    terms = (math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(count, count + 400))
    assert poisson_at_least(count, mean) == pytest.approx(math.fsum(terms), rel=1e-11)


def test_the_tails_agree_with_scipy() -> None:
    special = pytest.importorskip("scipy.special")
    for s in (0.5, 1.0, 4.5, 31.0, 400.0):
        for x in s * np.array([0.01, 0.5, 0.99, 1.0, 1.01, 1.5, 4.0]):
            assert tails(s, float(x)) == pytest.approx((special.gammainc(s, x), special.gammaincc(s, x)), rel=1e-10)


@pytest.mark.parametrize(("draws", "chance"), [(20, 0.5), (31, 0.4), (79, 0.2), (160, 0.1), (300, 0.04), (823, 0.02)])
def test_a_right_sampler_fails_less_often_than_alpha(draws: int, chance: float) -> None:
    """Every outcome of two categories, weighted by its probability."""
    wrong = 0.0
    for k in range(draws + 1):
        weight = math.comb(draws, k) * chance**k * (1 - chance) ** (draws - k)
        wrong += 0.0 if passes([k, draws - k], [chance, 1 - chance]) else weight
    assert wrong < ALPHA


def test_a_rare_category_fails_less_often_than_alpha() -> None:
    draws, chance = 1000, 2e-3
    weights = [math.comb(draws, k) * chance**k * (1 - chance) ** (draws - k) for k in range(60)]
    assert sum(w for k, w in enumerate(weights) if not passes([k, draws - k], [chance, 1 - chance])) < ALPHA


def test_right_samplers_pass() -> None:
    rng = np.random.default_rng(0)
    for size in (2, 7, 50, 400):
        probabilities = rng.dirichlet(np.full(size, 0.3))
        assert all(passes(rng.multinomial(2000, probabilities), probabilities) for _ in range(20))


@pytest.mark.parametrize(
    ("counts", "probabilities"),
    [
        ([700, 150, 150], [0.5, 0.25, 0.25]),
        ([0, 500, 500], [0.05, 0.475, 0.475]),
        ([1000, 0], [0.5, 0.5]),
        ([997, 3], [1 - 1e-9, 1e-9]),
        ([400, *[6] * 100], [0.9, *[0.001] * 100]),
        ([1000, *[0] * 500], [0.5, *[0.001] * 500]),
        ([2000, *[0] * 1000], [1 / 1001] * 1001),
    ],
    ids=["skewed", "never drawn", "greedy", "next to impossible", "too many rare", "no rare", "one of a vocabulary"],
)
def test_a_wrong_sampler_fails(counts: list[int], probabilities: list[float]) -> None:
    assert not passes(counts, probabilities)


def test_the_failure_names_the_worst_category() -> None:
    with pytest.raises(CheckFailed, match="top-k: the draws do not follow the distribution") as caught:
        assert_distribution(torch.tensor([500, 100, 400]), torch.tensor([0.5, 0.25, 0.25]), label="top-k")
    assert caught.value.expected == "category 1 in about 250 of 1000 draws"
    assert caught.value.got == "category 1 in 100"


@pytest.mark.parametrize("probabilities", [[0.5, 0.5, 0.0], [0.5, 0.5]], ids=["probability 0", "beyond the last"])
def test_one_impossible_draw_is_enough(probabilities: list[float]) -> None:
    with pytest.raises(CheckFailed, match="category 2 was drawn, and its probability is 0"):
        assert_distribution([500, 500, 1], probabilities)


def test_no_draws_are_a_failure() -> None:
    with pytest.raises(CheckFailed, match="nothing was drawn"):
        assert_distribution([], [0.5, 0.5])


@pytest.mark.parametrize(
    ("counts", "probabilities"),
    [([1.5], [1.0]), ([-1, 2], [0.5, 0.5]), ([1, 1], [0.5, 0.6]), ([1, 1], [1.5, -0.5]), ([[1]], [1.0]), ([1], [])],
)
def test_what_is_no_count_or_no_distribution_is_the_authors_error(counts: object, probabilities: object) -> None:
    with pytest.raises(ValueError, match=r"counts|probabilities"):
        assert_distribution(counts, probabilities)
