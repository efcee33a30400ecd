"""The level of an array."""

import numpy as np


def center(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """Take the mean along an axis away. x: float64, left as it is. Returns a new array of its shape."""
    return x - _level(x, axis)


class Mean:
    """The mean of the numbers so far."""

    def __init__(self) -> None:
        self.total, self.count = 0.0, 0

    def add(self, number: float) -> float:
        """Take one more number in; returns the mean of all."""
        self.total += number
        self.count += 1
        return self.total / self.count


def _level(x: np.ndarray, axis: int) -> np.ndarray:
    return x.mean(axis=axis, keepdims=True)
