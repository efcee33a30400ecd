"""Lengths of vectors."""


def length(vector, unit):
    """The length of a vector, in metres."""
    raise NotImplementedError("length: the root of the sum of squares")
