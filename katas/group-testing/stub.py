"""Adaptive group testing: find the bad nodes with few tests of groups. PROMPT.md pins the details; Trace is given done.

n nodes, at most n of them defective; a test of a group is True if it holds at least one defective node.
"""

from collections.abc import Callable, Hashable
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
    raise NotImplementedError("search: nothing to do without nodes; otherwise test them all first")


def trace_defective(nodes: list[Node], test: Test) -> Trace:
    """find_defective with the very same tests, traced.

    Args: as in find_defective.
    Returns: a new Trace. Depths count from 0, the group of all nodes; n_rounds: the number of depths that were tested,
        as the two halves of a group run in parallel.
    """
    raise NotImplementedError("trace: search by (depth, start, stop) and write each test down")


def infer_defective(nodes: list[Node], test: Test) -> Trace:
    """trace_defective without tests that tell nothing: where a dirty group's left half is clean, that of the right one.

    Args: as in find_defective.
    Returns: a new Trace. Depths are as before; what is inferred is not in the log; n_rounds is n_tests, as every test
        waits for the one before.
    """
    raise NotImplementedError("inference: split a group that is known to be dirty")


def info_lower_bound(n: int, d: int) -> int:
    """ceil(log2 C(n, d)), exactly: no search finds any d of n in fewer tests, in the worst case.

    Args: 0 ≤ d ≤ n, else ValueError. n may have hundreds of digits.
    """
    raise NotImplementedError("bounds: count the ways to choose d of n")


def worst_case_tests(n: int, d: int) -> int:
    """The most tests that find_defective makes on n nodes of which exactly d are defective, over all choices of these.

    Args: 0 ≤ d ≤ n, else ValueError. d may be 30 where n is a million.
    """
    raise NotImplementedError("bounds: give each half its share of the d, in every possible way")


def split_known(nodes: list[Node], d: int, test: Test) -> Trace:
    """The defective nodes where they are at most d, by generalised binary splitting (Hwang 1972), from left to right.

    Args: nodes, test: as in find_defective. d: 0 ≤ d ≤ n, else ValueError; fewer may be defective.
    Returns: a new Trace. A group has depth 0, its halves 1, …; n_rounds is n_tests.
    """
    raise NotImplementedError("known: take a group of the right size from the left of what remains")


def hwang_bound(n: int, d: int) -> int:
    """The most tests that split_known makes on n nodes, at most d of them defective.

    Args: 0 ≤ d ≤ n, else ValueError. Both may have hundreds of digits.
    """
    raise NotImplementedError("known: settle d = 0 and n ≤ 2d − 2 first")


def majority(test: Test, repeats: int) -> Test:
    """A test that asks `test` until one answer has more than half of `repeats` votes, and gives that.

    Args: test: may err, each time anew. repeats: odd, 1 or more, else ValueError, at once.
    """
    raise NotImplementedError("noise: refuse repeats that may tie, then count votes")


def pad_singles(test: Test, good: Node) -> Test:
    """A test that may be asked about a single node, made of one that needs two: `good` comes second there.

    Args: test: takes lists of two nodes or more. good: a node known to be good, and none of those searched.
    """
    raise NotImplementedError("noise: return a function of one list")
