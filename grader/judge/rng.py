"""The generator that checks draw from."""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np


class Rng(np.random.Generator):
    """The `rng` of a check: a NumPy Generator that makes torch values too. A deep copy draws the same once more."""

    def __init__(self, seed: int | np.random.BitGenerator) -> None:
        super().__init__(np.random.PCG64(seed) if isinstance(seed, int) else seed)

    def __reduce__(self) -> tuple[Callable[..., np.random.Generator], tuple[np.random.BitGenerator], None]:
        # NumPy's own makes a plain Generator of a copy.
        return Rng, (self.bit_generator,), None

    def torch(self) -> Any:
        """A fresh `torch.Generator`, seeded from this stream."""
        generator = sys.modules["torch"].Generator()
        return generator.manual_seed(int(self.integers(2**62)))

    def tensor(self, *shape: int, dtype: Any = None) -> Any:
        """Standard normals as a tensor; float32 unless `dtype` says otherwise."""
        torch = sys.modules["torch"]
        return torch.from_numpy(self.standard_normal(shape)).to(dtype or torch.float32)
