"""Raises exceptions whose text, class, cause or traceback cannot be told."""
# expect: double=error|crashed|timeout loss=error|crashed|timeout find=error|crashed|timeout
# checks: all
# limit: 0.3


class Endless(Exception):
    def __str__(self):
        return str(self)

    __repr__ = __str__


class Large(Exception):
    def __str__(self):
        return "x" * 10**8


class Hanging(Exception):
    def __str__(self):
        while True:
            pass


def double(x):
    raise Endless from Endless()


def loss(x):
    raise Large if len(x) == 3 else Hanging


def find(oracle, n):
    raise ExceptionGroup("\ud800" * 1000, [Endless() for _ in range(1000)])
