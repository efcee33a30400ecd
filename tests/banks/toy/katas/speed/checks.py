"""What has to be right before it is timed."""

from grader.checking import assert_close, check


@check("spread", points=100)
def test_every_round_is_done(attempt, reference, rng):
    """each round replaces x by √(x² + 1)"""
    x = rng.standard_normal(5)
    assert_close(attempt.spread(x, 3), reference.spread(x, 3), rtol=1e-12, atol=0)
