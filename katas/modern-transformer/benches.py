"""What `kata bench modern-transformer` times."""

from collections.abc import Iterator
from typing import Any

import torch

from grader.benching import Call, call, workload


@workload(rtol=1e-6, atol=1e-9)
def training(module: Any, rng: Any) -> Iterator[Call]:
    """2 steps over 4 windows of 64 tokens, and an evaluation: width 32, 4 heads, 2 layers, float64"""
    while True:
        data = torch.from_numpy(rng.integers(0, 32, 512))
        yield call(module.run, "trained", data, int(rng.integers(2**40)), 2)
