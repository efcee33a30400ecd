"""CANARY-REFERENCE-9f3a: our solution."""

import torch


def double(x: torch.Tensor) -> torch.Tensor:
    """Twice x, in a new tensor."""
    return 2 * x


def loss(x: torch.Tensor) -> torch.Tensor:
    """The mean of x squared, as a tensor of no dimension that carries a gradient."""
    return (x * x).mean()


def draw(n: int, generator: torch.Generator) -> torch.Tensor:
    """n uniform numbers from the generator."""
    return torch.rand(n, generator=generator)
