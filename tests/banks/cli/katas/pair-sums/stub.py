"""Two functions of a list of numbers."""


def total(xs: list[float]) -> float:
    """The sum of xs; 0.0 for none."""
    raise NotImplementedError("total: start from 0.0")


def largest(xs: list[float]) -> float:
    """The largest of xs, which is not empty."""
    raise NotImplementedError("largest: begin with the first")
