"""Returns tensors of every odd kind: sparse, quantised, meta, complex, nested, views that overlap, NaN and empty ones."""
# kata: toy-torch
# expect: double=failed|error loss=failed|error draw=failed|error
# checks: all
import torch


def double(x):
    if x.ndim == 0:
        return torch.empty(0)
    if len(x) == 4:
        return torch.full_like(x, float("nan"))
    return x.to_sparse() if x.ndim == 2 else torch.empty(5, device="meta")


def loss(x):
    return torch.quantize_per_tensor(x.detach(), 0.1, 0, torch.qint8)


def draw(n, generator):
    return torch.ones(1, dtype=torch.complex64).expand(10**9)
