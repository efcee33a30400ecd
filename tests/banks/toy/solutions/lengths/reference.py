"""Lengths of vectors."""

import numpy as np
from toy_units import METRES


def length(vector, unit):
    """The length of a vector, in metres."""
    return float(np.sqrt((vector * vector).sum()) * METRES[unit])
