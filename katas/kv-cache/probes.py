"""What runs inside the worker: models with given weights or a told forward pass, and what a look at them shows."""

import torch


def loaded(module, name, sizes, weights):
    """`name`(**sizes) with these weights, in their dtype"""
    made = getattr(module, name)(**sizes)
    some = next(iter(weights.values()))
    made.to(device=some.device, dtype=some.dtype).load_state_dict(weights)
    return made


def seeded(module, sizes, seed):
    """GPT(**sizes) in float64 with the weights of that seed"""
    made, generator = module.GPT(**sizes).double(), torch.Generator().manual_seed(seed)
    for _, weight in sorted(made.named_parameters()):
        torch.nn.init.normal_(weight, std=0.3, generator=generator)
    return made


def attributes(_module, model):
    """the names of all that the modules inside hold"""
    return [f"{name}.{key}" for name, inner in model.named_modules() for key in vars(inner)]


def scripted(_module, answer, training):
    """a model that does what `answer(ids, cache, pad, whether in train mode, whether it builds a graph)` says"""

    class Scripted(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.zero = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))
            self.wpe = torch.nn.Embedding(1, 1)  # it means nothing here: no one may count on it

        def forward(self, ids, cache=None, pad=None):
            zero = self.zero + 0
            logits, cache = answer(ids, cache, pad, self.training, zero.requires_grad)
            return logits.to(ids.device) + zero, cache

    return Scripted().train(training)


def parameter_gradients(_module, model, ids, upstream):
    """the gradients of (model(ids)[0] * upstream).sum() by the model's parameters"""
    model.zero_grad()
    (model(ids)[0] * upstream).sum().backward()
    return {name: weight.grad for name, weight in model.named_parameters()}


def static_caches(module, count, sizes, like):
    """a list of so many StaticKV(**sizes), of the dtype of `like`"""
    return [module.StaticKV(**sizes, dtype=like.dtype, device=like.device) for _ in range(count)]


def cached(_module, cache):
    """what is written in a list of StaticKV: (keys, values) a layer"""
    return [(layer.keys[:, :, : layer.length], layer.values[:, :, : layer.length]) for layer in cache]
