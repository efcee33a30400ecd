"""Returns a view of one number with a million million elements: nothing travels, but looking at them never ends."""
# expect: double=error loss=error find=failed|error

import numpy as np


def double(x):
    return np.broadcast_to(np.float64(1), (10**12,))


def loss(x):
    return np.broadcast_to(np.float64(1), (10**6, 10**6))


def find(oracle, n):
    return oracle(np.broadcast_to(np.int64(1), (10**12,)))
