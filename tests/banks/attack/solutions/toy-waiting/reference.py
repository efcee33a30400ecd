"""Our solution."""

import numpy as np


def double(x: np.ndarray) -> np.ndarray:
    """Twice x, in a new array."""
    return 2.0 * x


def loss(x: np.ndarray) -> float:
    """The mean of x squared, as a float."""
    return float(np.mean(x**2))
