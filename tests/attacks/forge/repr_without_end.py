"""Returns and raises what cannot be shown: endless recursion and raising in __repr__, __str__, __name__ and __del__."""
# expect: double=failed loss=error|timeout find=error|timeout
# limit: 0.2


class Bomb(Exception):
    def __repr__(self):
        return repr(self)

    def __str__(self):
        return str(self)

    def __del__(self):
        raise Bomb

    __format__ = __len__ = __iter__ = __str__


def double(x):
    return Bomb()


def loss(x):
    raise Bomb


def find(oracle, n):
    error = Bomb()
    error.__cause__ = error.__context__ = error
    raise error
