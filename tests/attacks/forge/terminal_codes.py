"""Puts codes that steer a terminal, and text that runs backwards, wherever a learner will see it."""
# expect: double=error loss=failed find=error
CODES = "\x1b[2J\x1b]0;passed\x07\r✓ passed\u202e\u2066\x9b"


class Odd(Exception):
    pass


Odd.__name__ = CODES


def double(x):
    print(CODES)
    raise Odd(CODES * 100)


def loss(x):
    return {CODES: CODES}


def find(oracle, n):
    raise KeyError(CODES)
