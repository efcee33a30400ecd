"""Returns more than travels: a hundred megabytes, too many keys, an integer of a million bits, itself."""
# expect: double=error loss=error find=error
# checks: all
import numpy as np


def double(x):
    return np.zeros(100 * 2**17) if len(x) == 4 else {n: n for n in range(30_000)}


def loss(x):
    return 1 << 1_000_000 if len(x) == 3 else [0.5] * 5_000_000


def find(oracle, n):
    value = []
    value.append(value)
    return value
