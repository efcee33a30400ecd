"""The group-testing kata's reference against brute force over all choices of defective nodes, and published bounds."""

from itertools import combinations
from math import ceil, comb, log2
from types import ModuleType

import pytest
from references import reference

pytestmark = pytest.mark.oracle

SEARCHES = ("trace_defective", "infer_defective")


@pytest.fixture(scope="module")
def kata() -> ModuleType:
    return reference("group-testing")


class Bench:
    """A test that counts, and refuses what nobody may ask."""

    def __init__(self, bad):
        self.bad, self.asked = set(bad), []

    def test(self, group):
        assert group
        assert group not in self.asked
        self.asked.append(group)
        return not self.bad.isdisjoint(group)


def most_tests(search, n, choices):
    """The worst case over all choices; each is found."""
    worst = 0
    for bad in choices:
        bench = Bench(bad)
        trace = search(list(range(n)), bench.test)
        assert trace.defective == set(bad)
        assert trace.n_tests == len(bench.asked) == len(trace.log)
        assert [list(range(start, stop)) for _, start, stop, _ in trace.log] == bench.asked
        worst = max(worst, trace.n_tests)
    return worst


def up_to(n, d):
    return [bad for size in range(d + 1) for bad in combinations(range(n), size)]


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("n", range(11))
def test_every_subset_is_found(kata, search, n):
    most_tests(getattr(kata, search), n, up_to(n, n))
    for bad in up_to(n, n):
        assert kata.find_defective(list(range(n)), Bench(bad).test) == set(bad)


@pytest.mark.parametrize("n", [*range(12), 16])
def test_worst_case_of_halving_by_brute_force(kata, n):
    for d in range(min(n, 5 if n == 16 else n) + 1):
        worst = most_tests(kata.trace_defective, n, combinations(range(n), d))
        assert kata.worst_case_tests(n, d) == worst


@pytest.mark.parametrize("k", range(1, 11))
def test_worst_case_of_powers_of_two(kata, k):
    n = 2**k
    for j in range(k + 1):
        d = 2**j
        assert kata.worst_case_tests(n, d) == 2 * d * (k - j) + 2 * d - 1


def test_an_even_share_is_among_the_worst(kata):
    """What the debrief says of the recursion: the odd one to the right, as the larger half."""
    for n in range(2, 40):
        for d in range(1, n + 1):
            halves = kata.worst_case_tests(n // 2, d // 2), kata.worst_case_tests(n - n // 2, d - d // 2)
            assert kata.worst_case_tests(n, d) == 1 + sum(halves)


@pytest.mark.parametrize("k", range(8))
def test_inference_with_one_defective_node_counts_zero_bits(kata, k):
    for place in range(2**k):
        zero_bits = k - place.bit_count()
        assert kata.infer_defective(list(range(2**k)), Bench([place]).test).n_tests == 1 + k + zero_bits


@pytest.mark.parametrize("search", SEARCHES)
def test_rounds_of_halving_are_log2_n_plus_one(kata, search):
    trace = getattr(kata, search)(list(range(64)), Bench([5]).test)
    assert trace.n_rounds == (7 if search == "trace_defective" else trace.n_tests)


@pytest.mark.parametrize(
    ("n", "d", "bound"), [(8, 1, 4), (8, 2, 6), (8, 3, 8), (16, 3, 11), (16, 5, 15), (64, 1, 7), (64, 3, 17)]
)
def test_hwang_s_bound_is_published_and_attained(kata, n, d, bound):
    assert kata.hwang_bound(n, d) == bound
    assert most_tests(lambda nodes, test: kata.split_known(nodes, d, test), n, up_to(n, d)) == bound


@pytest.mark.parametrize("n", range(1, 10))
def test_hwang_s_bound_is_attained_for_every_d(kata, n):
    for d in range(n + 1):
        worst = most_tests(lambda nodes, test, d=d: kata.split_known(nodes, d, test), n, up_to(n, d))
        assert kata.hwang_bound(n, d) == worst


def test_bounds_stand_in_their_order(kata):
    """Hwang 1972: never more than d − 1 above the information bound for at most d, where n ≥ 2d."""
    for n in range(1, 80):
        for d in range(1, n + 1):
            information, bound = kata.info_lower_bound(n, d), kata.hwang_bound(n, d)
            assert information == (0 if comb(n, d) == 1 else ceil(log2(comb(n, d))))
            assert bound <= kata.worst_case_tests(n, d)
            if n >= 2 * d:
                at_most = (sum(comb(n, k) for k in range(d + 1)) - 1).bit_length()
                assert information <= at_most <= bound <= at_most + d - 1


def test_figures_of_the_debrief(kata):
    rows = {(64, 1): (6, 7, 13), (64, 3): (16, 17, 31), (4096, 3): (34, 35, 67), (4096, 10): (99, 104, 191)}
    rows[4096, 100] = (674, 723, 1255)
    for case, figures in rows.items():
        assert (kata.info_lower_bound(*case), kata.hwang_bound(*case), kata.worst_case_tests(*case)) == figures


@pytest.mark.parametrize("repeats", [1, 3, 5])
def test_majority_of_every_sequence_of_answers(kata, repeats):
    for code in range(2**repeats):
        answers = [bool(code >> i & 1) for i in range(repeats)]
        left = iter(answers)
        assert kata.majority(lambda _, left=left: next(left), repeats)([0]) == (2 * sum(answers) > repeats)
