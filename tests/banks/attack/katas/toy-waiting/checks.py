"""Two checks, of which the second needs the first."""

from grader.checking import assert_close, check


@check("double", points=50)
def test_double_adds_x_to_itself(attempt, reference, rng):
    """double is 2·x"""
    x = rng.standard_normal(4)
    assert_close(attempt.double(x), reference.double(x), rtol=1e-12, atol=0)


@check("loss", points=50, needs="test_double_adds_x_to_itself")
def test_loss_is_a_mean_of_squares(attempt, reference, rng):
    """loss is the mean of x²"""
    x = rng.standard_normal(7)
    assert_close(attempt.loss(x), reference.loss(x), rtol=1e-9, atol=0)
