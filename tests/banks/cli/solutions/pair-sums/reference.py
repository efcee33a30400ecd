"""Two functions of a list of numbers."""


def total(xs: list[float]) -> float:
    """The sum of xs; 0.0 for none."""
    result = 0.0
    for x in xs:
        result += x
    return result


def largest(xs: list[float]) -> float:
    """The largest of xs, which is not empty."""
    return max(xs)
