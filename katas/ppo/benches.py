"""What `kata bench ppo` times."""

from collections.abc import Iterator
from typing import Any

from grader.benching import Call, call, workload


@workload(rtol=1e-4, atol=1e-4, memory=True)
def logprobs(module: Any, rng: Any) -> Iterator[Call]:
    """token_logprobs without a graph, [8, 32] ids of a vocabulary of 8000"""
    while True:
        yield call(module.run, "logprobs_of_random", int(rng.integers(2**31)), (8, 32, 8000))


@workload(rtol=1e-3, atol=1e-3)
def training(module: Any, rng: Any) -> Iterator[Call]:
    """2 updates of a transformer of width 16 on 128 rollouts each, in 2 epochs of 4 minibatches"""
    while True:
        yield call(module.run, "trained", int(rng.integers(2**31)), 2)
