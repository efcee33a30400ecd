"""The generator that checks draw from."""

import sys
from typing import Any

import numpy as np


class Rng(np.random.Generator):
    """The `rng` of a check: a NumPy Generator that makes torch values too."""

    def __init__(self, seed: int) -> None:
        super().__init__(np.random.PCG64(seed))

    def torch(self) -> Any:
        """A fresh `torch.Generator`, seeded from this stream."""
        generator = sys.modules["torch"].Generator()
        return generator.manual_seed(int(self.integers(2**62)))

    def tensor(self, *shape: int, dtype: Any = None) -> Any:
        """Standard normals as a tensor; float32 unless `dtype` says otherwise."""
        torch = sys.modules["torch"]
        return torch.from_numpy(self.standard_normal(shape)).to(dtype or torch.float32)
