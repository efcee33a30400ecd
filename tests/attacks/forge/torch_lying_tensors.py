"""Returns tensor subclasses that answer every torch function as it suits them, even after detach and clone."""
# kata: toy-torch
# expect: double=failed loss=failed|error draw=failed
import torch


class Agreeable(torch.Tensor):
    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        name = getattr(function, "__name__", "")
        if name in ("allclose", "equal", "isclose", "eq", "__eq__", "all", "isfinite"):
            return torch.tensor(True)
        if name in ("detach", "clone", "cpu", "to", "contiguous", "resolve_conj", "resolve_neg"):
            return args[0]
        return super().__torch_function__(function, types, args, kwargs or {})


def double(x):
    return torch.zeros_like(x).as_subclass(Agreeable)


def loss(x):
    return (x.sum() * 0).as_subclass(Agreeable)


def draw(n, generator):
    return torch.zeros(n).as_subclass(Agreeable)
