"""The toy's checks, with tensors."""

import torch

from grader.checking import assert_close, assert_equal, assert_inputs_unchanged, check, gradients


@check("double", points=20)
def test_double_adds_x_to_itself(attempt, reference, rng):
    """double is 2·x"""
    for shape in ((5,), (2, 3), ()):
        x = rng.tensor(*shape)
        assert_close(attempt.double(x), reference.double(x), rtol=1e-6, atol=0)


@check("double", points=20)
def test_double_leaves_x_alone(attempt, reference, rng):
    """x stays as it was, and the result is 2·x"""
    x = rng.tensor(4)
    got = assert_inputs_unchanged(attempt.double, x)
    assert_close(got, reference.double(x), rtol=1e-6, atol=0)


@check("loss", points=40)
def test_loss_has_a_value_and_a_gradient(attempt, reference, rng):
    """loss is the mean of x², and so is its gradient"""
    batch = {"x": rng.tensor(6)}
    upstream = rng.tensor()
    got, want = (gradients(module.loss, batch, wrt=("x",), upstream=upstream) for module in (attempt, reference))
    assert_close(got, want, rtol=1e-5, atol=1e-7)


@check("draw", points=20)
def test_draw_goes_on_where_it_stopped(attempt, reference, rng):
    """draw takes n numbers from the generator, and the next ones follow"""
    seed = int(rng.integers(2**31))
    mine, theirs = rng.torch().manual_seed(seed), rng.torch().manual_seed(seed)
    for _ in range(2):
        assert_equal(attempt.draw(4, mine), reference.draw(4, theirs))
        assert_equal(torch.rand(4, generator=mine), torch.rand(4, generator=theirs))
