"""The hidden checks. Tests of groups stay in the judge, which counts them; names of nodes say nothing of places."""

from itertools import combinations

from grader.checking import (
    assert_equal,
    assert_inputs_unchanged,
    assert_raises,
    assert_true,
    check,
    cpu_seconds,
    fetch,
    keep,
)


class Cluster:
    """Nodes of which some are defective; `test` is what the attempt may ask."""

    def __init__(self, nodes, bad):
        self.nodes, self.bad = list(nodes), {nodes[place] for place in bad}
        self.place = {node: place for place, node in enumerate(self.nodes)}
        self.asked = []

    def test(self, group):
        if type(group) is not list or not group:
            raise ValueError(f"a test takes a list of one node or more, not {group!r}")
        start = self.place.get(group[0], 0)
        if group != self.nodes[start : start + len(group)]:
            raise ValueError(f"{group!r} are not neighbouring nodes in their order")
        self.asked.append((start, start + len(group)))
        return not self.bad.isdisjoint(group)

    def test_of_two_or_more(self, group):
        """The test, but that it refuses a single node; −5 stands for a good one."""
        if len(group) < 2:
            raise ValueError("a test that needs two nodes was asked about one")
        return self.test(group[:-1] if group[-1] == -5 else group)


def named(rng, n, bad=()):
    """n nodes with numbers for names, not in order."""
    return Cluster([int(name) for name in rng.permutation(1000)[:n] + 1000], bad)


def subset(rng, n, d):
    return [int(place) for place in rng.permutation(n)[:d]]


def subsets(n, most):
    return (chosen for size in range(most + 1) for chosen in combinations(range(n), size))


def assert_groups_stay(name, attempt, cluster, *args):
    """A test may keep the lists it gets: they are what they were when all is over."""
    kept = attempt.run("kept_groups", name, cluster.nodes, cluster.bad, *args)
    getattr(attempt, name)(cluster.nodes, *args, cluster.test)
    assert_equal(sorted(kept), sorted(cluster.nodes[a:b] for a, b in cluster.asked), label="the lists the test kept")


def finds(function, cluster, *args):
    """It finds the defective nodes, and leaves the list of nodes as it was."""
    found = assert_inputs_unchanged(function, cluster.nodes, *args, cluster.test)
    assert_equal(found, cluster.bad)


def traced(function, cluster, *args):
    """The fields of the Trace."""
    trace = keep(function)(cluster.nodes, *args, cluster.test)
    return {name: trace.get(name) for name in ("defective", "n_tests", "n_rounds", "log")}


def expected(function, cluster, *args):
    """What the reference's search of the same nodes gives, and the groups it tests."""
    twin = Cluster(cluster.nodes, [cluster.place[node] for node in cluster.bad])
    return traced(function, twin, *args), twin.asked


def assert_same_tests(name, attempt, reference, cluster, *args):
    """The same groups are tested, each once; returns both traces."""
    got = traced(getattr(attempt, name), cluster, *args)
    want, groups = expected(getattr(reference, name), cluster, *args)
    assert_equal(got["defective"], cluster.bad, label="defective")
    assert_equal(sorted(cluster.asked), sorted(groups), label="the groups tested, as (start, stop)")
    assert_equal(got["n_tests"], len(cluster.asked), label="n_tests")
    return got, want


def assert_same_log(got, want, cluster):
    assert_equal(sorted(got["log"]), sorted(want["log"]), label="log, sorted")
    in_order = [(start, stop) for _, start, stop, _ in got["log"]]
    assert_equal(in_order, cluster.asked, label="start and stop in the log, in the order of the calls")
    plain = type(got["log"]) is list and all(type(entry) is tuple and type(entry[3]) is bool for entry in got["log"])
    assert_true(plain, "the log is a list, and an entry a plain tuple that ends with a bool", got=got["log"])


def cases(rng, sizes=((6, 2), (7, 1), (13, 3), (16, 4), (33, 5))):
    """Clusters of odd and even sizes: some nodes defective, none, all, the first, the last."""
    for n, d in sizes:
        yield named(rng, n, subset(rng, n, d))
    edges = (11, ()), (9, range(9)), (10, (0,)), (11, (10,)), (2, (1,)), (2, (0, 1)), (1, (0,)), (1, ()), (0, ())
    for n, bad in edges:
        yield named(rng, n, bad)


@check("search", points=6)
def test_every_subset_is_found(attempt, rng):
    """find_defective finds any set of defective nodes: all of up to five nodes, and more at random"""
    for n in range(1, 6):
        for bad in subsets(n, n):
            finds(attempt.find_defective, named(rng, n, bad))
    for n, d in ((17, 4), (32, 1), (50, 7), (100, 2)):
        finds(attempt.find_defective, named(rng, n, subset(rng, n, d)))


@check("search", points=3)
def test_no_nodes_and_clean_nodes(attempt, rng):
    """without nodes there is no test; clean nodes cost one test, and nobody is blamed"""
    finds(attempt.find_defective, named(rng, 7, [2]))
    for n in (0, 1, 2, 7, 64):
        finds(attempt.find_defective, cluster := named(rng, n))
        assert_equal(len(cluster.asked), min(n, 1), label=f"tests of {n} clean nodes")


@check("search", points=5, needs="test_every_subset_is_found")
def test_each_group_is_tested_once(attempt, reference, rng):
    """the groups tested are all nodes and both halves of every dirty group, split at n // 2; nothing twice"""
    for cluster in cases(rng):
        _, groups = expected(reference.trace_defective, cluster)
        finds(attempt.find_defective, cluster)
        assert_equal(sorted(cluster.asked), sorted(groups), label="the groups tested, as (start, stop)")


@check("search", points=3)
def test_nodes_of_any_type(attempt, rng):
    """names, numbers, tuples and None may be mixed, and keep their order"""
    nodes = ["gpu-7", 3, (1, "b"), None, 2.5, b"x", "a", frozenset({4}), -1, ("z",)]
    for size in (2, 3, 10):
        for _ in range(4):
            chosen = [nodes[place] for place in subset(rng, 10, size)]
            finds(attempt.find_defective, Cluster(chosen, subset(rng, size, int(rng.integers(1, size + 1)))))


def interleaved(rng):
    """Searches of the same names with other defective nodes, of other names, and of the first again."""
    first = named(rng, 9, [2, 7])
    others = [Cluster(first.nodes, bad) for bad in ([1], [], [7, 8])]
    return [first, *others, Cluster(first.nodes[::-1], [3]), named(rng, 5, [0, 4]), Cluster(first.nodes, [2, 7])]


@check("search", points=3, needs="test_every_subset_is_found")
def test_searches_are_independent(attempt, rng):
    """a second search, of the same nodes too, knows nothing of the first, and leaves its result alone"""
    clusters = interleaved(rng)
    found = [keep(attempt.find_defective)(cluster.nodes, cluster.test) for cluster in clusters]
    for cluster, handle in zip(clusters, found, strict=True):
        assert_true(bool(cluster.asked), "a search made no test", expected="1 or more", got="none")
        assert_equal(fetch(handle), cluster.bad, label="the result of one of several searches")
    found[0].clear()
    finds(attempt.find_defective, clusters[0])
    assert_groups_stay("find_defective", attempt, named(rng, 9, [2, 7]))


def assert_not_quadratic(name, attempt, reference, rng, d, *args):
    """20,000 nodes take no more than 10 times the reference's CPU time, and are found."""
    bad = rng.permutation(20_000)[:d]
    bad.sort()
    assert_equal(attempt.run("search", attempt.run("rack", 20_000), name, bad, *args), bad, label="the places found")
    both = attempt, reference.confined()
    seconds = [cpu_seconds(each.run, "search", each.run("rack", 20_000), name, bad, *args) for each in both]
    got = f"{seconds[0] / seconds[1]:.0f}×"
    assert_true(seconds[0] <= 10 * seconds[1], "too slow: is a node looked for in a list?", expected="≤ 10×", got=got)


@check("search", points=3, needs="test_every_subset_is_found")
def test_the_search_is_not_quadratic(attempt, reference, rng):
    """20,000 nodes, half of them defective, take no more than 10 times the CPU time of slices, at the tree's depth"""
    assert_not_quadratic("find_defective", attempt, reference, rng, 10_000)


@check("trace", points=6)
def test_trace_counts_the_tests(attempt, reference, rng):
    """the same groups are tested as by find_defective, and n_tests is the number of calls"""
    for cluster in cases(rng):
        assert_same_tests("trace_defective", attempt, reference, cluster)


@check("trace", points=5, needs="test_trace_counts_the_tests")
def test_trace_logs_depth_range_and_result(attempt, reference, rng):
    """log holds (depth, start, stop, result) of each test in the order of the calls; all nodes have depth 0"""
    for cluster in cases(rng):
        assert_same_log(*assert_same_tests("trace_defective", attempt, reference, cluster), cluster)


@check("trace", points=3, needs="test_trace_counts_the_tests")
def test_rounds_are_the_depths_tested(attempt, reference, rng):
    """n_rounds is the number of depths at which a test was made: 1 for clean nodes, 0 for none"""
    for cluster in cases(rng, sizes=((8, 1), (9, 8), (31, 2), (33, 33), (64, 6), (65, 1))):
        got, want = assert_same_tests("trace_defective", attempt, reference, cluster)
        assert_equal(got["n_rounds"], want["n_rounds"], label="n_rounds")


def assert_independent_traces(name, attempt, clusters, *args):
    traces = [keep(getattr(attempt, name))(cluster.nodes, *args, cluster.test) for cluster in clusters]
    for cluster, trace in zip(clusters, traces, strict=True):
        sizes = trace.get("n_tests"), len(trace.get("log")), len(cluster.asked)
        assert_equal(sizes, (sizes[2],) * 3, label="n_tests, entries of the log, calls")
        assert_equal(trace.get("defective"), cluster.bad, label="defective")
    assert_groups_stay(name, attempt, Cluster(clusters[0].nodes, [2, 7]), *args)


@check("trace", points=2, needs="test_trace_counts_the_tests")
def test_traces_are_independent(attempt, rng):
    """a second search starts from an empty trace, and leaves the first as it was"""
    assert_independent_traces("trace_defective", attempt, interleaved(rng))


@check("inference", points=5)
def test_every_subset_is_inferred(attempt, rng):
    """infer_defective finds any set of defective nodes: all of up to five nodes, and more at random"""
    random = [(n, subset(rng, n, d)) for n, d in ((17, 4), (50, 7))]
    for cluster in (named(rng, *case) for case in (*random, *((n, bad) for n in range(6) for bad in subsets(n, n)))):
        trace = assert_inputs_unchanged(keep(attempt.infer_defective), cluster.nodes, cluster.test)
        assert_equal(trace.get("defective"), cluster.bad, label="defective")


@check("inference", points=7, needs="test_every_subset_is_inferred")
def test_what_is_known_is_not_tested(attempt, reference, rng):
    """a right half beside a clean left one is not tested, again and again down the tree; every other group is"""
    for cluster in cases(rng, sizes=((8, 1), (16, 1), (13, 3), (33, 5), (21, 17))):
        assert_same_tests("infer_defective", attempt, reference, cluster)


@check("inference", points=5, needs="test_what_is_known_is_not_tested")
def test_inference_keeps_the_depths(attempt, reference, rng):
    """the log holds real tests alone, at the depths of the tree; each test is a round; traces are independent"""
    for cluster in cases(rng, sizes=((8, 1), (27, 4), (19, 15))):
        got, want = assert_same_tests("infer_defective", attempt, reference, cluster)
        assert_same_log(got, want, cluster)
        assert_equal(got["n_rounds"], got["n_tests"], label="n_rounds")
    assert_independent_traces("infer_defective", attempt, interleaved(rng))


def sized(rng, most, count):
    """Pairs n ≥ d at random, d = 0, d = 1 and d = n among them."""
    for n in (0, 1, 2, most, *(int(x) for x in rng.integers(3, most, size=count))):
        yield from {(n, 0), (n, min(1, n)), (n, n), (n, int(rng.integers(0, n + 1)))}


@check("bounds", points=4)
def test_information_bound(attempt, reference, rng):
    """info_lower_bound is ⌈log2 C(n, d)⌉: 0 where there is one choice, exact at powers of two"""
    for n, d in (*sized(rng, 40, 8), *((2**k, 1) for k in range(12)), *((2**k + 1, 1) for k in range(12))):
        assert_equal(attempt.info_lower_bound(n, d), reference.info_lower_bound(n, d))


@check("bounds", points=2, needs="test_information_bound")
def test_information_bound_of_large_numbers(attempt, reference):
    """info_lower_bound is exact for n of a hundred digits, and one above a power of two"""
    for n, d in ((2**60, 1), (2**60 + 1, 1), (2**353, 1), (2**353 + 1, 1), (10**200, 3), (10**300 + 7, 20), (900, 450)):
        assert_equal(attempt.info_lower_bound(n, d), reference.info_lower_bound(n, d), exact_type=True)


@check("bounds", points=8)
def test_worst_case_of_halving(attempt, reference, rng):
    """worst_case_tests is the most that find_defective takes, for any n and d, a million with 30 defective too"""
    large = (int(rng.integers(900_000, 1_000_000)), 30), (2**20, 16), (10**6, 1), (4096, 3)
    for n, d in (*sized(rng, 33, 12), (8, 2), (64, 4), (11, 5), (24, 7), (1000, 9), *large):
        assert_equal(attempt.worst_case_tests(n, d), reference.worst_case_tests(n, d), label=f"n = {n}, d = {d}")


BUDGETS = ((6, 3), (8, 2), (9, 1), (5, 5), (13, 4), (40, 2), (33, 5), (64, 3), (20, 11), (1, 1), (3, 2))


@check("known", points=4)
def test_at_most_d_are_found(attempt, rng):
    """split_known finds the defective nodes where they are d or fewer, in any place"""
    for n, d in ((5, 2), (4, 4), (7, 1), (6, 3)):
        for bad in subsets(n, d):
            cluster = named(rng, n, bad)
            trace = assert_inputs_unchanged(keep(attempt.split_known), cluster.nodes, d, cluster.test)
            assert_equal(trace.get("defective"), cluster.bad, label="defective")


@check("known", points=5, needs="test_at_most_d_are_found")
def test_groups_of_generalised_splitting(attempt, reference, rng):
    """groups of Hwang's size, then left halves alone; what is right of the one found goes back; d found end it"""
    for n, d in BUDGETS:
        for count in {d, d - 1, 0}:
            assert_same_tests("split_known", attempt, reference, named(rng, n, subset(rng, n, count)), d)
    for n, d, bad in ((64, 3, (0, 1, 2)), (64, 3, (0, 1, 63)), (6, 5, range(4)), (9, 7, range(6)), (9, 5, (0, 1, 8))):
        assert_same_tests("split_known", attempt, reference, named(rng, n, bad), d)


@check("known", points=3, needs="test_groups_of_generalised_splitting")
def test_splitting_is_traced(attempt, reference, rng):
    """groups have depth 0, their halves 1 and so on; each test is a round; traces are independent"""
    for n, d in ((13, 2), (30, 3), (64, 5), (7, 6)):
        cluster = named(rng, n, subset(rng, n, d))
        got, want = assert_same_tests("split_known", attempt, reference, cluster, d)
        assert_same_log(got, want, cluster)
        assert_equal(got["n_rounds"], got["n_tests"], label="n_rounds")
    assert_independent_traces("split_known", attempt, interleaved(rng), 2)


@check("known", points=2, needs="test_at_most_d_are_found")
def test_splitting_is_not_quadratic(attempt, reference, rng):
    """2000 defective nodes of 20,000 take no more than 10 times the CPU time of places alone, and no deep recursion"""
    assert_not_quadratic("split_known", attempt, reference, rng, 2000, 2000)


@check("known", points=3)
def test_hwang_s_bound(attempt, reference, rng):
    """hwang_bound is 0 for d = 0, n for n ≤ 2d − 2, else (a + 2)d + p − 1; exact for large n"""
    large = ((2**60, 1), (2**60 - 1, 1), (5 * 2**60 + 1, 3), (5 * 2**353 + 1, 3), (5 * 2**353 + 2, 3), (10**400, 19))
    rounded_up = 2**130 - 2**60 + 2**70 - 1, 2**70  # ⌊l/d⌋ = 2^60 − 1, as a float 2^60
    for n, d in (*sized(rng, 40, 12), *BUDGETS, *((16, d) for d in range(17)), *large, rounded_up):
        assert_equal(attempt.hwang_bound(n, d), reference.hwang_bound(n, d))


@check("known", points=2)
def test_impossible_numbers_are_refused(attempt, rng):
    """d < 0 and d > n raise ValueError, before any test"""
    for n, d in ((5, -1), (5, 6), (0, 1), (0, -1)):
        cluster = named(rng, n)
        assert_raises(ValueError, attempt.split_known, cluster.nodes, d, cluster.test)
        assert_equal(cluster.asked, [], label="tests made")
        for function in (attempt.hwang_bound, attempt.info_lower_bound, attempt.worst_case_tests):
            assert_raises(ValueError, function, n, d)


class Script:
    """A test that gives these answers, whatever it is asked."""

    def __init__(self, answers):
        self.answers, self.groups = list(answers), []

    def test(self, group):
        self.groups.append(group)
        if len(self.groups) > len(self.answers):
            raise ValueError("more votes were asked for than are needed")
        return self.answers[len(self.groups) - 1]


def votes(rng, repeats):
    """Answers up to the one that decides, and the decision."""
    answers = [bool(vote) for vote in rng.integers(0, 2, size=repeats)]
    needed = next(k for k in range(repeats + 1) if max(sum(answers[:k]), k - sum(answers[:k])) > repeats // 2)
    return answers[:needed], 2 * sum(answers[:needed]) > repeats


@check("noise", points=6)
def test_the_majority_decides(attempt, reference, rng):
    """majority asks until one answer has more than half of the votes, gives it, and asks no more"""
    for repeats in (1, 3, 3, 3, 3, 5, 5, 5, 5, 9, 9, 21):
        answers, decision = votes(rng, repeats)
        script, group = Script(answers), [f"n{i}" for i in subset(rng, 50, 3)]
        assert_equal(attempt.majority(script.test, repeats)(group), decision, exact_type=True)
        assert_equal(script.groups, [group] * len(answers), label="the groups asked about")
    ask = attempt.majority(Script([True, True, False, False, False, True, True]).test, 3)
    for want in (True, False, True):
        assert_equal(ask(["a", "b"]), want, label="the same test, asked about the same group again")
    cluster, flips = named(rng, 21, subset(rng, 21, 3)), iter(range(10**6))
    noisy = attempt.majority(lambda group: cluster.test(group) ^ (next(flips) % 3 == 1), 3)
    found = reference.find_defective(cluster.nodes, lambda group: noisy(group))
    assert_equal(found, cluster.bad, label="what a search finds with one vote of three wrong")


@check("noise", points=1)
def test_ties_are_refused(attempt):
    """an even number of repeats, 0 and negative ones raise ValueError, at once"""
    for repeats in (0, 2, 10, -1, -2):
        assert_raises(ValueError, attempt.majority, Script([]).test, repeats)


@check("noise", points=4)
def test_singles_are_padded(attempt, reference, rng):
    """pad_singles puts `good` behind a single node, and leaves larger groups alone"""
    for answer, good in ((True, "good"), (False, "good"), (True, 0), (False, None), (True, ())):
        for group in (["a"], [None], [0], ["a", "b"], [3, 1, 2], [("x",)]):
            script, asked = Script([answer]), [[*group, good] if len(group) == 1 else group]
            assert_equal(assert_inputs_unchanged(attempt.pad_singles(script.test, good), group), answer)
            assert_equal(script.groups, asked, label="the group asked about")
            assert_equal(attempt.run("kept_padded", group, good), asked, label="the group asked about, afterwards")
    for cluster in (named(rng, n, subset(rng, n, 1)) for n in (1, 2, 9)):
        padded = attempt.pad_singles(cluster.test_of_two_or_more, -5)
        trace = reference.infer_defective(cluster.nodes, lambda group, padded=padded: padded(group))
        assert_equal(trace.defective, cluster.bad, label="what a search finds with a test that needs two nodes")
