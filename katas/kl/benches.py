"""What `kata bench kl` times."""

from collections.abc import Iterator
from typing import Any

import torch

from grader.benching import Call, call, workload


@workload(rtol=1e-9, atol=1e-12)
def divergences(module: Any, rng: Any) -> Iterator[Call]:
    """symmetric KL of 8 distributions over 1,500 outcomes, 60 times"""
    logp, logq = (rng.tensor(8, 1_500, dtype=torch.float64).log_softmax(-1) for _ in range(2))
    kept = module.run("kept", logp, logq)
    while True:
        yield call(module.run, "divergences", kept, rng.integers(8, size=60).tolist())


@workload(rtol=1e-6, atol=1e-9)
def estimates(module: Any, rng: Any) -> Iterator[Call]:
    """k3 of 8 sequences of 1,500 tokens, 60 times"""
    logp, logq = (-2 * rng.tensor(8, 1_500, dtype=torch.float64).abs() for _ in range(2))
    kept = module.run("kept", logp, logq)
    while True:
        yield call(module.run, "estimates", kept, rng.integers(8, size=60).tolist())
