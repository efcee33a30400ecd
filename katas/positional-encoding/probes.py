"""What the workloads of positional-encoding run beside the attempt: tensors that are large are made from small ones."""

from typing import Any

import torch


def rotate(module: Any, rows: Any, columns: Any, positions: Any) -> Any:
    """apply_rope of rows * columns at positions, and its gradient, both summed over T"""
    x = (rows * columns).requires_grad_()  # [B, H, 1, hd] * [B, 1, T, 1]
    turned = module.apply_rope(x, *module.rope_cos_sin(positions, x.shape[-1]))
    (gradient,) = torch.autograd.grad(turned, x, turned.detach() * columns)
    return turned.detach().sum(2), gradient.sum(2)


def decode(module: Any, scales: Any, row: Any, t: Any, generator: Any) -> Any:
    """greedy, the moments of temperature_probs and sample, of logits scales * row"""
    logits = scales * row  # [B, 1] * [V]
    probs = module.temperature_probs(logits, t)
    likeliest = 60 * torch.nn.functional.one_hot(row.argmax(), len(row))  # leaves chance no choice
    return module.greedy(logits), probs @ row, probs.square().sum(-1), module.sample(logits + likeliest, t, generator)
