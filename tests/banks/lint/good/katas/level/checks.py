"""The hidden checks of level."""

from grader.checking import assert_close, assert_inputs_unchanged, check

EXACT = {"rtol": 1e-9, "atol": 1e-12}


@check("center", points=40)
def test_center_along_an_axis(attempt, reference, rng):
    """the mean along the axis is gone, whichever axis it is"""
    for axis in ({}, {"axis": 0}, {"axis": 1}):
        x = 3.0 + rng.normal(size=(2, 3, 4))
        assert_close(attempt.center(x, **axis), reference.center(x, **axis), **EXACT)


@check("center", points=20)
def test_center_makes_a_new_array(attempt, reference, rng):
    """x stays as it was"""
    x = 3.0 + rng.normal(size=5)
    assert_close(assert_inputs_unchanged(attempt.center, x), reference.center(x), **EXACT)


@check("mean", points=40, needs="test_center_along_an_axis")
def test_mean_follows(attempt, reference, rng):
    """every number counts once"""
    numbers = (3.0 + rng.normal(size=4)).tolist()
    mine, theirs = attempt.Mean(), reference.Mean()
    assert_close([mine.add(x) for x in numbers], [theirs.add(x) for x in numbers], **EXACT)
