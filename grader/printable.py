"""Text of others made safe for a terminal: what could move a cursor, colour or reorder is spelt out, never obeyed."""


def printable(text: str) -> str:
    """One line, with every control, bidirectional or otherwise unprintable character escaped.

    >>> printable("red \\x1b[31m")
    'red \\\\x1b[31m'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def printable_lines(text: str) -> list[str]:
    """The same for each line; tabs become spaces."""
    return [printable(line.expandtabs(4)) for line in text.split("\n")]
