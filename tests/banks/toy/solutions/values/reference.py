"""Values of every kind, there and back."""

from collections import Counter, OrderedDict, namedtuple
from dataclasses import dataclass
from enum import IntEnum

import torch

Span = namedtuple("Span", "start stop")


@dataclass
class Summary:
    mean: float
    values: torch.Tensor


class Colour(IntEnum):
    RED = 1


def echo(value):
    return value


def subclass(kind):
    made = {
        "Counter": lambda: Counter("banana"),
        "OrderedDict": lambda: OrderedDict(b=1, a=2),
        "Parameter": lambda: torch.nn.Parameter(torch.ones(2, 3)),
        "Size": lambda: torch.ones(2, 3).shape,
        "Colour": lambda: Colour.RED,
        "Span": lambda: Span(2, 5),
    }
    return made[kind]()


def summary(values):
    return Summary(mean(values), values - values.mean())


def mean(values):
    return values.double().mean().item()


def normalised(weights):
    """The weights, divided by their sum."""
    total = weights.sum()
    if total <= 0:
        raise ValueError("no weight")
    return weights / total


def layout(x):
    return x.stride(), x.is_contiguous(), x.requires_grad


def first_changed(values):
    """The list with its first element replaced, in place."""
    values[0] = "changed"
    return values
