"""Checks that compute with what came back before they have compared it, as no check should."""

import numpy as np

from grader.checking import assert_close, assert_equal, assert_true, check, fetch, keep


@check("careless", points=16)
def test_report_is_read_as_an_array(attempt):
    """the report holds one, two, three"""
    assert_close(np.asarray(attempt.report()), np.array([1.0, 2.0, 3.0]), rtol=0, atol=0)


@check("careless", points=16)
def test_what_came_back_goes_there_again(attempt, reference, rng):
    """what was encoded is decoded"""
    text = "".join(rng.choice(list("abcdef"), 8))
    code = attempt.encode(text)
    assert_equal(attempt.decode(code), text)
    assert_equal(code, reference.encode(text))


@check("careless", points=16)
def test_replies_are_collected(attempt, reference):
    """thirty squares, one call each"""
    got = [attempt.square(n) for n in range(30)]
    assert_equal(got, [reference.square(n) for n in range(30)])


@check("careless", points=16)
def test_what_goes_wrong_is_swallowed(attempt):
    """the answer is 42, whatever happens on the way"""
    for _ in range(2):
        try:
            answer = attempt.answer()
        except Exception:
            answer = 42
        assert_equal(answer, 42)


@check("handles", points=6)
def test_a_function_of_the_check_objects(attempt):
    """the oracle is asked for 1, and for nothing else"""

    def oracle(number):
        assert_true(number == 1, "asked for another number")
        return 42

    assert_equal(attempt.asked(oracle), 42)


@check("handles", points=15)
def test_a_chain_is_followed(attempt):
    """the third link of the chain is called three"""
    link = attempt.chain()
    for _ in range(2):
        link = link.get("next")
    assert_equal(link.get("name"), "three")


@check("handles", points=15)
def test_a_chain_yields_its_links(attempt):
    """the chain yields three links"""
    links = keep(attempt.walk)()
    assert_equal(len(fetch(links)), 3)
    assert_equal(fetch(links), [])
