"""Shards by hand: local tensors and explicit collectives instead of full tensors; events instead of running sums."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard

Shapes = Sequence[tuple[int, ...]]
Batch = tuple[torch.Tensor, torch.Tensor]


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
    if stage not in range(4) or n_ranks <= 0 or psi < 0:
        raise ValueError("no such stage, ranks or parameters")
    params, grads, optim = float(psi * bytes_param), float(psi * bytes_grad), float(psi * bytes_optim)
    if stage >= 1:
        optim /= n_ranks
    if stage >= 2:
        grads /= n_ranks
    if stage >= 3:
        params /= n_ranks
    return {"params": params, "grads": grads, "optim": optim, "total": params + grads + optim}


def shard_rows(dim0, n_ranks):
    if dim0 < 0 or n_ranks <= 0:
        raise ValueError("no such rows or ranks")
    size, counts = math.ceil(dim0 / n_ranks), []
    for _ in range(n_ranks):
        counts.append(min(size, dim0))
        dim0 -= counts[-1]
    return counts


def local_numel(shapes, n_ranks, rank):
    if n_ranks < 1 or rank not in range(n_ranks):
        raise ValueError("no such rank")
    total = 0
    for rows, *rest in shapes:
        size = -(-rows // n_ranks)
        total += len(range(rows)[rank * size : (rank + 1) * size]) * math.prod(rest)
    return total


def build(model, mesh: DeviceMesh | None, config):
    match config.wrap, mesh:
        case "none", None:
            pass
        case (("none" | "root" | "blocks"), DeviceMesh()):
            flat = torch.nn.utils.parameters_to_vector(model.parameters()).detach()
            dist.broadcast(flat, src=0)
            torch.nn.utils.vector_to_parameters(flat, model.parameters())
        case _:
            raise ValueError(f"cannot spread {config}")
    if config.wrap != "none":
        _shard(model, mesh, config)
    return model, torch.optim.AdamW(list(model.parameters()), config.lr, weight_decay=config.weight_decay)


def _shard(model, mesh, config):

    if config.wrap == "blocks":
        for block in reversed(model.blocks):
            fully_shard(block, mesh=mesh, reshard_after_forward=config.reshard_after_forward)
    fully_shard(model, mesh=mesh)


def _ranks():
    return dist.get_world_size() if dist.is_initialized() else 1


def _sum(value):
    if dist.is_initialized():
        dist.all_reduce(value)
    return value


def train_step(model, optimizer, batches, max_norm=None):
    for parameter in model.parameters():
        parameter.grad = None
    total = torch.zeros((), dtype=torch.float64)
    sharded = any(hasattr(parameter, "to_local") for parameter in model.parameters())
    for left, (x, y) in zip(reversed(range(len(batches))), batches, strict=True):
        if sharded:
            model.set_requires_gradient_sync(not left)
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward(torch.tensor(1 / len(batches), dtype=loss.dtype))
        total += loss.item() / len(batches)
    grads = [_local(parameter.grad) for parameter in model.parameters()]
    if not sharded and _ranks() > 1:
        flat = _sum(torch.cat([grad.flatten() for grad in grads])) / _ranks()
        for grad, mean in zip(grads, flat.split([grad.numel() for grad in grads]), strict=True):
            grad.copy_(mean.view_as(grad))
    squares = sum((grad.double() ** 2).sum() for grad in grads)
    norm = math.sqrt(_sum(squares) if sharded else squares)
    if max_norm is not None and norm + 1e-6 > max_norm:
        for grad in grads:
            grad.mul_(max_norm / (norm + 1e-6))
    optimizer.step()
    return float(_sum(total)) / _ranks(), norm


def _local(tensor):
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


@torch.no_grad()
def parity_gap(model, whole):
    worst = torch.zeros(1, dtype=torch.float64)
    for mine, other in zip(_gathered(list(model.parameters())), whole.parameters(), strict=True):
        if not (other.isfinite().all() and mine.isfinite().all()):
            worst[0] = math.inf
        else:
            worst = torch.maximum(worst, (mine - other).abs().max().double())
    if dist.is_initialized():
        dist.all_reduce(worst, op=dist.ReduceOp.MAX)
    return worst.item()


def _gathered(tensors):
    """All of each: a shard is what there is of it here, after what the ranks before have, and before the others'."""
    if not hasattr(tensors[0], "to_local"):
        return tensors
    shards = [None] * _ranks()
    dist.all_gather_object(shards, [tensor.to_local().clone() for tensor in tensors])
    return [torch.cat(pieces) for pieces in zip(*shards, strict=True)]


def local_state_bytes(model, optimizer):
    found = {"params": 0, "grads": 0, "optim": 0}
    for parameter in model.parameters():
        found["params"] += _local(parameter).nbytes
        if parameter.grad is not None:
            found["grads"] += _local(parameter.grad).nbytes
    for state in optimizer.state_dict()["state"].values():
        for value in state.values():
            if isinstance(value, torch.Tensor) and value.ndim:
                found["optim"] += _local(value).nbytes
    found["total"] = sum(found.values())
    return found


def memory_profile(root, blocks, n_ranks, rank, config):
    if config.wrap != "blocks":
        root, blocks = [*root, *(shape for block in blocks for shape in block)], []
    shards = [4 * local_numel(unit, n_ranks, rank) for unit in (root, *blocks)]
    copies = [4 * local_numel(unit, 1, 0) for unit in (root, *blocks)]
    if config.wrap == "none":
        (size,) = copies
        return {"forward": 3 * size, "backward": 4 * size, "rest": 4 * size, "peak": 4 * size}
    order, drop = range(1, len(copies)), config.reshard_after_forward
    forward = [3 * sum(shards), copies[0]]
    for unit in order:
        forward += [copies[unit], -copies[unit]] if drop else [copies[unit]]
    backward = [sum(forward), copies[0]]
    for unit in reversed(order):
        backward += [copies[unit]] * (1 + drop) + [shards[unit] - 2 * copies[unit]]
    tops = {"forward": _highest(forward), "backward": _highest(backward), "rest": 4 * sum(shards)}
    return tops | {"peak": max(tops.values())}


def _highest(changes):
    now = highest = 0
    for change in changes:
        now += change
        highest = max(highest, now)
    return highest


def collectives(root, blocks, n_ranks, config, micro_batches=1):
    if micro_batches <= 0:
        raise ValueError("a step needs a micro-batch")
    units = [(root, 1)] + [(block, 2 if config.reshard_after_forward else 1) for block in blocks]
    if config.wrap != "blocks":
        units = [([*root, *(shape for block in blocks for shape in block)], 1)]
    counts, moved = {"all_gather": 0, "reduce_scatter": 0, "all_reduce": 0}, 0
    for shapes, times in units:
        size = 4 * sum(math.prod(shape) for shape in shapes)
        if config.wrap == "none":
            counts["all_reduce"] += 1
            moved += 2 * size
        elif size:
            counts["all_gather"] += times * micro_batches
            counts["reduce_scatter"] += 1
            moved += size * (times * micro_batches + 1)
    return counts | {"bytes": moved * (n_ranks - 1) / n_ranks}
