"""Checks that wait for one another."""

from grader.checking import assert_close, assert_equal, assert_true, check


@check("first", points=30)
def test_double_is_twice(attempt):
    """double is twice"""
    assert_equal(attempt.double(3), 6)


@check("first", points=20, needs="test_double_is_twice")
def test_double_is_twice_for_any_number(attempt, reference, rng):
    """double is twice, whatever the number"""
    for x in rng.standard_normal(3).tolist():
        assert_close(attempt.double(x), reference.double(x), rtol=1e-12, atol=0)


@check("second", points=20)
def test_inverse_divides(attempt):
    """inverse divides one"""
    assert_close(attempt.inverse(4.0), 0.25, rtol=1e-12, atol=0)


@check("second", points=20)
def test_total_is_the_sum(attempt):
    """total is the sum"""
    got = attempt.total([1, 2, 3])
    assert_true(got + 1 == 7, "not the sum", expected=6, got=got)


@check("second", points=10, needs="test_total_is_the_sum")
def test_total_of_nothing(attempt):
    """the total of nothing is zero"""
    assert attempt.total([]) == 0, "the total of nothing is zero"
