# test_inverse_divides: memory
#   message: out of memory
#   call: inverse(4.0)
import numpy as np


def inverse(x):
    return np.ones(2**31)
