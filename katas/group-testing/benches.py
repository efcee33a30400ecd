"""What `kata bench group-testing` times. Tests cost next to nothing here, so that the searches show."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from grader.benching import Call, call, workload


def places(rng: Any, n: int, d: int) -> Any:
    return np.sort(rng.choice(n, size=d, replace=False))


@workload(rtol=0, atol=0)
def halving(module: Any, rng: Any) -> Iterator[Call]:
    """find_defective, 20,000 nodes, 1000 of them defective"""
    rack = module.run("rack", 20_000)
    while True:
        yield call(module.run, "search", rack, "find_defective", places(rng, 20_000, 1000))


@workload(rtol=0, atol=0)
def splitting(module: Any, rng: Any) -> Iterator[Call]:
    """split_known, 20,000 nodes, 1000 of them defective"""
    rack = module.run("rack", 20_000)
    while True:
        yield call(module.run, "traced", rack, "split_known", places(rng, 20_000, 1000), 1000)


@workload(rtol=0, atol=0)
def worst_case(module: Any, rng: Any) -> Iterator[Call]:
    """worst_case_tests, a million nodes, 80 of them defective"""
    while True:
        yield call(module.worst_case_tests, int(rng.integers(900_000, 1_000_000)), 80)
