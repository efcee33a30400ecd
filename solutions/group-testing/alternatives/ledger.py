"""A ledger object that every test goes through, and plain recursion over lists of nodes."""

from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from math import comb
from typing import NamedTuple

Node = Hashable
Test = Callable[[list[Node]], bool]


class Trace(NamedTuple):
    defective: set[Node]
    n_tests: int
    n_rounds: int
    log: list[tuple[int, int, int, bool]]


@dataclass
class Ledger:
    """The tests of one search."""

    test: Test
    entries: list[tuple[int, int, int, bool]] = field(default_factory=list)

    def ask(self, depth: int, start: int, group: list[Node]) -> bool:
        result = self.test(group)
        self.entries.append((depth, start, start + len(group), result))
        return result

    def trace(self, defective: set[Node], rounds: int | None = None) -> Trace:
        tests = len(self.entries)
        return Trace(defective, tests, tests if rounds is None else rounds, self.entries)


def find_defective(nodes: list[Node], test: Test) -> set[Node]:
    found, waiting = set(), [nodes] if nodes else []
    while waiting:
        group = waiting.pop()
        if test(group):
            if len(group) == 1:
                found.update(group)
            else:
                waiting += [group[: len(group) // 2], group[len(group) // 2 :]]
    return found


def trace_defective(nodes: list[Node], test: Test) -> Trace:
    ledger = Ledger(test)
    found = _halve(ledger, 0, 0, nodes) if nodes else set()
    return ledger.trace(found, rounds=len(Counter(entry[0] for entry in ledger.entries)))


def infer_defective(nodes: list[Node], test: Test) -> Trace:
    ledger = Ledger(test)
    found = _split(ledger, 0, 0, nodes) if nodes and ledger.ask(0, 0, nodes) else set()
    return ledger.trace(found)


def info_lower_bound(n: int, d: int) -> int:
    _valid(n, d)
    ways = comb(n, d)
    return ways.bit_length() - (1 if ways & (ways - 1) == 0 else 0)


def worst_case_tests(n: int, d: int) -> int:
    _valid(n, d)
    return _worst(n, d, {})


def split_known(nodes: list[Node], d: int, test: Test) -> Trace:
    _valid(len(nodes), d)
    ledger, found, at = Ledger(test), set(), 0
    while len(found) < d and at < len(nodes):
        group = nodes[at : at + _size(len(nodes) - at, d - len(found))]
        if ledger.ask(0, at, group):
            at += _bisect(ledger, at, group)
            found.add(nodes[at])
            at += 1
        else:
            at += len(group)
    return ledger.trace(found)


def hwang_bound(n: int, d: int) -> int:
    _valid(n, d)
    if d == 0 or n <= 2 * d - 2:
        return min(n, n * d)
    size = _size(n, d)
    a, p = size.bit_length() - 1, (n - d + 1) // size - d
    return (a + 2) * d + p - 1


def majority(test: Test, repeats: int) -> Test:
    if repeats <= 0 or not repeats & 1:
        raise ValueError(f"{repeats} repeats")

    def ask(nodes: list[Node]) -> bool:
        votes = Counter()
        for _ in range(repeats):
            votes[test(nodes)] += 1
            answer, number = votes.most_common(1)[0]
            if number > repeats // 2:
                break
        return answer

    return ask


def pad_singles(test: Test, good: Node) -> Test:
    def ask(nodes: list[Node]) -> bool:
        return test(nodes if len(nodes) > 1 else [*nodes, good])

    return ask


def _halve(ledger: Ledger, depth: int, start: int, group: list[Node]) -> set[Node]:
    if not ledger.ask(depth, start, group):
        return set()
    middle = len(group) // 2
    if middle == 0:
        return {group[0]}
    left = _halve(ledger, depth + 1, start, group[:middle])
    return left | _halve(ledger, depth + 1, start + middle, group[middle:])


def _split(ledger: Ledger, depth: int, start: int, dirty: list[Node]) -> set[Node]:
    middle = len(dirty) // 2
    if middle == 0:
        return {dirty[0]}
    left, right, below = dirty[:middle], dirty[middle:], depth + 1
    if not ledger.ask(below, start, left):
        return _split(ledger, below, start + middle, right)
    right_is_dirty = ledger.ask(below, start + middle, right)
    found = _split(ledger, below, start, left)
    return found | _split(ledger, below, start + middle, right) if right_is_dirty else found


def _bisect(ledger: Ledger, start: int, dirty: list[Node]) -> int:
    """The place of the first defective node in a dirty group."""
    low, high, depth = 0, len(dirty), 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if ledger.ask(depth, start + low, dirty[low:middle]) else (middle, high)
        depth += 1
    return low


def _size(n: int, d: int) -> int:
    if n <= 2 * d - 2:
        return 1
    size = 1
    while size * 2 <= (n - d + 1) // d:
        size *= 2
    return size


def _worst(n: int, d: int, known: dict[tuple[int, int], int]) -> int:
    if n < 2 or d == 0:
        return 1 if n else 0
    if (n, d) not in known:
        left, right = n // 2, n - n // 2
        known[n, d] = 1 + max(
            _worst(left, i, known) + _worst(right, d - i, known) for i in range(d + 1) if i <= left and d - i <= right
        )
    return known[n, d]


def _valid(n: int, d: int) -> None:
    if d < 0 or n < d:
        raise ValueError(f"d = {d}, n = {n}")
