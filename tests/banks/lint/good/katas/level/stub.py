"""The level of an array."""

import numpy as np


def center(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """Take the mean along an axis away. x: float64, left as it is. Returns a new array of its shape."""
    raise NotImplementedError("center: start with the mean along the axis")


class Mean:
    """The mean of the numbers so far."""

    def __init__(self) -> None:
        self.total, self.count = 0.0, 0

    def add(self, number: float) -> float:
        """Take one more number in; returns the mean of all."""
        raise NotImplementedError("mean: keep the sum and the count")
