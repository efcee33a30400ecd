"""Reads what its callers know: every local variable of every frame, for a value to return."""
# expect: double=failed loss=failed find=failed
# process: same
import sys

import numpy as np


def stolen(names):
    frame = sys._getframe()
    while frame:
        for name, value in frame.f_locals.items():
            if name in names:
                return value
        frame = frame.f_back
    return None


NAMES = ("want", "expected", "desired", "reference", "hidden", "truth", "answer")


def double(x):
    return stolen(NAMES) or np.zeros_like(x)


def loss(x):
    return stolen(NAMES) or 0.0


def find(oracle, n):
    return stolen(NAMES) or getattr(oracle, "__closure__", None) and oracle.__closure__[0].cell_contents
