"""What `kata bench causal-transformer` times. Tokens are drawn over there from a seed, so that little is carried."""

from collections.abc import Iterator
from typing import Any

from grader.benching import Call, call, workload

SIZES = {"vocab": 97, "d_model": 64, "n_heads": 4, "n_layers": 2, "max_len": 128}


@workload(rtol=1e-7, atol=1e-9)
def learning(module: Any, rng: Any) -> Iterator[Call]:
    """loss and gradients of 2 sequences of 128 tokens, two layers of width 64 with 4 heads, float64"""
    model = module.run("seeded", SIZES, int(rng.integers(2**31)))
    while True:
        yield call(module.run, "learned", model, int(rng.integers(2**31)), (2, 128))
