"""What `kata bench reward-model` times. Tokens are drawn over there from a seed, so that little is carried."""

from collections.abc import Iterator
from typing import Any

from grader.benching import Call, call, workload

SIZES = {"vocab": 97, "max_len": 48, "dim": 32, "heads": 2, "layers": 2}


@workload(rtol=1e-7, atol=1e-9)
def learning(module: Any, rng: Any) -> Iterator[Call]:
    """loss and gradients of 16 pairs of 1 to 48 tokens, two layers of width 32 with 2 heads, float64"""
    model = module.run("drawn", SIZES, int(rng.integers(2**31)))
    while True:
        yield call(module.run, "learned", model, int(rng.integers(2**31)), 16, 48)


@workload(rtol=1e-7, atol=1e-9)
def scoring(module: Any, rng: Any) -> Iterator[Call]:
    """scores of 64 texts of 1 to 48 tokens in eval mode, the same model"""
    model = module.run("drawn", SIZES, int(rng.integers(2**31)))
    while True:
        yield call(module.run, "scored", model, int(rng.integers(2**31)), 64, 48)
