"""NumPy alone: torch is not there, given code is, and some names are forbidden."""

import numpy as np

from grader.checking import assert_close, assert_equal, assert_true, check


@check("lengths", points=50)
def test_lengths_are_in_metres(attempt, reference, rng):
    """the length is in metres, whatever the unit"""
    for unit in ("m", "km"):
        vector = rng.standard_normal(4)
        assert_close(attempt.length(vector, unit), reference.length(vector, unit), rtol=1e-9, atol=0)


@check("lengths", points=50)
def test_nothing_else_is_loaded(attempt, reference):
    """what is given is there, as it was given, and torch is not"""
    for module in (attempt, reference):
        assert_equal(module.run("given"), {"m": 1.0, "km": 1000.0})
        assert_true(not module.run("loaded", "torch"), "torch is loaded")
    assert_equal(attempt.length(np.array([3.0, 4.0]), "m"), 5.0)
