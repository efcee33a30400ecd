"""What `kata bench fsdp` times: the arithmetic of a large model, and a step of one process on many micro-batches."""

from collections.abc import Iterator
from typing import Any

import torch

from grader.benching import Call, call, workload


@workload(rtol=0, atol=0)
def profile(module: Any, rng: Any) -> Iterator[Call]:
    """memory_profile of 1000 blocks of 5 tensors on 64 ranks"""
    while True:
        yield call(module.run, "deep_profile", 1000, int(rng.integers(1000, 9000)), int(rng.integers(64)))


@workload(rtol=1e-4, atol=1e-6, memory=True)
def step(module: Any, rng: Any) -> Iterator[Call]:
    """train_step on 16 micro-batches of 256 rows, clipped: 2 blocks of 64 and 256 channels"""
    model, optimizer = module.run("still", (16, 64, 256, 2, 8))
    while True:
        batches = [(rng.tensor(256, 16), torch.from_numpy(rng.integers(0, 8, size=256))) for _ in range(16)]
        yield call(module.train_step, model, optimizer, batches, 0.5)
