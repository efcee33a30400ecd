"""Rotary positions, given: neighbouring channels are one complex number, which turns with the position."""

import torch


def rotate(x: torch.Tensor, positions: torch.Tensor, base: float = 10000.0) -> torch.Tensor:
    """Turn the channels 2i and 2i + 1 of the token at position p by the angle p · base^(−2i/c).

    Args: x: [..., T, c] float32 or float64, c even. positions: [T] int64, absolute, in any order.
    Returns: a new tensor of x's shape and dtype. The dot product of a rotated query and a rotated key depends on their
        positions through the difference alone.
    """
    channels = x.shape[-1]
    exponents = torch.arange(0, channels, 2, device=x.device, dtype=torch.float64) / channels
    angles = positions.to(x.device)[:, None] * base**-exponents  # (T, c/2)
    turns = torch.polar(torch.ones_like(angles), angles).to(x.dtype.to_complex())
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * turns).flatten(-2)
