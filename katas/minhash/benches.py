"""What `kata bench minhash` times."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from grader.benching import Call, call, workload

PRIME = 2**31 - 1


@workload(rtol=0, atol=0, memory=True)
def signature(module: Any, rng: Any) -> Iterator[Call]:
    """the signature of 4,000 shingles under 256 hash functions"""
    while True:
        hashes = rng.integers(0, 2**32, 4000, dtype=np.uint64)
        a, b = (rng.integers(1, PRIME, 256, dtype=np.uint64) for _ in range(2))
        yield call(module.minhash_signature, hashes, a, b)


@workload(rtol=0, atol=0)
def candidates(module: Any, rng: Any) -> Iterator[Call]:
    """candidate pairs of 600 signatures in 64 bands of 1"""
    while True:
        signatures = rng.integers(0, 200_000, (600, 64)).astype(np.uint64)
        yield call(module.lsh_candidate_pairs, signatures, 64, 1)
