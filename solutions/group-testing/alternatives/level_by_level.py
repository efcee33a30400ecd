"""A frontier of groups, one level of the tree after the other; worst cases as a (max, +) convolution over all d."""

import math
from collections import deque
from collections.abc import Callable, Hashable
from typing import NamedTuple

Node = Hashable
Test = Callable[[list[Node]], bool]


class Trace(NamedTuple):
    defective: set[Node]
    n_tests: int
    n_rounds: int
    log: list[tuple[int, int, int, bool]]


def find_defective(nodes: list[Node], test: Test) -> set[Node]:
    return trace_defective(nodes, test).defective


def trace_defective(nodes: list[Node], test: Test) -> Trace:
    frontier, log, defective, depth = [(0, len(nodes))] if nodes else [], [], set(), 0
    while frontier:
        answers = [test(nodes[start:stop]) for start, stop in frontier]
        log += [(depth, *group, answer) for group, answer in zip(frontier, answers, strict=True)]
        dirty = [group for group, answer in zip(frontier, answers, strict=True) if answer]
        defective |= {nodes[start] for start, stop in dirty if stop - start == 1}
        frontier = [half for group in dirty for half in _halves(*group)]
        depth += 1
    return Trace(defective, len(log), depth, log)


def infer_defective(nodes: list[Node], test: Test) -> Trace:
    log, defective = [], set()

    def ask(depth: int, start: int, stop: int) -> bool:
        answer = test(nodes[start:stop])
        log.append((depth, start, stop, answer))
        return answer

    dirty = deque([(0, 0, len(nodes))] if nodes and ask(0, 0, len(nodes)) else [])
    while dirty:
        depth, start, stop = dirty.popleft()
        if stop - start == 1:
            defective.add(nodes[start])
            continue
        left, right = ((depth + 1, *half) for half in _halves(start, stop))
        answers = [ask(*left)]
        answers.append(ask(*right) if answers[0] else True)
        dirty.extend(half for half, answer in zip((left, right), answers, strict=True) if answer)
    return Trace(defective, len(log), len(log), log)


def info_lower_bound(n: int, d: int) -> int:
    if d < 0 or d > n:
        raise ValueError("d is not between 0 and n")
    ways, bits = math.comb(n, d), 0
    while 2**bits < ways:
        bits += 1
    return bits


def worst_case_tests(n: int, d: int) -> int:
    if d < 0 or d > n:
        raise ValueError("d is not between 0 and n")
    return _worst_up_to(n, d, {})[d]


def split_known(nodes: list[Node], d: int, test: Test) -> Trace:
    if d < 0 or d > len(nodes):
        raise ValueError("d is not between 0 and n")
    log, defective, first = [], set(), 0
    while d > 0 and first < len(nodes):
        first, node = _one_round(nodes, first, d, test, log)
        if node is not None:
            defective.add(nodes[node])
            d -= 1
    return Trace(defective, len(log), len(log), log)


def hwang_bound(n: int, d: int) -> int:
    if d < 0 or d > n:
        raise ValueError("d is not between 0 and n")
    if d == 0:
        return 0
    if n <= 2 * d - 2:
        return n
    spare, a = n - d + 1, _exponent(n, d)
    return (a + 2) * d + (spare - 2**a * d) // 2**a - 1


def majority(test: Test, repeats: int) -> Test:
    if repeats % 2 != 1 or repeats < 0:
        raise ValueError("an odd, positive number of repeats")

    def voted(nodes: list[Node]) -> bool:
        lead, left = 0, repeats
        while abs(lead) <= left:
            lead += 1 if test(nodes) else -1
            left -= 1
        return lead > 0

    return voted


def pad_singles(test: Test, good: Node) -> Test:
    def padded(nodes: list[Node]) -> bool:
        if len(nodes) == 1:
            nodes = [nodes[0], good]
        return test(nodes)

    return padded


def _halves(start: int, stop: int) -> list[tuple[int, int]]:
    """Nothing for a group of one."""
    middle = start + (stop - start) // 2
    return [(start, middle), (middle, stop)] if stop - start > 1 else []


def _worst_up_to(n: int, most: int, known: dict[int, list[int]]) -> list[int]:
    """The worst case for each number of defective nodes up to min(n, most)."""
    if n <= 1:
        return [n] * (n + 1)
    if n not in known:
        left, right = (_worst_up_to(size, most, known) for size in (n // 2, n - n // 2))
        sums = [-1] * (min(n, most) + 1)
        for i, first in enumerate(left):
            for j, second in enumerate(right[: len(sums) - i]):
                sums[i + j] = max(sums[i + j], 1 + first + second)
        known[n] = [1, *sums[1:]]
    return known[n]


def _exponent(n: int, d: int) -> int:
    a = 0
    while 2 ** (a + 1) * d <= n - d + 1:
        a += 1
    return a


def _one_round(nodes: list[Node], first: int, d: int, test: Test, log: list) -> tuple[int, int | None]:
    """One group of Hwang's: where the next one begins, and the place of the defective node that was found."""
    n, depth, group = len(nodes) - first, 0, None
    low, high = first, first + (1 if n <= 2 * d - 2 else 2 ** _exponent(n, d))
    while group is None or high - low > 1:
        group = (low, high) if group is None else (low, low + (high - low) // 2)
        answer = test(nodes[slice(*group)])
        log.append((depth, *group, answer))
        if depth == 0 and not answer:
            return high, None
        low, high = group if answer else (group[1], high)
        depth += 1
    return low + 1, low
