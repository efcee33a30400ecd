"""Every type, both ways, and what a comparison says of the wrong one."""

import math

import numpy as np
import torch

from grader.checking import assert_close, assert_equal, assert_inputs_unchanged, assert_raises, assert_true, check

SCALARS = (None, True, -3, 2**70, 0.5, -math.inf, math.nan, 1 - 2j, "σ", b"\0", range(1, 9, 2), slice(1, None), ...)
CONTAINERS = ([1, [2]], (1,), (), {"a": 1, (0, 1): [None]}, {1, 2}, frozenset({"x"}))
ARRAYS = (
    np.arange(6.0).reshape(2, 3).T,
    np.zeros((0, 3), np.int8),
    np.float32(1.5),
    np.bool_(True),
    np.array(["ab", "c"]),
    np.dtype("float16"),
)
TENSORS = (
    torch.arange(6).reshape(2, 3),
    torch.tensor(1.5, dtype=torch.bfloat16),
    torch.zeros(2, 0),
    torch.tensor([True, False]),
    torch.tensor([1 + 2j]),
    torch.float16,
    torch.device("cpu"),
)


@check("types", points=10)
def test_every_type_travels_both_ways(attempt, reference):
    """what is sent comes back, of the same type"""
    for value in (*SCALARS, *CONTAINERS, *ARRAYS, *TENSORS):
        assert_equal(attempt.echo(value), value, exact_type=True)
        assert_equal(reference.echo(value), value, exact_type=True)


@check("types", points=10)
def test_subclasses_arrive_as_their_base_with_a_name(attempt, reference):
    """a subclass is its base, and tells its name"""
    for kind in ("Counter", "OrderedDict", "Parameter", "Size", "Colour", "Span"):
        got, want = attempt.subclass(kind), reference.subclass(kind)
        assert_equal(got, want, exact_type=True)
        assert_equal(got.type_name, kind)
    assert_equal(attempt.subclass("Counter"), {"b": 1, "a": 3, "n": 2})
    assert_equal(attempt.subclass("Size"), (2, 3))
    assert_equal(attempt.subclass("Span").stop, 5)
    assert_true(attempt.subclass("Parameter").requires_grad, "a parameter requires a gradient")


@check("types", points=10)
def test_a_dataclass_arrives_as_a_record(attempt, reference, rng):
    """the summary holds mean and deviations"""
    values = rng.tensor(5)
    got, want = attempt.summary(values), reference.summary(values)
    assert_close(got, want, rtol=1e-6, atol=1e-7)
    assert_close(got.values, want.values, rtol=1e-6, atol=1e-7)


@check("types", points=10)
def test_a_mean_is_a_python_float(attempt, reference, rng):
    """the mean is a float of Python's own"""
    values = rng.tensor(7)
    assert_close(attempt.mean(values), reference.mean(values), rtol=1e-9, atol=0, exact_type=True)


@check("types", points=10)
def test_weights_are_normalised_on_a_copy(attempt, reference, rng):
    """the weights sum to one, and the argument stays as it was"""
    weights = np.abs(rng.standard_normal(5)) + 0.1
    got = assert_inputs_unchanged(attempt.normalised, weights)
    assert_close(got, reference.normalised(weights), rtol=1e-9, atol=0)


@check("types", points=10)
def test_weights_of_nothing_are_refused(attempt):
    """a sum of zero raises ValueError"""
    assert_raises(ValueError, attempt.normalised, np.zeros(3))


@check("types", points=10)
def test_strides_and_gradients_arrive(attempt, rng):
    """a transposed tensor arrives transposed, and knows whether it wants a gradient"""
    x = rng.tensor(2, 3).T
    assert_equal(attempt.layout(x), ((1, 3), False, False))
    assert_equal(attempt.layout(x.clone().requires_grad_()), ((1, 3), False, True))


@check("types", points=10)
def test_arguments_are_copies(attempt):
    """what is changed there stays as it was here"""
    sent = ["a", "b"]
    assert_equal(attempt.first_changed(sent), ["changed", "b"])
    assert_equal(sent, ["a", "b"])


@check("types", points=20)
def test_sixty_megabytes_travel(attempt):
    """an array just under the bound comes back"""
    large = np.full(15 * 2**20, 0.5, np.float32)
    got = attempt.echo(large)
    assert_true(got.dtype == large.dtype and bool((got == large).all()), "another array", expected=large, got=got)
    small = attempt.echo(("after", large[:2]))
    assert_equal(small[0], "after")
