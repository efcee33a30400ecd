"""Tables and vectors: torch does the counting, accumulated sums instead of loops, the pieces of clip_grad_norm_."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, pairwise

import torch
import torch.distributed as dist
import torch.nn.functional as F  # noqa: N812 — its usual name
from torch.distributed.fsdp import fully_shard

Shapes = Sequence[tuple[int, ...]]
Batch = tuple[torch.Tensor, torch.Tensor]
SHARDED_FROM = {"params": 3, "grads": 2, "optim": 1}


@dataclass(frozen=True)
class ShardConfig:
    """How a model is spread, and how it is trained."""

    wrap: str = "blocks"
    """"none": a copy on each rank; "root": the model is one unit; "blocks": each block is one, and the rest."""
    reshard_after_forward: bool = True
    """Whether a block drops its gathered parameters after its forward pass, and gathers them again for the backward."""
    lr: float = 1e-2
    weight_decay: float = 0.01


def zero_memory(psi, n_ranks, stage, bytes_param=2, bytes_grad=2, bytes_optim=12):
    if not (0 <= stage <= 3 and n_ranks >= 1 and psi >= 0):
        raise ValueError((psi, n_ranks, stage))
    each = dict(zip(SHARDED_FROM, (bytes_param, bytes_grad, bytes_optim), strict=True))
    table = {name: psi * each[name] / n_ranks ** (stage >= first) for name, first in SHARDED_FROM.items()}
    table["total"] = math.fsum(table.values())
    return table


def shard_rows(dim0, n_ranks):
    if dim0 < 0 or n_ranks < 1:
        raise ValueError((dim0, n_ranks))
    chunk = (dim0 + n_ranks - 1) // n_ranks
    edges = [min(dim0, rank * chunk) for rank in range(n_ranks + 1)]
    return [stop - start for start, stop in pairwise(edges)]


def local_numel(shapes, n_ranks, rank):
    if n_ranks < 1 or not 0 <= rank < n_ranks:
        raise ValueError((n_ranks, rank))
    return sum(math.prod((shard_rows(rows, n_ranks)[rank], *rest)) for rows, *rest in shapes)


def build(model, mesh, config):
    units = {"none": [], "root": [model], "blocks": [*model.blocks, model]}
    if config.wrap not in units or (units[config.wrap] and mesh is None):
        raise ValueError(config)
    if mesh is not None:
        for tensor in model.state_dict().values():
            dist.broadcast(tensor, 0, group=mesh.get_group())
    for unit in units[config.wrap]:
        keeps = unit is model or not config.reshard_after_forward
        fully_shard(unit, mesh=mesh, reshard_after_forward=not keeps)
    return model, torch.optim.AdamW(
        [{"params": list(model.parameters())}], lr=config.lr, weight_decay=config.weight_decay
    )


def train_step(model, optimizer, batches, max_norm=None):
    model.zero_grad()
    *before, last = batches
    losses = [_pass(model, batch, len(batches), last=False) for batch in before]
    losses.append(_pass(model, last, len(batches), last=True))
    gradients = [parameter.grad for parameter in model.parameters()]
    if not _is_sharded(model) and dist.is_initialized():
        for work in [dist.all_reduce(gradient, async_op=True) for gradient in gradients]:
            work.wait()
        torch._foreach_div_(gradients, float(dist.get_world_size()))
    norm = torch.nn.utils.get_total_norm(gradients)
    norm = norm.full_tensor() if _is_sharded(model) else norm
    if max_norm is not None:
        torch.nn.utils.clip_grads_with_norm_(model.parameters(), max_norm, norm)
    optimizer.step()
    loss = torch.stack(losses).sum()
    if dist.is_initialized():
        everyone = [torch.empty_like(loss) for _ in range(dist.get_world_size())]
        dist.all_gather(everyone, loss)
        loss = torch.stack(everyone).mean()
    return loss.item(), norm.item()


def _pass(model, batch, count, last):
    if _is_sharded(model):
        model.set_requires_gradient_sync(last)
    loss = F.cross_entropy(model(batch[0]), batch[1]) / count
    loss.backward()
    return loss.detach()


def _is_sharded(model):
    return type(model).__name__.startswith("FSDP")


def parity_gap(model, whole):
    mine, other = (
        torch.cat([_gathered(tensor).detach().flatten() for tensor in one.parameters()]) for one in (model, whole)
    )
    gap = (mine - other).abs().max()
    gap = torch.where(gap.isfinite(), gap, torch.inf)
    if not dist.is_initialized():
        return gap.item()
    gaps = [None] * dist.get_world_size()
    dist.all_gather_object(gaps, gap.item())
    return max(gaps)


def _gathered(tensor):
    return tensor.full_tensor() if type(tensor.data).__name__ == "DTensor" else tensor


def local_state_bytes(model, optimizer):
    parameters = [*model.parameters()]
    states = chain.from_iterable(state.values() for state in optimizer.state.values())
    kept = {
        "params": parameters,
        "grads": [parameter.grad for parameter in parameters],
        "optim": [value for value in states if torch.is_tensor(value) and value.shape],
    }
    found = {name: sum(map(_bytes, tensors)) for name, tensors in kept.items()}
    return {**found, "total": sum(found.values())}


def _bytes(tensor):
    if tensor is None:
        return 0
    tensor = getattr(tensor, "_local_tensor", tensor)
    return tensor.numel() * tensor.dtype.itemsize


def memory_profile(root, blocks, n_ranks, rank, config):
    if config.wrap == "none":
        size = 4 * sum(map(math.prod, chain(root, *blocks)))
        return {"forward": 3 * size, "backward": 4 * size, "rest": 4 * size, "peak": 4 * size}
    units = [root, *blocks] if config.wrap == "blocks" else [[*chain(root, *blocks)]]
    (own, gathered), *inner = [(4 * local_numel(u, n_ranks, rank), 4 * sum(map(math.prod, u))) for u in units]
    shards, copies = [shard for shard, _ in inner], [copy for _, copy in inner]
    states = 3 * (own + sum(shards))
    if config.reshard_after_forward:
        together = [0] * (len(inner) + 1)
        forward = states + gathered + max(copies, default=0)
    else:
        together = [0, *accumulate(copies)]
        forward = states + gathered + together[-1]
    reduced = [*accumulate(reversed(shards), initial=0)][-2::-1]
    tops = [states + 2 * gathered + together[-1]]
    for index, copy in enumerate(copies):
        there = copy if config.reshard_after_forward else together[index + 1]
        tops.append(states + 2 * gathered + there + copy + reduced[index])
    rest = 4 * (own + sum(shards))
    return {"forward": forward, "backward": max(tops), "rest": rest, "peak": max(forward, *tops, rest)}


def collectives(root, blocks, n_ranks, config, micro_batches=1):
    if micro_batches < 1:
        raise ValueError(micro_batches)
    everything = sum(map(math.prod, chain(root, *blocks)))
    sizes = [sum(map(math.prod, unit)) for unit in (root, *blocks)] if config.wrap == "blocks" else [everything]
    again = 2 if config.wrap == "blocks" and config.reshard_after_forward else 1
    there = [size > 0 for size in sizes]
    if config.wrap == "none":
        gathers, scatters, reduces, moved = 0, 0, 1, 2 * everything
    else:
        gathers, scatters, reduces = micro_batches * (there[0] + again * sum(there[1:])), sum(there), 0
        moved = micro_batches * (sizes[0] + again * sum(sizes[1:])) + everything
    share = 1 - 1 / n_ranks
    return {
        "all_gather": gathers,
        "reduce_scatter": scatters,
        "all_reduce": reduces,
        "bytes": 4.0 * moved * share,
    }
