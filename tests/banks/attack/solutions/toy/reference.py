"""CANARY-REFERENCE-9f3a: our solution."""

import numpy as np
from scale import FACTOR


def double(x: np.ndarray) -> np.ndarray:
    """Twice x, in a new array."""
    return FACTOR * x


def loss(x: np.ndarray) -> float:
    """The mean of x squared, as a float."""
    return float(np.mean(x**2))


def find(oracle, n: int) -> int:
    """The number below n that is hidden: `oracle(guess)` tells -1, 0 or 1, and is asked no more often than needed."""
    low, high = 0, n - 1
    while low < high:
        middle = (low + high) // 2
        if oracle(middle) >= 0:
            high = middle
        else:
            low = middle + 1
    return low
