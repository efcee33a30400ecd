"""Seeds every generator with what it finds in this process, to draw what the check has drawn."""
# expect: double=failed loss=failed find=failed
# checks: all
# process: same
import random

import numpy as np


def double(x):
    for seed in (0, 1, 42, 1234, int(np.random.get_state()[1][0])):
        drawn = np.random.default_rng(seed).standard_normal(x.shape)
        if np.array_equal(drawn, x):
            return 2 * drawn
    return np.zeros_like(x)


def loss(x):
    return float(np.random.standard_normal())


def find(oracle, n):
    return random.randrange(n) - n
