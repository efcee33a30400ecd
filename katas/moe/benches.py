"""What `kata bench moe` times. Tokens are drawn over there from a seed, so that little is carried."""

from collections.abc import Iterator
from typing import Any

from grader.benching import Call, call, workload


@workload(rtol=1e-7, atol=1e-9, memory=True)
def step(module: Any, rng: Any) -> Iterator[Call]:
    """forward and backward of 1024 tokens, 8 experts, k = 2, D = 64, F = 128, float64"""
    layer = module.run("drawn", {"dim": 64, "hidden": 128, "n_experts": 8, "k": 2})
    while True:
        yield call(module.run, "trained", layer, int(rng.integers(2**31)), (4, 256))


@workload(rtol=1e-7, atol=1e-9)
def grouped(module: Any, rng: Any) -> Iterator[Call]:
    """grouped on 64 tokens, 512 experts of which a fifth has tokens, k = 2, D = 64, F = 64, float64"""
    layer = module.run("drawn", {"dim": 64, "hidden": 64, "n_experts": 512, "k": 2})
    while True:
        yield call(module.run, "applied", layer, "grouped", int(rng.integers(2**31)), (2, 32))


@workload(rtol=1e-7, atol=1e-9)
def limited(module: Any, rng: Any) -> Iterator[Call]:
    """limited on 1024 tokens at capacity 1.25, 16 experts, k = 2, D = 64, F = 64, float64"""
    layer = module.run("drawn", {"dim": 64, "hidden": 64, "n_experts": 16, "k": 2})
    while True:
        yield call(module.run, "applied", layer, "limited", int(rng.integers(2**31)), (4, 256), 1.25)
