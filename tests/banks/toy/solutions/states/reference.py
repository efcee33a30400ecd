"""Three functions."""


def double(x):
    """Twice x."""
    return 2 * x


def inverse(x):
    """One over x."""
    return 1 / x


def total(values):
    """The sum of a list."""
    return sum(values)
