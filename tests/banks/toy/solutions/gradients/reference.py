"""A loss whose gradient reaches some of its inputs."""

import torch
from toy_linear import loaded


def layer(weight, bias):
    return loaded(weight, bias)


def pull(model, x, frozen, scale=1.0):
    """The squared distance to a frozen target, row by row; and how many rows there are."""
    difference = model(x) - frozen.detach()
    return scale * (difference**2).sum(-1), len(x)


def softmax(x):
    return torch.softmax(x, -1)


def best(x):
    return x.argmax(-1)


def train_step(model, x, target, lr):
    """One step of gradient descent; the same model."""
    loss = pull(model, x, target)[0].mean()
    loss.backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= lr * parameter.grad
            parameter.grad = None
    return model
