"""What `kata bench value-head` times. Inputs are drawn over there from a seed, so that little is carried."""

from collections.abc import Iterator
from typing import Any

import torch

from grader.benching import Call, call, workload


@workload(rtol=1e-9, atol=1e-9, memory=True)
def gae(module: Any, rng: Any) -> Iterator[Call]:
    """compute_gae on 256 rows of up to 768 tokens, float64"""
    while True:
        yield call(module.run, "gae_sum", int(rng.integers(2**31)), 256, 768)


@workload(rtol=1e-6, atol=1e-9)
def update(module: Any, rng: Any) -> Iterator[Call]:
    """an update of 2 epochs on 32 rollouts of up to 12 tokens, float64"""
    sizes = {"vocab": 32, "length": 16, "dim": 32}
    while True:
        model = module.run("drawn", sizes, 0, torch.float64, "raised")
        yield call(module.run, "updates", model, int(rng.integers(2**31)), 32, 12, 2)
