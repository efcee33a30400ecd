"""What checks and workloads of group-testing run beside the attempt: tests that are not asked across processes."""

from bisect import bisect_left
from collections.abc import Callable
from typing import Any

import numpy as np


class Rack:
    """Nodes whose names are out of order, and tests of them that cost the same for a group of any size."""

    def __init__(self, n: int) -> None:
        self.nodes = [f"n{place * 7919 % n}" for place in range(n)]  # 7919 is prime, so all differ
        self.places = {node: place for place, node in enumerate(self.nodes)}

    def test_for(self, bad: list[int]) -> Callable[[list[str]], bool]:
        """`bad`: places, ascending."""

        def test(group: list[str]) -> bool:
            start = self.places[group[0]]
            return bisect_left(bad, start) < bisect_left(bad, start + len(group))

        return test


def rack(_module: Any, n: int) -> Rack:
    """n nodes"""
    return Rack(n)


def search(module: Any, rack: Rack, name: str, bad: Any, *args: Any) -> Any:
    """one search of 20,000 nodes, and the places of those it found"""
    found = getattr(module, name)(rack.nodes, *args, rack.test_for(bad.tolist()))
    return np.array(sorted(rack.places[node] for node in getattr(found, "defective", found)))


def traced(module: Any, rack: Rack, name: str, bad: Any, *args: Any) -> Any:
    """one search of 20,000 nodes: the places of those it found, its counts, and the sums of its log"""
    trace = getattr(module, name)(rack.nodes, *args, rack.test_for(bad.tolist()))
    places = np.array(sorted(rack.places[node] for node in trace.defective))
    return places, trace.n_tests, trace.n_rounds, [sum(column) for column in zip(*trace.log, strict=True)]


def kept_groups(module: Any, name: str, nodes: list, bad: set, *args: Any) -> list:
    """a search with a test that keeps its groups, and these groups when it is over"""
    groups = []

    def test(group: list) -> bool:
        groups.append(group)
        return not bad.isdisjoint(group)

    getattr(module, name)(nodes, *args, test)
    return groups


def kept_padded(module: Any, group: list, good: Any) -> list:
    """pad_singles(test, good)(group), and the group that the test keeps, when it is over"""
    groups = []
    module.pad_singles(lambda asked: bool(groups.append(asked)), good)(group)
    return groups
