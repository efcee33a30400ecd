"""What runs inside a worker: modules with given weights, and the model driven in chunks as a cache would drive it."""

import torch
from moe_model import Context, WindowedModel


def loaded(module, name, sizes, weights):
    """`name`(**sizes) with these weights, in their dtype"""
    return _with_weights(getattr(module, name)(**sizes), weights)


def on_one_thread(module, sizes, weights):
    """MoE(**sizes) with these weights, in a process that computes on one thread"""
    torch.set_num_threads(1)
    return loaded(module, "MoE", sizes, weights)


def reused(module, sizes, weights, x):
    """MoE(**sizes) on one and the same x: at first, after new weights, and after x was changed in place"""
    layer, x = loaded(module, "MoE", sizes, weights[0]), x.clone()
    first = layer(x)
    layer.load_state_dict(weights[1])
    second = layer(x)
    with torch.no_grad():
        x.copy_(x.flip(0, 1))
    return first, second, layer(x)


def drawn(module, sizes):
    """MoE(**sizes) in float64, with weights that are always the same"""
    layer, generator = module.MoE(**sizes).double(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in layer.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator, dtype=weight.dtype) / weight.shape[-1] ** 0.5)
    return layer


def trained(_module, layer, seed, shape):
    """the gradients of a layer for the tokens [B, T, D] of this seed, each summed over all but one dimension"""
    x = _tokens(layer, seed, shape).requires_grad_()
    layer.zero_grad()
    layer(x).square().sum().backward()
    return [weight.grad.flatten(1).sum(dim=1) for weight in layer.parameters()], x.grad.sum(dim=(0, 1))


def applied(_module, layer, method, seed, shape, *args):
    """a method of a layer, without gradients, on the tokens [B, T, D] of this seed, summed over D"""
    with torch.no_grad():
        result = getattr(layer, method)(_tokens(layer, seed, shape), *args)
    y, *rest = result if isinstance(result, tuple) else (result,)
    return y.sum(dim=-1), *rest


def model(module, vocab, layers, sizes, weights):
    """WindowedModel(vocab, dim, [Block(**sizes), …]) with these weights, if any, in their dtype"""
    blocks = [module.Block(**sizes) for _ in range(layers)]
    return _with_weights(WindowedModel(vocab, sizes["dim"], blocks), weights)


def calling(_module, method):
    """a function that calls this method of a layer"""
    return lambda layer, x, **options: getattr(layer, method)(x, **options)


def attending(_module):
    """a function that calls a block on a whole sequence"""
    return lambda block, x, mask, rotation: block(x, Context(mask, rotation, lambda keys, values: (keys, values)))


def logits_in_chunks(_module, model, ids, sizes, window):
    """the logits of the model, to which the sequence comes in chunks of these sizes"""
    memories = [Memory(window) for _ in model.blocks]
    stops = torch.tensor(sizes).cumsum(0).tolist()
    parts = []
    for start, stop in zip([0, *stops], stops, strict=False):
        first = max(0, start - window + 1)
        back = torch.arange(start, stop)[:, None] - torch.arange(first, stop)
        mask, rotation = (back >= 0) & (back < window), _rotation(model, start, stop)
        parts.append(model(ids[:, start:stop], [Context(mask, rotation, memory) for memory in memories]))
    return torch.cat(parts, dim=1)


def _tokens(layer, seed, shape):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, layer.w_router.shape[1], generator=generator, dtype=layer.w_router.dtype)


class Memory:
    """Keys and values of the last tokens of one layer, as many as a later token can see."""

    def __init__(self, window):
        self.reach, self.past = window - 1, None

    def __call__(self, keys, values):
        both = (keys, values)
        if self.past is not None:
            both = tuple(torch.cat(pair, dim=1) for pair in zip(self.past, both, strict=True))
        self.past = tuple(part[:, max(0, part.shape[1] - self.reach) :] for part in both)
        return both


def _rotation(model, start, stop):
    """One matrix [D, D] a position: turns neighbouring channels, each pair at its own speed."""
    weight = model.embed.weight
    half = weight.shape[1] // 2
    speed = 0.7 ** torch.arange(half, dtype=weight.dtype)
    angle = torch.arange(start, stop, dtype=weight.dtype)[:, None] * speed  # (T, D/2)
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], dim=-1).view(-1, half, 2, 2)
    return torch.stack([torch.block_diag(*pairs) for pairs in turn])


def _with_weights(made, weights):
    if weights:
        made.to(next(iter(weights.values())).dtype).load_state_dict(weights)
    return made
