"""What `kata bench grpo` times."""

from collections.abc import Iterator
from typing import Any

import torch

from grader.benching import Call, call, workload


@workload(rtol=1e-6, atol=1e-9)
def advantages(module: Any, rng: Any) -> Iterator[Call]:
    """advantages of 25,000 groups of eight rewards of 0, 0.1, …, 1"""
    while True:
        yield call(module.run, "many_advantages", int(rng.integers(2**31)))


@workload(rtol=1e-6, atol=1e-9)
def training(module: Any, rng: Any) -> Iterator[Call]:
    """4 steps of 2 epochs over 64 completions of 32 tokens, 64 tokens in the vocabulary"""
    config = {"steps": 4, "prompts_per_step": 8, "group_size": 8, "epochs": 2, "beta": 0.1}
    while True:
        table = rng.tensor(64, 64, dtype=torch.float64)
        prompts, completions = (torch.from_numpy(rng.integers(0, 64, shape)) for shape in ((8, 8), (64, 32)))
        rewards = rng.tensor(64, dtype=torch.float64)
        yield call(module.run, "stepped", config, table, prompts, completions, rewards)
