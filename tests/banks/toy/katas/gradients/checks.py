"""Gradients of arguments and of parameters, of one output among several, and of none."""

from copy import deepcopy

import torch

from grader.checking import assert_close, assert_equal, assert_true, check, gradients

EXACT = {"rtol": 1e-5, "atol": 1e-6}


def inputs(rng, module):
    x, weight, bias = rng.tensor(4, 3), rng.tensor(2, 3), rng.tensor(2)
    return {"model": module.layer(weight, bias), "x": x, "frozen": rng.tensor(4, 2)}


@check("backward", points=20)
def test_gradients_reach_input_and_parameters(attempt, reference, rng):
    """the gradients of x, weight and bias are right, and the frozen target gets none"""
    wrt, found = ("x", "frozen", "model.parameters"), []
    for module, own in ((attempt, deepcopy(rng)), (reference, rng)):
        found.append(gradients(module.pull, inputs(own, module), wrt=wrt, upstream=own))
    (got, grads), (want, wanted) = found
    assert_close(got, want, **EXACT)
    assert_close(grads["x"], wanted["x"], **EXACT, label="gradient of x")
    assert_close(grads["model.parameters"], wanted["model.parameters"], **EXACT, label="gradients of the parameters")
    assert_true(grads["frozen"] is None, "a gradient reaches the frozen target", got=grads["frozen"])


@check("backward", points=20)
def test_a_chosen_upstream_gradient(attempt):
    """the gradient of softmax for one upstream gradient is p·(u − p·u)"""
    x, upstream = torch.tensor([[0.0, 1.0, 3.0]]), torch.tensor([[1.0, 0.0, 0.0]])
    p, grads = gradients(attempt.softmax, {"x": x}, wrt=("x",), upstream=upstream)
    assert_close(p, x.softmax(-1), **EXACT)
    assert_close(grads["x"], p * (upstream - (p * upstream).sum(-1, keepdim=True)), **EXACT, label="gradient of x")


@check("backward", points=20)
def test_a_count_and_a_choice_carry_no_gradient(attempt, reference, rng):
    """the number of rows and the best column carry none"""
    for module in (attempt, reference):
        count, grads = gradients(
            module.pull, inputs(rng, module), wrt=("x", "model.parameters"), upstream=rng, output=1
        )
        assert_equal(count, 4)
        assert_equal(grads, {"x": None, "model.parameters": {"weight": None, "bias": None}})
    x = rng.tensor(3, 5)
    got, grads = gradients(attempt.best, {"x": x}, wrt=("x",), upstream=rng)
    assert_equal(got, x.argmax(-1))
    assert_equal(grads, {"x": None})


@check("backward", points=20)
def test_a_handle_is_a_function_too(attempt, rng):
    """the layer itself is linear in x"""
    x, weight, bias = rng.tensor(4, 3), rng.tensor(2, 3), rng.tensor(2)
    upstream = rng.tensor(4, 2)
    _, grads = gradients(attempt.layer(weight, bias), {"x": x}, wrt=("x",), upstream=upstream)
    assert_close(grads["x"], upstream @ weight, **EXACT, label="gradient of x")


@check("backward", points=20)
def test_a_step_is_judged_by_its_weights(attempt, reference, rng):
    """one step goes against the gradient of the mean, and changes the model itself"""
    x, weight, bias, target = rng.tensor(4, 3), rng.tensor(2, 3), rng.tensor(2), rng.tensor(4, 2)
    after = []
    for module in (attempt, reference):
        model = module.layer(weight, bias)
        assert_true(module.train_step(model, x, target, lr=0.1) is model, "not the same model")
        after.append(module.run("weights", model))
    assert_close(after[0], after[1], **EXACT)
