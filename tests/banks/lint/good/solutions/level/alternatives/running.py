"""A product with the centering matrix, and an update in place of a sum."""

import numpy as np


def center(x, axis=-1):
    n = x.shape[axis]
    centering = np.eye(n) - 1 / n
    return np.moveaxis(np.moveaxis(x, axis, -1) @ centering, -1, axis)


class Mean:
    def __init__(self):
        self.mean, self.count = 0.0, 0

    def add(self, number):
        self.count += 1
        self.mean += (number - self.mean) / self.count
        return self.mean
