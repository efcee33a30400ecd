"""Returns NaN, infinity and arrays of them: wildcards for a comparison that says `error > tolerance`."""
# expect: double=failed loss=failed find=failed
# checks: all
import numpy as np


def double(x):
    return np.full_like(x, np.nan)


def loss(x):
    return float("nan") if len(x) == 3 else float("inf")


def find(oracle, n):
    return float("nan")
