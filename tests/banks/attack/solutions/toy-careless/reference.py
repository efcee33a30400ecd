"""Our solution."""


def report() -> list[float]:
    """One, two, three."""
    return [1.0, 2.0, 3.0]


def encode(text: str) -> str:
    """The text backwards."""
    return text[::-1]


def decode(code: str) -> str:
    """What `encode` was given."""
    return code[::-1]


def square(n: int) -> int:
    """n²."""
    return n * n


def answer() -> int:
    """42."""
    return 42
