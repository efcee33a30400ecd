"""Group testing: find the bad ones with few questions."""


def find_bad(nodes, test):
    """The bad nodes, by halving. `test(group)` is True where the group holds a bad one."""
    if not nodes or not test(nodes):
        return set()
    if len(nodes) == 1:
        return {nodes[0]}
    middle = len(nodes) // 2
    return find_bad(nodes[:middle], test) | find_bad(nodes[middle:], test)


def smallest(oracle, low, high):
    """The smallest x of [low, high] for which the oracle gives no ValueError."""
    for x in range(low, high + 1):
        try:
            oracle(x)
        except ValueError:
            continue
        return x
    return None


def compose(outer, inner, x):
    return outer(x, inner=inner(x), again=inner(2 * x))


class Later:
    """Keeps a function and asks it afterwards."""

    def __init__(self, function):
        self.function = function

    def ask(self, x):
        return self.function(x)


def give(function):
    """What the function says to an object of this module."""
    return function(Later(None))
