"""It cannot be compiled."""

from grader.checking import check


@check("double", points=100)
def test_double(attempt:
    """double is 2·x"""
