"""CANARY-CHECKS-5b1d: what these files hold must never be found in a worker."""

import numpy as np

from grader.checking import assert_close, assert_inputs_unchanged, assert_true, check

SHAPES = ((5,), (2, 3), (1,))
EXPECTED = "CANARY-EXPECTED-c0de"


@check("double", points=20)
def test_double_adds_x_to_itself(attempt, reference, rng):
    """double is 2·x"""
    for shape in SHAPES:
        x = rng.standard_normal(shape)
        assert_close(attempt.double(x), reference.double(x), rtol=1e-12, atol=0)


@check("double", points=20)
def test_double_leaves_x_alone(attempt, reference, rng):
    """x stays as it was, and the result is 2·x"""
    x = rng.standard_normal(4)
    got = assert_inputs_unchanged(attempt.double, x)
    assert_close(got, reference.double(x), rtol=1e-12, atol=0)


@check("loss", points=20)
def test_loss_is_a_mean_of_squares(attempt, reference, rng):
    """loss is the mean of x²"""
    x = rng.standard_normal(7)
    assert_close(attempt.loss(x), reference.loss(x), rtol=1e-9, atol=0, exact_type=True)


@check("loss", points=20)
def test_loss_equals_by_the_plain_sign(attempt, rng):
    """loss of a constant is its square"""
    value = float(rng.integers(2, 1000))
    assert attempt.loss(np.full(3, value)) == value * value


@check("find", points=20)
def test_find_asks_seven_times(attempt, rng):
    """the number is found with at most seven questions"""
    hidden, asked = int(rng.integers(1, 100)), []  # not 0: forgeries that answer 0 would be right

    def oracle(guess):
        asked.append(guess)
        return (guess > hidden) - (guess < hidden)

    found = attempt.find(oracle, 100)
    assert_true(type(found) is int and found == hidden, "another number")
    assert_true(len(asked) <= 7, "asked too often", expected="at most 7", got=str(len(asked)))
