"""Changes what numbers are, for whoever computes next: default dtype, threads, the generator, gradient mode."""
# kata: toy-torch
# expect: double=failed loss=failed|error draw=failed
import torch

torch.set_default_dtype(torch.float16)
torch.set_grad_enabled(False)
torch.manual_seed(0)
torch.Tensor.__eq__ = torch.Tensor.__sub__ = lambda *_: torch.zeros(())
torch.equal = torch.allclose = torch.testing.assert_close = lambda *_, **__: True
torch.autograd.grad = lambda outputs, inputs, **_: [torch.zeros_like(x) for x in inputs]


def double(x):
    return x


def loss(x):
    return x.sum()


def draw(n, generator):
    return torch.zeros(n)
