"""Objects that stay where they were made."""


class Stack:
    """Last in, first out."""

    size_limit = 3

    def __init__(self, name="stack"):
        self.name = name
        self.items = []
        self.below = {"floor": Floor()}

    def push(self, item):
        """Itself, so that calls can be chained."""
        if len(self.items) == self.size_limit:
            raise OverflowError(self.name)
        self.items.append(item)
        return self

    def pop(self):
        return self.items.pop()

    def __call__(self, factor):
        return [factor * item for item in self.items]

    @classmethod
    def of(cls, *items):
        stack = cls("of")
        stack.items.extend(items)
        return stack


class Floor:
    level = 0


def pair():
    """Two stacks, the second of which also stands in a dict, twice."""
    first, second = Stack("first"), Stack("second")
    return first, {"again": second, "twice": [second, second]}


def total(*stacks):
    return sum(item for stack in stacks for item in stack.items)


def countdown(n):
    while n:
        yield n
        n -= 1


def numbers(n):
    return list(range(n))


def grow(values, item):
    """The same list, one longer."""
    values.append(item)
    return values
