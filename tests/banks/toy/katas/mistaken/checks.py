"""Checks that known mistakes are caught by."""

import torch

from grader.checking import assert_close, assert_equal, assert_raises, assert_true, check


@check("patches", points=10)
def test_double_is_twice(attempt, rng):
    """double is twice"""
    for x in (3.0, float(rng.uniform(5, 9))):
        assert_close(attempt.double(x), 2 * x, rtol=1e-12, atol=0)


@check("patches", points=10)
def test_shifted_is_one_more(attempt):
    """shifted is one more than the double"""
    assert_close(attempt.shifted(3.0), 7.0, rtol=1e-12, atol=0)


@check("patches", points=10)
def test_mean_is_exact(attempt):
    """the mean is not rounded"""
    assert_close(attempt.mean([1, 2]), 1.5, rtol=1e-12, atol=0)


@check("patches", points=10)
def test_mean_of_nothing_is_refused(attempt):
    """the mean of nothing raises ValueError"""
    assert_raises(ValueError, attempt.mean, [])


@check("patches", points=10)
def test_all_are_asked_in_order(attempt):
    """the oracle is asked from the first item on"""
    asked = []

    def oracle(x):
        asked.append(x)
        return x * x

    assert_equal(attempt.ask_all(oracle, [1, 2, 3]), [1, 4, 9])
    assert_equal(asked, [1, 2, 3])


@check("patches", points=10)
def test_the_result_is_detached(attempt):
    """no graph comes back"""
    got = attempt.detached(torch.ones(2, requires_grad=True))
    assert_close(got, torch.full((2,), 3.0), rtol=1e-6, atol=0)
    assert_true(not got.requires_grad, "the result carries a graph")


@check("patches", points=10)
def test_a_layer_is_affine(attempt):
    """a layer scales and shifts"""
    layer = attempt.made(2.0)
    assert_close([layer.forward(3.0), layer.copy().forward(0.0)], [7.0, 1.0], rtol=1e-12, atol=0)


@check("patches", points=10)
def test_signs_are_kept(attempt):
    """double keeps the sign, scale loses it"""
    assert_close([attempt.double(-1.5), attempt.Layer(-2.0).scale()], [-3.0, 2.0], rtol=1e-12, atol=0)


@check("patches", points=10)
def test_rows_count_up(attempt):
    """rows counts from zero"""
    assert_equal(attempt.rows(3), [0, 1, 2])


@check("patches", points=10)
def test_noise_is_new(attempt):
    """noise is noise"""
    first, second = attempt.noise(), attempt.noise()
    assert_true(bool((first != second).any()), "the same again", got=second)
