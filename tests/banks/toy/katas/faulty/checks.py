"""Checks that are wrong, and one that is right about what it passes on."""

import contextlib

import numpy as np
import pytest

from grader.checking import assert_equal, check, cpu_seconds
from grader.sandbox.cost import NotMeasurable


@check("broken", points=10)
def test_codes_can_be_read_back(attempt, reference):
    """what is encoded can be decoded"""
    assert_equal(reference.decode(attempt.encode("abc")), "abc")


@check("broken", points=10)
def test_raises_itself(attempt):
    """this check looks for a key that is not there"""
    assert_equal(attempt.encode("a"), {}["wanted"])


@check("broken", points=10)
def test_asks_too_much_of_the_reference(attempt, reference):
    """this check passes the reference a number that is too large"""
    assert_equal(attempt.picky(0.5), reference.picky(2))


@check("broken", points=10)
def test_waits_for_the_reference(attempt, reference):
    """this check measures what never ends"""
    attempt.encode("a")
    cpu_seconds(reference.rest)


@check("broken", points=10)
def test_passes_an_object(attempt):
    """this check passes an object"""
    attempt.encode(object())


@check("broken", points=10)
def test_passes_a_class(attempt):
    """this check passes a class"""
    attempt.encode(np.float32)


@check("broken", points=10)
def test_passes_what_is_there_already(attempt):
    """this check passes the attempt a function of its own"""
    attempt.encode(attempt.decode)


@check("broken", points=10)
def test_skips_itself(attempt):
    """this check skips itself"""
    pytest.skip("not today")


@check("broken", points=10)
def test_cannot_measure(attempt):
    """this check needs a clock that is not there"""
    raise NotMeasurable("there is no such clock")


@check("broken", points=10)
def test_ignores_a_crash(attempt):
    """this check passes, whatever happens to the worker"""
    with contextlib.suppress(Exception):
        attempt.encode("boom")
