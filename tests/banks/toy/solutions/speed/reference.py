"""Something that takes milliseconds."""

import numpy as np


def spread(x, rounds):
    """x becomes √(x² + 1), that many times. (n,) -> (n,)"""
    for _ in range(rounds):
        x = np.sqrt(x * x + 1)
    return x
