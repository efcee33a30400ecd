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


class Link:
    """A link of a chain: its name and the next one."""

    def __init__(self, name: str, next: "Link | None" = None) -> None:
        self.name, self.next = name, next


def chain() -> Link:
    """The first of three links, called one, two, three."""
    return Link("one", Link("two", Link("three")))


def walk():
    """Yields the links of `chain`."""
    link = chain()
    while link:
        yield link
        link = link.next


def asked(oracle) -> int:
    """What the oracle says to 1."""
    return oracle(1)
