"""Returns objects that lead to themselves, so that asking where one came from never ends."""
# kata: toy-careless
# expect: careless=passed handles=failed


class Ring:
    name = "one"

    @property
    def next(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        return self


ring = Ring()


def chain():
    return ring


walk = chain


def asked(oracle):
    return oracle(2)


def report():
    return [1.0, 2.0, 3.0]


def encode(text):
    return text[::-1]


decode = encode


def square(n):
    return n * n


def answer():
    return 42
