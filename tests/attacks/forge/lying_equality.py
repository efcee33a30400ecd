"""Returns objects that say they equal everything, of every shape that this can take."""
# expect: double=failed loss=failed find=failed
# checks: all
# process: same


class Agreeable:
    def __eq__(self, other):
        return True

    def __ne__(self, other):
        return False

    __lt__ = __le__ = __gt__ = __ge__ = __eq__
    __hash__ = None
    __array_priority__ = 1e9

    def __bool__(self):
        return True

    def __sub__(self, other):
        return 0.0

    __rsub__ = __abs__ = __float__ = __sub__


class AgreeableInt(int):
    def __eq__(self, other):
        return True

    def __ne__(self, other):
        return False

    __hash__ = int.__hash__


class AgreeableFloat(float):
    def __eq__(self, other):
        return True

    def __sub__(self, other):
        return 0.0

    __rsub__ = __sub__

    def __abs__(self):
        return 0.0


def double(x):
    return Agreeable()


def loss(x):
    return AgreeableFloat(1.5) if len(x) == 3 else Agreeable()


def find(oracle, n):
    return AgreeableInt(7)
