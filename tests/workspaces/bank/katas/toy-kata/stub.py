"""A toy."""


def double(x: int) -> int:
    """Twice x."""
    raise NotImplementedError("double: add x to itself")
