"""Coroutines: a search yields the group it wants tested and is sent the answer. One driver asks, counts and writes.

So a search knows nothing of tests, logs or rounds, and the strategies are a few lines each.
"""

from collections.abc import Callable, Generator, Hashable
from functools import cache
from itertools import count
from typing import NamedTuple

Node = Hashable
Test = Callable[[list[Node]], bool]
Group = tuple[int, int, int]
"""(depth, start, stop)"""
Search = Generator[Group, bool, list[int]]
"""Yields groups, is sent whether they are dirty, returns the places of the defective nodes."""


class Trace(NamedTuple):
    defective: set[Node]
    n_tests: int
    n_rounds: int
    log: list[tuple[int, int, int, bool]]


def find_defective(nodes: list[Node], test: Test) -> set[Node]:
    return _run(_halving(0, 0, len(nodes)), nodes, test).defective


def trace_defective(nodes: list[Node], test: Test) -> Trace:
    trace = _run(_halving(0, 0, len(nodes)), nodes, test)
    return Trace(trace.defective, trace.n_tests, 1 + max((entry[0] for entry in trace.log), default=-1), trace.log)


def infer_defective(nodes: list[Node], test: Test) -> Trace:
    return _run(_inferring(0, 0, len(nodes), is_dirty=None), nodes, test)


def info_lower_bound(n: int, d: int) -> int:
    _check_range(n, d)
    ways = 1
    for k in range(1, d + 1):
        ways = ways * (n - d + k) // k
    return next(bits for bits in count() if ways <= 1 << bits)


@cache
def worst_case_tests(n: int, d: int) -> int:
    _check_range(n, d)
    if n == 0:
        return 0
    if n == 1 or d == 0:
        return 1
    half = n // 2
    shares = (i for i in range(d + 1) if i <= half and d - i <= n - half)
    return max(1 + worst_case_tests(half, i) + worst_case_tests(n - half, d - i) for i in shares)


def split_known(nodes: list[Node], d: int, test: Test) -> Trace:
    _check_range(len(nodes), d)
    return _run(_hwang(len(nodes), d), nodes, test)


def hwang_bound(n: int, d: int) -> int:
    _check_range(n, d)
    if n <= 2 * d - 2 or d == 0:
        return n if d else 0
    spare, size, a = n - d + 1, 1, 0
    while 2 * size * d <= spare:
        size, a = 2 * size, a + 1
    return (a + 2) * d + (spare - size * d) // size - 1


def majority(test: Test, repeats: int) -> Test:
    if repeats not in range(1, repeats + 1, 2):
        raise ValueError("repeats is odd and at least 1")

    def vote(nodes: list[Node], ayes: int = 0, noes: int = 0) -> bool:
        if 2 * max(ayes, noes) > repeats:
            return ayes > noes
        return vote(nodes, ayes + 1, noes) if test(nodes) else vote(nodes, ayes, noes + 1)

    return lambda nodes: vote(nodes)


def pad_singles(test: Test, good: Node) -> Test:
    return lambda nodes: test(nodes + [good] * (len(nodes) < 2))


def _run(search: Search, nodes: list[Node], test: Test) -> Trace:
    log: list[tuple[int, int, int, bool]] = []
    try:
        group = next(search)
        while True:
            _, start, stop = group
            log.append((*group, test(nodes[start:stop])))
            group = search.send(log[-1][-1])
    except StopIteration as end:
        return Trace({nodes[place] for place in end.value}, len(log), len(log), log)


def _halving(depth: int, start: int, stop: int) -> Search:
    if start == stop or not (yield depth, start, stop):
        return []
    if stop - start == 1:
        return [start]
    middle = start + (stop - start) // 2
    left = yield from _halving(depth + 1, start, middle)
    return left + (yield from _halving(depth + 1, middle, stop))


def _inferring(depth: int, start: int, stop: int, is_dirty: bool | None) -> Search:
    """`is_dirty`: what is known of the group before it is tested."""
    if start == stop or not (is_dirty or (yield depth, start, stop)):
        return []
    if stop - start == 1:
        return [start]
    middle = start + (stop - start) // 2
    left = yield from _inferring(depth + 1, start, middle, is_dirty=None)
    # A dirty half holds a defective node, so that nothing found means clean.
    return left + (yield from _inferring(depth + 1, middle, stop, is_dirty=not left))


def _hwang(n: int, d: int) -> Search:
    found: list[int] = []
    start = 0
    while len(found) < d and start < n:
        remaining, missing, size = n - start, d - len(found), 1
        while remaining > 2 * missing - 2 and 2 * size * missing <= remaining - missing + 1:
            size *= 2
        if (yield 0, start, start + size):
            for depth in range(1, size.bit_length()):
                size //= 2
                if not (yield depth, start, start + size):
                    start += size
            found.append(start)
            size = 1
        start += size
    return found


def _check_range(n: int, d: int) -> None:
    if d not in range(n + 1):
        raise ValueError(f"{d} is not in 0..{n}")
