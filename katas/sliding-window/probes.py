"""What runs inside the worker: models with given weights, models and caches that are told, and long-lived caches."""

import torch


def loaded(module, name, sizes, weights):
    """`name`(**sizes) with these weights, in their dtype"""
    made = getattr(module, name)(**sizes)
    some = next(iter(weights.values()))
    made.to(device=some.device, dtype=some.dtype).load_state_dict(weights)
    return made


def scripted_cache(_module, seen, answer):
    """a cache after `seen` tokens, whose append(k, v) returns what `answer(k, v)` says"""

    class Scripted:
        def __init__(self):
            self.seen = seen

        def append(self, k, v):
            self.seen += k.shape[2]
            return answer(k, v)

    return Scripted()


def scripted_model(_module, begin, answer):
    """a model whose new_cache(B) is `begin(B)`; its logits are `answer(ids, cache, has it a graph, is it training)`"""

    class Scripted(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.zero = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))
            self.window = 2  # nothing to count on: this model sees everything

        def new_cache(self, batch_size):
            return begin(batch_size)

        def forward(self, ids, cache=None):
            zero = self.zero + 0
            return answer(ids, cache, zero.requires_grad, self.training).to(ids.device) + zero

    return Scripted()


def many_filled(module, count, sizes, lengths):
    """so many RollingKVCache(**sizes), each after appends of these lengths: (tokens, bytes to spare) of the last one"""
    caches = [module.RollingKVCache(**sizes) for _ in range(count)]
    for cache in caches:
        for length in lengths:
            piece = torch.ones(1, sizes["n_kv_heads"], length, sizes["head_dim"])
            cache.append(piece, piece.clone())
    spare = sum(part.untyped_storage().nbytes() - part.nbytes for part in (cache.keys, cache.values, cache.positions))
    return cache.keys.shape[2], spare


def ring_caches(module, count, sizes, like):
    """a list of so many RingKVCache(**sizes), of the dtype of `like`"""
    return [module.RingKVCache(**sizes, dtype=like.dtype, device=like.device) for _ in range(count)]


def state(_module, cache):
    """the attributes of a cache"""
    names = ("keys", "values", "positions", "seen")
    return {name: getattr(cache, name) for name in names if hasattr(cache, name)}


def drawn(module, sizes):
    """WindowGPT(**sizes) in float64, with weights that are always the same"""
    model, generator = module.WindowGPT(**sizes).double(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator, dtype=weight.dtype) / weight.shape[-1] ** 0.5)
    return model
