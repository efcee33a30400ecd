"""The control with tensors: a right attempt, which passes everything."""
# kata: toy-torch
# expect: double=passed loss=passed draw=passed
# checks: all
import torch


def double(x):
    return x + x


def loss(x):
    return x.square().mean()


def draw(n, generator):
    return torch.rand(n, generator=generator)
