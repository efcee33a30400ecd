"""What the faulty checks ask."""

import time


def encode(text):
    return [ord(c) for c in text]


def decode(codes):
    """Raises TypeError for codes that are no integers."""
    return "".join(chr(code) for code in codes)


def picky(x):
    if x > 1:
        raise ValueError("too large for the reference")
    return x


def rest():
    time.sleep(60)
