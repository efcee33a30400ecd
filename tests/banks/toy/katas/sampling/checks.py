"""Judged by distribution, by determinism, by the generator's state, and by what is left alone."""

import torch

from grader.checking import assert_close, assert_distribution, assert_equal, assert_true, check


@check("draws", points=20)
def test_draws_follow_the_distribution(attempt, rng):
    """each category is drawn as often as its probability says"""
    p = torch.tensor([0.5, 0.3, 0.15, 0.05])
    drawn = attempt.sample(p, 4000, rng.torch())
    assert_true(isinstance(drawn, torch.Tensor) and drawn.shape == (4000,), "not 4000 draws", got=drawn)
    assert_distribution(torch.bincount(drawn, minlength=4).tolist(), p.tolist())


@check("draws", points=20)
def test_equal_generators_give_equal_draws(attempt, rng):
    """the draws depend on the generator alone, whose state goes on"""
    p, generator = torch.tensor([0.5, 0.5]), rng.torch()
    before = generator.get_state()
    first = attempt.sample(p, 50, generator)
    assert_true(not torch.equal(before, generator.get_state()), "the generator was not used")
    second = attempt.sample(p, 50, generator=generator)
    assert_true(not torch.equal(first, second), "the same draws again: the state of the generator did not go on")
    again = torch.Generator()
    again.set_state(before)
    assert_equal([attempt.sample(p, 50, again), attempt.sample(p, 50, again)], [first, second])


@check("draws", points=20)
def test_the_global_generators_are_left_alone(attempt, rng):
    """no global generator is drawn from"""
    before = attempt.run("global_state")
    attempt.shuffled(list(range(20)), rng.torch())
    assert_equal(attempt.run("global_state"), before)


@check("draws", points=20)
def test_a_shuffle_loses_nothing(attempt, rng):
    """a shuffle holds the same items"""
    items = rng.integers(100, size=10).tolist()
    assert_equal(sorted(attempt.shuffled(items, rng.torch())), sorted(items))


@check("draws", points=10)
def test_attempt_and_reference_start_alike(attempt, reference):
    """the global generators of both are seeded alike"""
    assert_close(attempt.from_the_worker(), reference.from_the_worker(), rtol=1e-12, atol=0)


@check("draws", points=10, trained=True)
def test_luck_is_tried_twice(attempt):
    """the coin shows heads"""
    assert_true(attempt.coin(), "tails")
