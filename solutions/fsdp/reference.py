"""What a model costs when it is spread over ranks: predicted, built with `fully_shard`, and checked. PROMPT.md pins it.

Sizes: N ranks, P parameters. The formulas are for float32 with AdamW, 16 bytes for each parameter.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
import torch.nn.functional as F  # noqa: N812 — its usual name
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


def zero_memory(
    psi: int, n_ranks: int, stage: int, bytes_param: int = 2, bytes_grad: int = 2, bytes_optim: int = 12
) -> dict[str, float]:
    """Bytes of model states on each rank under ZeRO (Rajbhandari et al. 2020, figure 1).

    Args: psi: number of parameters. stage: 0 to 3. bytes_…: per parameter; the defaults are mixed precision with Adam.
    Returns: {"params", "grads", "optim", "total"}, floats. Raises ValueError for psi < 0, n_ranks < 1, another stage.
    """
    if stage not in (0, 1, 2, 3) or n_ranks < 1 or psi < 0:
        raise ValueError(f"stage {stage} of {psi} parameters on {n_ranks} ranks")
    per_parameter = {"params": (bytes_param, 3), "grads": (bytes_grad, 2), "optim": (bytes_optim, 1)}
    states = {name: psi * size / (n_ranks if stage >= first else 1) for name, (size, first) in per_parameter.items()}
    return states | {"total": sum(states.values())}


def shard_rows(dim0: int, n_ranks: int) -> list[int]:
    """How many of a tensor's dim0 rows each rank holds: chunks of ceil(dim0 / n_ranks), as long as there are rows.

    Returns: n_ranks numbers, in order of rank. Raises ValueError for dim0 < 0 or n_ranks < 1.
    """
    if dim0 < 0 or n_ranks < 1:
        raise ValueError(f"{dim0} rows on {n_ranks} ranks")
    return [_rows(dim0, n_ranks, rank) for rank in range(n_ranks)]


def local_numel(shapes: Shapes, n_ranks: int, rank: int) -> int:
    """How many numbers of tensors of these shapes, each of one dimension or more, that rank holds.

    Raises ValueError for n_ranks < 1 or a rank outside 0 … n_ranks − 1.
    """
    if not 0 <= rank < n_ranks:
        raise ValueError(f"rank {rank} of {n_ranks}")
    return sum(_rows(shape[0], n_ranks, rank) * math.prod(shape[1:]) for shape in shapes)


def build(
    model: torch.nn.Module, mesh: DeviceMesh | None, config: ShardConfig
) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    """Spread the model over the mesh, in place, with the weights of rank 0, and make its AdamW.

    Args: model: has its blocks in `model.blocks`. mesh: one-dimensional, over all ranks; None: there is one process.
    Returns: (the model itself, the optimizer over all of its parameters). Raises ValueError for an unknown `wrap`, and
        for one other than "none" without a mesh; the model is then as it was.
    """
    if config.wrap not in ("none", "root", "blocks") or (mesh is None and config.wrap != "none"):
        raise ValueError(f"wrap={config.wrap!r} with mesh={mesh}")
    if mesh is not None:
        for tensor in (*model.parameters(), *model.buffers()):
            dist.broadcast(tensor.detach(), group=mesh.get_group(), group_src=0)
    if config.wrap != "none":
        for block in model.blocks if config.wrap == "blocks" else ():
            fully_shard(block, mesh=mesh, reshard_after_forward=config.reshard_after_forward)
        fully_shard(model, mesh=mesh, reshard_after_forward=False)
    return model, torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=config.weight_decay)


def train_step(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, batches: Sequence[Batch], max_norm: float | None = None
) -> tuple[float, float]:
    """One step on what all ranks bring along, as one process would do it on everything at once.

    Args: model, optimizer: from `build`. batches: this rank's micro-batches (x [B, inputs], y [B] int64), one or more,
        equal in number and size on all ranks. max_norm: where to clip; None: nowhere.
    Returns: (loss, norm), the same on every rank: the mean cross-entropy over all rows, before the step; the L2 norm of
        the whole gradient, before clipping. `.grad` then holds what the step used.
    """
    optimizer.zero_grad()
    sharded = hasattr(model, "set_requires_gradient_sync")
    loss = torch.zeros(())
    for index, (x, y) in enumerate(batches):
        if sharded:
            model.set_requires_gradient_sync(index == len(batches) - 1)
        part = F.cross_entropy(model(x), y) / len(batches)
        part.backward()
        loss = loss + part.detach()
    if not sharded:
        for parameter in model.parameters():
            _average(parameter.grad)
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), math.inf if max_norm is None else max_norm)
    optimizer.step()
    return float(_average(loss)), float(_whole(norm))


def parity_gap(model: torch.nn.Module, whole: torch.nn.Module) -> float:
    """The largest difference of a parameter from that of a model in one piece, over all parameters and all ranks.

    Args: model: from `build`, between two steps. whole: the same model, never spread; each rank has its own.
    Returns: the same number on every rank; infinity where a parameter of either is NaN or infinite.
    """
    pairs = zip(model.parameters(), whole.parameters(), strict=True)
    gaps = torch.stack([(_whole(mine) - other).detach().abs().max() for mine, other in pairs])
    gap = gaps.nan_to_num(nan=math.inf, posinf=math.inf).max()
    if dist.is_initialized():
        dist.all_reduce(gap, dist.ReduceOp.MAX)
    return float(gap)


def local_state_bytes(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, int]:
    """Bytes of model states that this rank holds now, without communication.

    Returns: {"params", "grads", "optim", "total"}: of the parameters, their gradients, and the optimizer's tensors of
        one dimension or more; of a sharded tensor this rank's shard alone.
    """
    parameters = list(model.parameters())
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    states = [value for state in optimizer.state.values() for value in state.values()]
    moments = [value for value in states if isinstance(value, torch.Tensor) and value.dim() > 0]
    held = {"params": _bytes(parameters), "grads": _bytes(gradients), "optim": _bytes(moments)}
    return held | {"total": sum(held.values())}


def memory_profile(
    root: Shapes, blocks: Sequence[Shapes], n_ranks: int, rank: int, config: ShardConfig
) -> dict[str, int]:
    """Bytes of model states on a rank in a training step that is not the first, by the rules of PROMPT.md.

    Args: root: shapes of the parameters outside the blocks. blocks: of those of each block, in order.
    Returns: {"forward", "backward", "rest", "peak"}: the most there is in each pass; what there is between the backward
        pass and the step; the most of the three.
    """
    if config.wrap == "none":
        size = 4 * _numel([root, *blocks])
        return {"forward": 3 * size, "backward": 4 * size, "rest": 4 * size, "peak": 4 * size}
    (own, gathered), *inner = [
        (4 * local_numel(unit, n_ranks, rank), 4 * _numel([unit])) for unit in _units(root, blocks, config)
    ]
    states = own + sum(shard for shard, _ in inner)
    held = forward = 3 * states + gathered  # shards, two moments of each, and the root's copy
    for _, copy in inner:
        forward = max(forward, held + copy)
        held += 0 if config.reshard_after_forward else copy
    held += gathered  # the root's gradient: the head's comes first, the embedding's last
    backward = held
    for shard, copy in reversed(inner):
        held += copy if config.reshard_after_forward else 0
        backward = max(backward, held + copy)  # a gradient is as large as what it belongs to
        held += shard - copy
    return {"forward": forward, "backward": backward, "rest": 4 * states, "peak": max(forward, backward, 4 * states)}


def collectives(
    root: Shapes, blocks: Sequence[Shapes], n_ranks: int, config: ShardConfig, micro_batches: int = 1
) -> dict[str, float]:
    """Collectives of one training step, and the bytes that each rank sends for them around a ring.

    Returns: {"all_gather", "reduce_scatter", "all_reduce", "bytes"}. Raises ValueError for micro_batches < 1.
    """
    if micro_batches < 1:
        raise ValueError(f"{micro_batches} micro-batches")
    hop = 4 * (n_ranks - 1) / n_ranks
    if config.wrap == "none":
        return {"all_gather": 0, "reduce_scatter": 0, "all_reduce": 1, "bytes": 2 * hop * _numel([root, *blocks])}
    own, *inner = [_numel([unit]) for unit in _units(root, blocks, config)]
    gathers = micro_batches * [own, *inner * (2 if config.reshard_after_forward else 1)]
    scatters = [own, *inner]
    counts = {"all_gather": len([*filter(None, gathers)]), "reduce_scatter": len([*filter(None, scatters)])}
    return counts | {"all_reduce": 0, "bytes": hop * (sum(gathers) + sum(scatters))}


def _rows(dim0: int, n_ranks: int, rank: int) -> int:
    chunk = -(-dim0 // n_ranks)
    return max(0, min(chunk, dim0 - rank * chunk))


def _units(root: Shapes, blocks: Sequence[Shapes], config: ShardConfig) -> list[Shapes]:
    """The root's own unit, and those of the blocks."""
    return [root, *blocks] if config.wrap == "blocks" else [[shape for unit in (root, *blocks) for shape in unit]]


def _numel(units: Sequence[Shapes]) -> int:
    return sum(math.prod(shape) for unit in units for shape in unit)


def _average(tensor: torch.Tensor) -> torch.Tensor:
    """The mean over all ranks, in place."""
    if dist.is_initialized():
        dist.all_reduce(tensor)
        tensor /= dist.get_world_size()
    return tensor


def _whole(tensor: torch.Tensor) -> torch.Tensor:
    """All of a tensor that may be a DTensor: every rank has to ask."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def _bytes(tensors: Sequence[torch.Tensor]) -> int:
    local = [tensor.to_local() if hasattr(tensor, "to_local") else tensor for tensor in tensors]
    return sum(tensor.numel() * tensor.element_size() for tensor in local)
