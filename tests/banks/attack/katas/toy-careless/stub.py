"""The toy, to be written."""



def report() -> list[float]:
    """One, two, three."""
    raise NotImplementedError('report: to be written')


def encode(text: str) -> str:
    """The text backwards."""
    raise NotImplementedError('encode: to be written')


def decode(code: str) -> str:
    """What `encode` was given."""
    raise NotImplementedError('decode: to be written')


def square(n: int) -> int:
    """n²."""
    raise NotImplementedError('square: to be written')


def answer() -> int:
    """42."""
    raise NotImplementedError('answer: to be written')


class Link:
    """A link of a chain: its name and the next one."""

    def __init__(self, name: str, next: "Link | None" = None) -> None:
        self.name, self.next = name, next


def chain() -> Link:
    """The first of three links, called one, two, three."""
    raise NotImplementedError("chain: to be written")


def walk():
    """Yields the links of `chain`."""
    raise NotImplementedError("walk: to be written")


def asked(oracle) -> int:
    """What the oracle says to 1."""
    raise NotImplementedError("asked: to be written")
