"""What `kata bench chunked-attention` times."""

from collections.abc import Iterator
from typing import Any

from grader.benching import Call, call, workload


def inputs(rng: Any, queries: int, keys: int) -> tuple[Any, Any, Any]:
    """Random float32 q, k, v of one head of 8 channels."""
    q, k, v = (rng.tensor(1, 1, length, 8) for length in (queries, keys, keys))
    return q, k, v


@workload(rtol=1e-4, atol=1e-5, memory=True)
def long_sequence(module: Any, rng: Any) -> Iterator[Call]:
    """chunked_attention, [1, 1, 2048, 8], 128 keys at a time"""
    while True:
        yield call(module.chunked_attention, *inputs(rng, 2048, 2048), 128)


@workload(rtol=1e-4, atol=1e-5)
def many_queries(module: Any, rng: Any) -> Iterator[Call]:
    """chunked_attention of 4096 queries for 1024 keys, one head of 8 channels, 64 keys at a time"""
    while True:
        yield call(module.chunked_attention, *inputs(rng, 4096, 1024), 64)


@workload(rtol=1e-4, atol=1e-5, memory=True)
def training(module: Any, rng: Any) -> Iterator[Call]:
    """recomputing_attention forward and backward, [1, 1, 1024, 8], 128 keys at a time"""
    while True:
        yield call(module.run, "forward_backward", *inputs(rng, 1024, 1024), 128, False)
