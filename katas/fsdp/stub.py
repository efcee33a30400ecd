"""What a model costs when it is spread over ranks: predicted, built with `fully_shard`, and checked. PROMPT.md pins it.

Sizes: N ranks, P parameters. The formulas are for float32 with AdamW, 16 bytes for each parameter.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard  # noqa: F401 — for `build`

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
    raise NotImplementedError("zero: divide each of the three states by n_ranks, from the stage on that shards it")


def shard_rows(dim0: int, n_ranks: int) -> list[int]:
    """How many of a tensor's dim0 rows each rank holds: chunks of ceil(dim0 / n_ranks), as long as there are rows.

    Returns: n_ranks numbers, in order of rank. Raises ValueError for dim0 < 0 or n_ranks < 1.
    """
    raise NotImplementedError("rows: compute the length of a full chunk first")


def local_numel(shapes: Shapes, n_ranks: int, rank: int) -> int:
    """How many numbers of tensors of these shapes, each of one dimension or more, that rank holds.

    Raises ValueError for n_ranks < 1 or a rank outside 0 … n_ranks − 1.
    """
    raise NotImplementedError("rows: start with the rows of one shape, times the rest of its dimensions")


def build(
    model: torch.nn.Module, mesh: DeviceMesh | None, config: ShardConfig
) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    """Spread the model over the mesh, in place, with the weights of rank 0, and make its AdamW.

    Args: model: has its blocks in `model.blocks`. mesh: one-dimensional, over all ranks; None: there is one process.
    Returns: (the model itself, the optimizer over all of its parameters). Raises ValueError for an unknown `wrap`, and
        for one other than "none" without a mesh; the model is then as it was.
    """
    raise NotImplementedError('build: write wrap="none" without a mesh first, then the units, then the optimizer')


def train_step(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, batches: Sequence[Batch], max_norm: float | None = None
) -> tuple[float, float]:
    """One step on what all ranks bring along, as one process would do it on everything at once.

    Args: model, optimizer: from `build`. batches: this rank's micro-batches (x [B, inputs], y [B] int64), one or more,
        equal in number and size on all ranks. max_norm: where to clip; None: nowhere.
    Returns: (loss, norm), the same on every rank: the mean cross-entropy over all rows, before the step; the L2 norm of
        the whole gradient, before clipping. `.grad` then holds what the step used.
    """
    raise NotImplementedError("parity: write the step of one process first, then what ranks have to tell each other")


def parity_gap(model: torch.nn.Module, whole: torch.nn.Module) -> float:
    """The largest difference of a parameter from that of a model in one piece, over all parameters and all ranks.

    Args: model: from `build`, between two steps. whole: the same model, never spread; each rank has its own.
    Returns: the same number on every rank; infinity where a parameter of either is NaN or infinite.
    """
    raise NotImplementedError("parity: compare the models of one process first")


def local_state_bytes(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, int]:
    """Bytes of model states that this rank holds now, without communication.

    Returns: {"params", "grads", "optim", "total"}: of the parameters, their gradients, and the optimizer's tensors of
        one dimension or more; of a sharded tensor this rank's shard alone.
    """
    raise NotImplementedError("bytes: add up the parameters first")


def memory_profile(
    root: Shapes, blocks: Sequence[Shapes], n_ranks: int, rank: int, config: ShardConfig
) -> dict[str, int]:
    """Bytes of model states on a rank in a training step that is not the first, by the rules of PROMPT.md.

    Args: root: shapes of the parameters outside the blocks. blocks: of those of each block, in order.
    Returns: {"forward", "backward", "rest", "peak"}: the most there is in each pass; what there is between the backward
        pass and the step; the most of the three.
    """
    raise NotImplementedError('profile: write wrap="none" first, then list the units and their sizes')


def collectives(
    root: Shapes, blocks: Sequence[Shapes], n_ranks: int, config: ShardConfig, micro_batches: int = 1
) -> dict[str, float]:
    """Collectives of one training step, and the bytes that each rank sends for them around a ring.

    Returns: {"all_gather", "reduce_scatter", "all_reduce", "bytes"}. Raises ValueError for micro_batches < 1.
    """
    raise NotImplementedError("collectives: count the gathers of each unit first")
