"""Checks for the tests of the command line."""

from grader.checking import assert_equal, check


@check("total", points=40)
def test_total_adds_up(attempt, reference, rng):
    """total is the sum"""
    xs = [float(x) for x in rng.integers(1, 9, size=5)]
    assert_equal(attempt.total(xs), reference.total(xs))


@check("total", points=20, needs="test_total_adds_up")
def test_total_of_nothing(attempt, reference):
    """total of no numbers is 0.0"""
    assert_equal(attempt.total([]), reference.total([]))


@check("largest", points=40)
def test_largest(attempt, reference, rng):
    """largest is the largest number, wherever it stands"""
    xs = [float(x) for x in rng.permutation(7)]
    assert_equal(attempt.largest(xs), reference.largest(xs))
