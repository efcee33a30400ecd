"""Returns what would broadcast to anything: one element, an extra dimension, an array for a number."""
# expect: double=failed loss=failed find=failed
import numpy as np


def double(x):
    return (2 * x)[None]


def loss(x):
    return np.full(3, np.mean(x**2))


def find(oracle, n):
    return np.arange(n)
