"""Draws that follow a distribution, from the generator that was passed."""

import random

import numpy as np
import torch


def sample(probabilities, n, generator):
    return torch.multinomial(probabilities, n, replacement=True, generator=generator)


def shuffled(items, generator):
    order = torch.randperm(len(items), generator=generator).tolist()
    return [items[i] for i in order]


def from_the_worker():
    """One draw of each global generator."""
    return [random.random(), float(np.random.random()), torch.rand(2).tolist()]


def coin():
    """Heads, whatever the global generator says."""
    return random.random() < 1
