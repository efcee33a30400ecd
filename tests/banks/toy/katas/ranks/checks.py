"""Two processes together."""

import torch

from grader.checking import assert_close, assert_equal, assert_true, check


@check("together", points=40)
def test_the_mean_over_ranks(attempt, reference, rng):
    """every rank has the mean"""
    xs = [rng.tensor(3), rng.tensor(3)]
    ranks = attempt.ranks(2)
    assert_equal([(rank, count) for rank, count, _ in ranks.run("who")], [(0, 2), (1, 2)])
    got = ranks.run_each("mean", [(x,) for x in xs])
    for mean in got:
        assert_close(mean, (xs[0] + xs[1]) / 2, rtol=1e-6, atol=1e-6)
    assert_close(ranks.run("mean", xs[0])[1], xs[0], rtol=1e-6, atol=1e-6)


@check("together", points=40)
def test_a_model_in_shards_has_the_gradient_of_a_whole_one(attempt, rng):
    """the gradient is the mean over the ranks, and each rank holds half of the weights"""
    weight, x = rng.tensor(4, 6), rng.tensor(8, 6)
    whole = torch.nn.Linear(6, 4, bias=False)
    whole.load_state_dict({"weight": weight})
    whole(x).square().mean().backward()
    parts = attempt.ranks(2).run_each("sharded_step", [(weight, rows) for rows in x.split(4)])
    for gradient, held in parts:
        assert_close(gradient, whole.weight.grad, rtol=1e-5, atol=1e-6)
        assert_true(held == weight.numel() // 2, "not half of the weights", expected=weight.numel() // 2, got=held)


@check("together", points=20)
def test_the_reference_has_ranks_too(reference, rng):
    """the reference's mean is a mean"""
    x = rng.tensor(2)
    assert_close(reference.ranks(2).run("mean", x), [x, x], rtol=1e-6, atol=1e-6)
