"""Returns objects whose class is a lie, whose attributes raise, and whose reduction runs code."""
# expect: double=failed|error loss=failed|error find=failed|error
import os


class Liar:
    @property
    def __class__(self):
        return float

    def __reduce__(self):
        return (os._exit, (0,))

    def __getattr__(self, name):
        raise SystemExit(0)


class Meta(type):
    @property
    def __name__(cls):
        raise SystemExit(0)

    __mro__ = property(lambda cls: (float, object))

    def mro(cls):
        return [cls, object]


def double(x):
    return Liar()


def loss(x):
    return Meta("Odd", (), {})()


def find(oracle, n):
    class Odd(int):
        __index__ = __int__ = lambda self: 50

    return Odd(3)
