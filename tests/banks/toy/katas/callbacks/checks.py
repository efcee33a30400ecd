"""A hidden oracle that counts, raises, is kept, and is asked with strange things."""

import torch

from grader.checking import assert_close, assert_equal, assert_raises, assert_true, check


class Oracle:
    """Knows the bad nodes, and counts how often it was asked."""

    def __init__(self, bad):
        self.bad, self.asked = set(bad), []

    def __call__(self, group):
        self.asked.append(len(group))
        return bool(self.bad & set(group))


def few(d, n):
    """The most questions that halving needs for d bad ones of n, a power of two."""
    return 2 * d * (n // d).bit_length() + 2 * d


@check("oracle", points=20)
def test_the_bad_ones_are_found(attempt, rng):
    """the bad nodes are found, whatever they are called"""
    nodes = [f"node-{i}" for i in rng.permutation(32)]
    for d in (0, 1, 4):
        oracle = Oracle(nodes[:d])
        assert_equal(attempt.find_bad(sorted(nodes), oracle), set(nodes[:d]))


@check("oracle", points=20, needs="test_the_bad_ones_are_found")
def test_few_questions_are_asked(attempt, rng):
    """no more questions than halving needs, and none about nobody"""
    nodes = list(range(64))
    oracle = Oracle(rng.choice(64, 2, replace=False).tolist())
    attempt.find_bad(nodes, oracle)
    asked = len(oracle.asked)
    assert_true(asked <= few(2, 64), "too many questions", expected=f"at most {few(2, 64)}", got=asked)
    assert_true(0 not in oracle.asked, "a question about nobody")


@check("oracle", points=10)
def test_a_refusal_is_no_answer(attempt):
    """an oracle that raises ValueError is asked again, about another number"""

    def oracle(x):
        if x < 5:
            raise ValueError("too small")
        return True

    assert_equal(attempt.smallest(oracle, 0, 9), 5)
    assert_equal(attempt.smallest(oracle, 0, 4), None)


@check("oracle", points=10)
def test_functions_take_each_others_results(attempt, reference):
    """tensors and keywords go through two functions"""

    def outer(x, *, inner, again):
        return x + inner * again

    x = torch.tensor([1.0, 2.0])
    for module in (attempt, reference):
        assert_close(module.compose(outer, torch.exp, x), x + torch.exp(3 * x), rtol=1e-6, atol=1e-6)


@check("oracle", points=10)
def test_a_function_can_be_kept(attempt):
    """a function outlives the call that brought it"""
    later = attempt.Later(lambda x: x * x)
    assert_equal([later.ask(3), later.ask(4)], [9, 16])


@check("oracle", points=10)
def test_an_object_of_the_attempt_is_a_handle_here(attempt):
    """what a function is given may be given back"""
    seen = []

    def same(thing):
        seen.append(thing)
        return thing

    got = attempt.give(same)
    assert_true(got is seen[0], "another object came back")
    assert_equal(got.type_name, "Later")


@check("oracle", points=10)
def test_who_waits_cannot_be_asked(attempt):
    """a function may not ask the attempt that waits for it"""
    assert_raises(RuntimeError, attempt.give, lambda thing: thing.ask(1))


@check("oracle", points=10)
def test_what_a_function_returns_must_travel(attempt):
    """a function that returns what cannot travel raises there"""
    assert_raises(RuntimeError, attempt.give, lambda _thing: object())
