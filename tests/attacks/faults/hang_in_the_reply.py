"""Returns at once what takes for ever to be read: an iterator, a class, a length without end."""
# expect: double=timeout|failed|error loss=passed find=passed
# with: right
# limit: 0.3


class Endless(list):
    def __iter__(self):
        while True:
            yield 1

    def __len__(self):
        while True:
            pass


class Odd(dict):
    items = keys = __iter__ = Endless.__len__


def double(x):
    return [Endless([1]), Odd(a=1)]
