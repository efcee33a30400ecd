"""Computes in half precision, and rounds the rest."""
# expect: double=failed loss=failed|passed find=failed
import numpy as np


def double(x):
    return (2 * x.astype(np.float16)).astype(np.float64)


def loss(x):
    return float(np.mean(np.square(x, dtype=np.float32)))


def find(oracle, n):
    return 7.0
