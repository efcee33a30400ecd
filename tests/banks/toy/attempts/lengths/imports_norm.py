# test_lengths_are_in_metres: error
#   message: numpy.linalg.norm is not allowed here
# test_nothing_else_is_loaded: error
from numpy.linalg import norm


def length(vector, unit):
    return float(norm(vector) * METRES[unit])
