"""A toy."""


def double(x: int) -> int:
    """Twice x."""
    return x + x
