"""What `kata bench positional-encoding` times."""

from collections.abc import Iterator
from typing import Any

import torch

from grader.benching import Call, call, workload


@workload(rtol=1e-4, atol=1e-3, memory=True)
def rope(module: Any, rng: Any) -> Iterator[Call]:
    """tables and rotation of [4, 8, 512, 64], each row at its own positions, forward and backward"""
    while True:
        rows, columns = rng.tensor(4, 8, 1, 64, dtype=torch.float32), rng.tensor(4, 1, 512, 1, dtype=torch.float32)
        positions = torch.arange(512) + torch.from_numpy(rng.integers(0, 64, size=(4, 1)))
        yield call(module.run, "rotate", rows, columns, positions)


@workload(rtol=1e-4, atol=1e-6)
def decoding(module: Any, rng: Any) -> Iterator[Call]:
    """greedy, temperature_probs and sample of logits [16, 32768]"""
    while True:
        scales, row = 1 + rng.tensor(16, 1, dtype=torch.float32).abs(), rng.tensor(32768, dtype=torch.float32)
        yield call(module.run, "decode", scales, row, float(rng.uniform(0.7, 1.3)), rng.torch())
