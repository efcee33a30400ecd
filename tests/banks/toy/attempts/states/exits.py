# test_inverse_divides: error
#   message: it called exit (3); a function returns instead
# test_total_is_the_sum: crashed
#   message: the process ended itself with exit code 4
# test_total_of_nothing: waiting
import os
import sys


def inverse(x):
    sys.exit(3)


def total(values):
    os._exit(4)
