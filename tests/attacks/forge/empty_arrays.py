"""Returns arrays without elements, in which no element is wrong."""
# expect: double=failed loss=failed find=failed
# checks: all
import numpy as np


def double(x):
    return np.empty((0, *x.shape))


def loss(x):
    return np.array([])


def find(oracle, n):
    return np.array([], int)
