"""The checks of `double` are wrong, or leave, whatever they are given; that of `loss` is sound."""

import pytest

from grader.checking import assert_close, check


@check("double", points=20)
def test_double_trips_over_itself(attempt, rng):
    """double is 2·x"""
    attempt.double(rng.standard_normal(4))
    raise KeyError("a fault of the check's own")


@check("double", points=20)
def test_double_skips_itself(attempt, rng):
    """double is 2·x"""
    attempt.double(rng.standard_normal(4))
    pytest.skip("not today")


@check("double", points=20)
def test_double_is_expected_to_fail(attempt, rng):
    """double is 2·x"""
    attempt.double(rng.standard_normal(4))
    pytest.xfail("as expected")


@check("loss", points=40)
def test_loss_is_a_mean_of_squares(attempt, reference, rng):
    """loss is the mean of x²"""
    x = rng.standard_normal(7)
    assert_close(attempt.loss(x), reference.loss(x), rtol=1e-9, atol=0)
