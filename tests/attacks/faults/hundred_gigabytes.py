"""Asks for 100 GB at once: of Python, of NumPy, of the kernel."""
# expect: double=memory loss=memory find=error|memory
import mmap

import numpy as np


def double(x):
    return bytearray(100 * 2**30)


def loss(x):
    return np.ones(100 * 2**27)


def find(oracle, n):
    return len(mmap.mmap(-1, 100 * 2**30))
