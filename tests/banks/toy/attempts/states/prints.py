# test_double_is_twice: passed
#   output: doubling 3
# test_inverse_divides: failed
#   output: inverting 4.0
# test_total_is_the_sum: passed
#   output: bytes left out
import sys


def double(x):
    print("doubling", x)
    return 2 * x


def inverse(x):
    print("inverting", x, file=sys.stderr)
    return x


def total(values):
    for i in range(2000):
        print("line", i)
    return sum(values)
