"""CANARY-REFERENCE-9f3a: our solution."""

from pathlib import Path

import numpy as np


def double(x: np.ndarray) -> np.ndarray:
    """Twice x, in a new array."""
    return 2.0 * x


def save(path: str, number: int) -> None:
    """Writes the number to the file."""
    Path(path).write_text(str(number))


def load(path: str) -> int:
    """The number that was saved."""
    return int(Path(path).read_text())
