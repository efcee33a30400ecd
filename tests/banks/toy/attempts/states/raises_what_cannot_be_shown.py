# test_inverse_divides: error
#   message: Odd: (its message cannot be shown)
class Odd(Exception):
    def __str__(self):
        raise ValueError


def inverse(x):
    raise Odd
