"""Hands the judge's function an object that compares as it likes, hoping to be told more than it asked."""
# expect: double=failed loss=failed find=error|failed


class Spy(int):
    seen = []

    def __gt__(self, other):
        Spy.seen.append(other)
        return True

    __lt__ = __eq__ = __gt__
    __hash__ = int.__hash__


class Loose:
    def __gt__(self, other):
        Spy.seen.append(other)
        return False

    __lt__ = __gt__


def double(x):
    return x


def loss(x):
    return 0.0


def find(oracle, n):
    oracle(Spy(50))
    try:
        oracle(Loose())
    except Exception:
        pass
    return int(Spy.seen[0]) if Spy.seen else -1
