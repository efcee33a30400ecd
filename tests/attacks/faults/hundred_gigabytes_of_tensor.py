"""Asks for 100 GB of a tensor."""
# kata: toy-torch
# expect: double=memory loss=memory draw=passed
import torch


def double(x):
    return torch.ones(25 * 2**30)


def loss(x):
    return (x[:, None] * torch.ones(25 * 2**30)).mean()


def draw(n, generator):
    return torch.rand(n, generator=generator)
