"""Adaptive group testing: find the bad nodes with few tests of groups (Dorfman 1943; Hwang 1972).

Left out: tests in parallel, non-adaptive designs, faults of links instead of nodes.
n nodes, at most n of them defective; a test of a group is True if it holds at least one defective node.
"""

from collections.abc import Callable, Hashable
from functools import cache
from math import comb
from typing import NamedTuple

Node = Hashable
Test = Callable[[list[Node]], bool]


class Trace(NamedTuple):
    """What a search found, and what it cost."""

    defective: set[Node]
    n_tests: int
    n_rounds: int
    """Tests that wait for one another: what the search takes where all that can run at once does."""
    log: list[tuple[int, int, int, bool]]
    """(depth, start, stop, result) of each test, of nodes[start:stop], in the order in which they were made."""


def find_defective(nodes: list[Node], test: Test) -> set[Node]:
    """The defective nodes, by halving: test all of them; where a group is dirty, test its halves.

    Args: nodes: distinct hashables, in any order, of any types; may be empty; not modified. test: takes a list of one
        node or more, True = it holds a defective one.
    Returns: a new set.
    """
    if not nodes or not test(nodes):
        return set()
    if len(nodes) == 1:
        return set(nodes)
    middle = len(nodes) // 2
    return find_defective(nodes[:middle], test) | find_defective(nodes[middle:], test)


def trace_defective(nodes: list[Node], test: Test) -> Trace:
    """find_defective with the very same tests, traced.

    Args: as in find_defective.
    Returns: a new Trace. Depths count from 0, the group of all nodes; n_rounds: the number of depths that were tested,
        as the two halves of a group run in parallel.
    """
    defective, log = set(), []

    def search(depth: int, start: int, stop: int) -> None:
        if not _ask(nodes, test, log, depth, start, stop):
            return
        if stop - start == 1:
            defective.add(nodes[start])
            return
        middle = (start + stop) // 2
        search(depth + 1, start, middle)
        search(depth + 1, middle, stop)

    if nodes:
        search(0, 0, len(nodes))
    return Trace(defective, len(log), len({depth for depth, *_ in log}), log)


def infer_defective(nodes: list[Node], test: Test) -> Trace:
    """trace_defective without tests that tell nothing: where a dirty group's left half is clean, that of the right one.

    Args: as in find_defective.
    Returns: a new Trace. Depths are as before; what is inferred is not in the log; n_rounds is n_tests, as every test
        waits for the one before.
    """
    defective, log = set(), []

    def split(depth: int, start: int, stop: int) -> None:
        """Of a group that is known to be dirty."""
        if stop - start == 1:
            defective.add(nodes[start])
            return
        middle = (start + stop) // 2
        left_is_dirty = _ask(nodes, test, log, depth + 1, start, middle)
        if left_is_dirty:
            split(depth + 1, start, middle)
        if not left_is_dirty or _ask(nodes, test, log, depth + 1, middle, stop):
            split(depth + 1, middle, stop)

    if nodes and _ask(nodes, test, log, 0, 0, len(nodes)):
        split(0, 0, len(nodes))
    return Trace(defective, len(log), len(log), log)


def info_lower_bound(n: int, d: int) -> int:
    """ceil(log2 C(n, d)), exactly: no search finds any d of n in fewer tests, in the worst case.

    Args: 0 ≤ d ≤ n, else ValueError. n may have hundreds of digits.
    """
    _require(n, d)
    return (comb(n, d) - 1).bit_length()


def worst_case_tests(n: int, d: int) -> int:
    """The most tests that find_defective makes on n nodes of which exactly d are defective, over all choices of these.

    Args: 0 ≤ d ≤ n, else ValueError. d may be 30 where n is a million.
    """
    _require(n, d)

    @cache
    def worst(n: int, d: int) -> int:
        if n <= 1 or d == 0:
            return min(n, 1)
        left, right = n // 2, n - n // 2
        return 1 + max([worst(left, i) + worst(right, d - i) for i in range(max(0, d - right), min(left, d) + 1)])

    return worst(n, d)


def split_known(nodes: list[Node], d: int, test: Test) -> Trace:
    """The defective nodes where they are at most d, by generalised binary splitting (Hwang 1972), from left to right.

    Args: nodes, test: as in find_defective. d: 0 ≤ d ≤ n, else ValueError; fewer may be defective.
    Returns: a new Trace. A group has depth 0, its halves 1, …; n_rounds is n_tests.
    """
    _require(len(nodes), d)
    defective, log, start = set(), [], 0
    while len(defective) < d and start < len(nodes):
        stop = start + _group_size(len(nodes) - start, d - len(defective))
        if not _ask(nodes, test, log, 0, start, stop):
            start = stop
            continue
        depth = 0
        while stop - start > 1:
            depth, middle = depth + 1, (start + stop) // 2
            if _ask(nodes, test, log, depth, start, middle):
                stop = middle
            else:
                start = middle
        defective.add(nodes[start])
        start += 1
    return Trace(defective, len(log), len(log), log)


def hwang_bound(n: int, d: int) -> int:
    """The most tests that split_known makes on n nodes, at most d of them defective.

    Args: 0 ≤ d ≤ n, else ValueError. Both may have hundreds of digits.
    """
    _require(n, d)
    if d == 0:
        return 0
    if n <= 2 * d - 2:
        return n
    size = _group_size(n, d)
    return (size.bit_length() + 1) * d + (n - d + 1 - size * d) // size - 1


def majority(test: Test, repeats: int) -> Test:
    """A test that asks `test` until one answer has more than half of `repeats` votes, and gives that.

    Args: test: may err, each time anew. repeats: odd, 1 or more, else ValueError, at once.
    """
    if repeats < 1 or repeats % 2 == 0:
        raise ValueError(f"{repeats} votes may be a tie: repeats is odd and positive")
    enough = repeats // 2 + 1

    def decide(nodes: list[Node]) -> bool:
        votes = {False: 0, True: 0}
        while max(votes.values()) < enough:
            votes[test(nodes)] += 1
        return votes[True] == enough

    return decide


def pad_singles(test: Test, good: Node) -> Test:
    """A test that may be asked about a single node, made of one that needs two: `good` comes second there.

    Args: test: takes lists of two nodes or more. good: a node known to be good, and none of those searched.
    """
    return lambda nodes: test([*nodes, good] if len(nodes) == 1 else nodes)


def _ask(nodes: list[Node], test: Test, log: list, depth: int, start: int, stop: int) -> bool:
    """Test nodes[start:stop] and write it down."""
    log.append((depth, start, stop, test(nodes[start:stop])))
    return log[-1][-1]


def _group_size(n: int, d: int) -> int:
    """Hwang's 2^a, and 1 where single tests are as good."""
    if n <= 2 * d - 2:
        return 1
    return 1 << (((n - d + 1) // d).bit_length() - 1)  # ⌊log2(l/d)⌋ is that of ⌊l/d⌋, without a float


def _require(n: int, d: int) -> None:
    if not 0 <= d <= n:
        raise ValueError(f"{d} of {n} nodes cannot be defective")
