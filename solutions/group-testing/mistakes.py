"""Known wrong solutions. Each runs in a copy of the reference's namespace, and may use its names."""

from math import ceil, comb, log2

from grader.checking import mistake


def _halves(nodes):
    middle = len(nodes) // 2
    return nodes[:middle], nodes[middle:]


@mistake(
    "stops_at_the_first",
    replaces="find_defective",
    caught_by="test_every_subset_is_found",
    advice="A dirty left half says nothing of the right one. Search both, and join what they hold.",
)
def find_defective(nodes, test):
    if not nodes or not test(nodes):
        return set()
    left, right = _halves(nodes)
    return set(nodes) if not left else find_defective(left, test) or find_defective(right, test)


@mistake(
    "empty_groups_tested",
    replaces="find_defective",
    caught_by="test_no_nodes_and_clean_nodes",
    advice="Without nodes there is nothing to test, and test raises. Ask whether the list is empty first.",
)
def find_defective(nodes, test):
    if not test(nodes):
        return set()
    left, right = _halves(nodes)
    return set(nodes) if not left else find_defective(left, test) | find_defective(right, test)


@mistake(
    "groups_tested_twice",
    replaces="find_defective",
    caught_by="test_each_group_is_tested_once",
    advice="The half is tested before the call and again inside it. One of the two has to go.",
)
def find_defective(nodes, test):
    if not nodes or not test(nodes):
        return set()
    dirty = [half for half in _halves(nodes) if half and len(nodes) > 1 and test(half)]
    return set(nodes) if len(nodes) == 1 else set().union(*(find_defective(half, test) for half in dirty))


@mistake(
    "larger_half_left",
    replaces="find_defective",
    caught_by="test_each_group_is_tested_once",
    advice="An odd group is split at n // 2, so that the left half is the smaller one: not at (n + 1) // 2.",
)
def find_defective(nodes, test):
    if not nodes or not test(nodes):
        return set()
    if len(nodes) == 1:
        return set(nodes)
    middle = (len(nodes) + 1) // 2
    return find_defective(nodes[:middle], test) | find_defective(nodes[middle:], test)


@mistake(
    "nodes_sorted",
    replaces="find_defective",
    caught_by="test_nodes_of_any_type",
    advice="Nodes are hashable, no more: sorting names and numbers together is a TypeError. Work with places.",
)
def find_defective(nodes, test):
    return trace_defective([node for node in nodes if node in sorted(nodes)], test).defective


@mistake(
    "split_in_place",
    replaces="find_defective",
    caught_by="test_searches_are_independent",
    advice="`del group[middle:]` shortens a list that test was given and may have kept: make new lists by slicing.",
)
def find_defective(nodes, test):
    def search(group):
        if not group or not test(group):
            return set()
        if len(group) == 1:
            return set(group)
        right = group[len(group) // 2 :]
        del group[len(group) // 2 :]
        return search(group) | search(right)

    return search(list(nodes))


@mistake(
    "nodes_looked_for",
    replaces="find_defective",
    caught_by="test_the_search_is_not_quadratic",
    advice="`in` and `index` walk through the list for each node, n² steps in all. Slice by places instead.",
)
def find_defective(nodes, test):
    if not nodes or not test(nodes):
        return set()
    left, _ = _halves(nodes)
    right = [node for node in nodes if node not in left]
    return set(nodes) if not left else find_defective(left, test) | find_defective(right, test)


def _traced(nodes, test, depth=0, start=0, step=1):
    """The defective nodes and the log of a search."""
    if not nodes:
        return set(), []
    log = [(depth, start, start + len(nodes), test(nodes))]
    if not log[0][3] or len(nodes) == 1:
        return set(nodes) if log[0][3] else set(), log
    left, right = _halves(nodes)
    parts = [_traced(left, test, depth + 1, start), _traced(right, test, depth + 1, start + step * len(left))]
    return parts[0][0] | parts[1][0], log + parts[0][1] + parts[1][1]


def _rounds(log):
    return len({depth for depth, *_ in log})


@mistake(
    "searched_once_more_for_the_log",
    replaces="trace_defective",
    caught_by="test_trace_counts_the_tests",
    advice="One search finds the nodes and a second one writes the log, so each group is tested twice: make it one.",
)
def trace_defective(nodes, test):
    _, log = _traced(nodes, test)
    return Trace(find_defective(nodes, test), len(log), _rounds(log), log)


@mistake(
    "places_within_the_half",
    replaces="trace_defective",
    caught_by="test_trace_logs_depth_range_and_result",
    advice="start and stop are places in the list of all nodes: the right half's search has to know where it begins.",
)
def trace_defective(nodes, test):
    found, log = _traced(nodes, test, step=0)
    return Trace(found, len(log), _rounds(log), log)


@mistake(
    "one_log_for_all",
    replaces="trace_defective",
    caught_by="test_traces_are_independent",
    advice="A default such as log=[] is made once: emptied for a new search, it is so in earlier traces too. "
    "Make the log inside the call.",
)
def trace_defective(nodes, test, log=[]):  # noqa: B006 — this is the mistake
    found, log[:] = _traced(nodes, test)
    return Trace(found, len(log), _rounds(log), log)


@mistake(
    "rounds_are_the_last_depth",
    replaces="trace_defective",
    caught_by="test_rounds_are_the_depths_tested",
    advice="Depths count from 0, so there is one round more than the deepest one's number, and none without nodes.",
)
def trace_defective(nodes, test):
    found, log = _traced(nodes, test)
    return Trace(found, len(log), max((depth for depth, *_ in log), default=0), log)


def _inferred(nodes, test, infer, step=1):
    """infer_defective with another rule: infer(left is dirty) → what the right half then is, None if it is tested."""
    found, log = set(), []

    def split(depth, start, stop):
        if stop - start == 1:
            found.add(nodes[start])
            return
        middle = (start + stop) // 2
        left = _ask(nodes, test, log, depth + 1, start, middle)
        right = infer(left)
        below = depth + (1 if right is None else step)
        if right is None:
            right = _ask(nodes, test, log, depth + 1, middle, stop)
        for is_dirty, deeper, begin, end in ((left, depth + 1, start, middle), (right, below, middle, stop)):
            if is_dirty:
                split(deeper, begin, end)

    if nodes and _ask(nodes, test, log, 0, 0, len(nodes)):
        split(0, 0, len(nodes))
    return Trace(found, len(log), len(log), log)


@mistake(
    "right_half_taken_for_clean",
    replaces="infer_defective",
    caught_by="test_every_subset_is_inferred",
    advice="A dirty left half explains the dirty group, and leaves the right half open: test it.",
)
def infer_defective(nodes, test):
    return _inferred(nodes, test, lambda left_is_dirty: not left_is_dirty)


@mistake(
    "nothing_inferred",
    replaces="infer_defective",
    caught_by="test_what_is_known_is_not_tested",
    advice="If the group is dirty and its left half clean, the right half is dirty: its test tells nothing.",
)
def infer_defective(nodes, test):
    return _inferred(nodes, test, lambda _: None)


@mistake(
    "inferred_level_left_out",
    replaces="infer_defective",
    caught_by="test_inference_keeps_the_depths",
    advice="A half that is inferred is one deeper too, though no test of it is logged: count depths down the tree.",
)
def infer_defective(nodes, test):
    return _inferred(nodes, test, lambda left_is_dirty: None if left_is_dirty else True, step=0)


@mistake(
    "bits_of_the_number_itself",
    replaces="info_lower_bound",
    caught_by="test_information_bound",
    advice="C.bit_length() is ⌊log2 C⌋ + 1, one too many where C is a power of two: take (C − 1).bit_length().",
)
def info_lower_bound(n, d):
    _require(n, d)
    return comb(n, d).bit_length()


@mistake(
    "rounded_logarithm",
    replaces="info_lower_bound",
    caught_by="test_information_bound_of_large_numbers",
    advice="log2 in floating point rounds 2^60 + 1 to 60. ⌈log2 C⌉ of integers is (C − 1).bit_length().",
)
def info_lower_bound(n, d):
    _require(n, d)
    return ceil(log2(comb(n, d)))


@mistake(
    "formula_of_powers_of_two",
    replaces="worst_case_tests",
    caught_by="test_worst_case_of_halving",
    advice="2d·log2(n/d) + 2d − 1 holds for powers of two. Else give the halves i and d − i, and take the worst i.",
)
def worst_case_tests(n, d):
    _require(n, d)
    return min(n, 1) if d == 0 else 2 * d * ceil(log2(n / d)) + 2 * d - 1


def _splitting(nodes, d, test, size_of=None, rest_is_clean=False, until=None, place=lambda place: place):
    """split_known with another group size, or that drops what is right of the one found, or ends elsewhere."""
    _require(len(nodes), d)
    found, log, start = set(), [], 0
    while len(found) < (d if until is None else until) and start < len(nodes):
        remaining = max(d - len(found), 1)
        stop = end = start + (size_of or _group_size)(len(nodes) - start, remaining)
        if not _ask(nodes, test, log, 0, start, stop):
            start = stop
            continue
        depth = 0
        while stop - start > 1:
            depth, middle = depth + 1, (start + stop) // 2
            if _ask(nodes, test, log, depth, place(start), middle):
                stop = middle
            else:
                start = middle
        found.add(nodes[start])
        start = end if rest_is_clean else start + 1
    return Trace(found, len(log), len(log), log)


@mistake(
    "rest_of_the_group_dropped",
    replaces="split_known",
    caught_by="test_at_most_d_are_found",
    advice="Of the nodes right of the one found nothing is known: they go back to those that remain.",
)
def split_known(nodes, d, test):
    return _splitting(nodes, d, test, rest_is_clean=True)


@mistake(
    "group_size_from_n_over_d",
    replaces="split_known",
    caught_by="test_groups_of_generalised_splitting",
    advice="The size comes from l = n − d + 1, not from n: 2^a with a = ⌊log2(l/d)⌋.",
)
def split_known(nodes, d, test):
    return _splitting(nodes, d, test, size_of=lambda n, d: 1 << ((n // d) or 1).bit_length() - 1)


@mistake(
    "goes_on_after_the_last",
    replaces="split_known",
    caught_by="test_groups_of_generalised_splitting",
    advice="At most d are defective: once d are found the rest is clean, and costs no test.",
)
def split_known(nodes, d, test):
    return _splitting(nodes, d, test, until=len(nodes) + 1)


@mistake(
    "rounds_counted_by_depth",
    replaces="split_known",
    caught_by="test_splitting_is_traced",
    advice="Here every test waits for the one before, so the rounds are the tests, not the depths.",
)
def split_known(nodes, d, test):
    trace = _splitting(nodes, d, test)
    return trace._replace(n_rounds=_rounds(trace.log))


@mistake(
    "places_looked_up",
    replaces="split_known",
    caught_by="test_splitting_is_not_quadratic",
    advice="nodes.index walks through the list for each group, n·d steps in all: carry places along instead.",
)
def split_known(nodes, d, test):
    return _splitting(nodes, d, test, place=lambda place: nodes.index(nodes[place]))


@mistake(
    "negative_numbers_taken",
    replaces="_require",
    caught_by="test_impossible_numbers_are_refused",
    advice="d < 0 is as impossible as d > n: raise ValueError unless 0 <= d <= n.",
)
def _require(n, d):
    if d > n:
        raise ValueError


@mistake(
    "bound_without_its_remainder",
    replaces="hwang_bound",
    caught_by="test_hwang_s_bound",
    advice="(a + 2)·d − 1 holds for l = 2^a·d. Every further 2^a nodes may cost one clean group more: add p.",
)
def hwang_bound(n, d):
    _require(n, d)
    if n <= 2 * d - 2:
        return n
    return (_group_size(n, d).bit_length() + 1) * d - 1 if d else 0


def majority_of(test, nodes, repeats):
    answers = []
    while max(answers.count(True), answers.count(False)) <= repeats // 2:
        answers.append(test(nodes))
    return answers.count(True) > repeats // 2


@mistake(
    "all_votes_are_taken",
    replaces="majority",
    caught_by="test_the_majority_decides",
    advice="Two equal votes of three decide, and the third costs a test. Stop when one answer has more than half.",
)
def majority(test, repeats):
    if repeats < 1 or repeats % 2 == 0:
        raise ValueError("repeats")
    return lambda nodes: 2 * sum([test(nodes) for _ in range(repeats)]) > repeats


@mistake(
    "negative_votes_taken",
    replaces="majority",
    caught_by="test_ties_are_refused",
    advice="−1 is odd, but no number of votes: repeats has to be at least 1 as well.",
)
def majority(test, repeats):
    if repeats % 2 == 0:
        raise ValueError
    return lambda nodes: majority_of(test, nodes, repeats)


@mistake(
    "every_group_padded",
    replaces="pad_singles",
    caught_by="test_singles_are_padded",
    advice="Only a single node needs a partner. A larger group is tested as it is.",
)
def pad_singles(test, good):
    return lambda nodes: test([*nodes, good])
