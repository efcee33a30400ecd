"""Double, mean square, and a number to find."""

import numpy as np


def double(x: np.ndarray) -> np.ndarray:
    """Twice x, in a new array."""
    raise NotImplementedError("double: add x to itself")


def loss(x: np.ndarray) -> float:
    """The mean of x squared, as a float."""
    raise NotImplementedError("loss: square first")


def find(oracle, n: int) -> int:
    """The number below n that is hidden: `oracle(guess)` tells -1, 0 or 1, and is asked no more often than needed."""
    raise NotImplementedError("find: halve what is left")
