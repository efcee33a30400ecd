"""What runs inside a worker, alone, in a group of fake ranks, or as one of several real ones.

A model is told by its sizes (inputs, dim, hidden, blocks, classes) and its weights. What is to be written is asked for
before FSDP is imported, which takes a second.
"""

from datetime import timedelta

import torch
import torch.distributed as dist
import torch.nn.functional as F  # noqa: N812 — its usual name
from sharded_blocks import BlockModel
from torch.distributed.device_mesh import init_device_mesh
from torch.utils._python_dispatch import TorchDispatchMode

PATIENCE = timedelta(seconds=20)
"""A rank that waits for one that never comes is told so, long before the deadline."""


def drawn(_module, sizes, seed):
    """the weights of a BlockModel in float64, none of them zero or one"""
    generator = torch.Generator().manual_seed(seed)
    model = BlockModel(*sizes).double()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.5, generator=generator)
    return model.state_dict()


def shapes(_module, sizes):
    """the shapes of the root's own parameters, and of each block's"""
    model = BlockModel(*sizes)
    blocks = [[tuple(weight.shape) for weight in block.parameters()] for block in model.blocks]
    return [tuple(w.shape) for name, w in model.named_parameters() if not name.startswith("blocks")], blocks


def alone(_module, sizes, weights, config, steps, max_norm=None):
    """one process, which sees all rows of each step in one batch: what it reports, and where it ends"""
    model = _model(sizes, weights)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config["lr"], weight_decay=config["weight_decay"])
    reports = []
    for x, y in steps:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        norm = torch.cat([weight.grad.flatten() for weight in model.parameters()]).norm()
        for weight in model.parameters():
            weight.grad *= 1 if max_norm is None else min(1.0, max_norm / (float(norm) + 1e-6))
        optimizer.step()
        reports.append((loss.item(), norm.item()))
    return reports, _gradients(model), dict(model.state_dict())


def built(module, sizes, weights, config):
    """build(model, None, config), and the model itself"""
    model = _model(sizes, weights)
    made, optimizer = module.build(model, None, module.ShardConfig(**config))
    return made is model, made, optimizer


def about(_module, model, optimizer):
    """what the optimizer is, its options, and whether it holds the model's parameters, each once and in order"""
    (group,) = optimizer.param_groups
    held = [id(weight) for weight in group["params"]] == [id(weight) for weight in model.parameters()]
    return type(optimizer).__name__, held, {name: group[name] for name in ("lr", "weight_decay", "betas", "eps")}


def refused(module, sizes, weights, config):
    """build of a model with an impossible configuration"""
    return module.build(_model(sizes, weights), None, module.ShardConfig(**config))


def refused_by_ranks(module, sizes, weights, config, n_ranks, rank):
    """build of an impossible configuration on several ranks: is it a ValueError, and is the model what it was"""
    mesh, model, raised = _pretend(n_ranks, rank), _model(sizes, weights), False
    with _Seen() as seen:
        try:
            module.build(model, mesh, module.ShardConfig(**config))
        except ValueError:
            raised = True
    spread = any(hasattr(weight, "to_local") for weight in model.parameters())
    return {"ValueError": raised, "spread": spread, "collectives": seen.total}


def stepped(module, sizes, weights, config, steps, max_norm=None, dirt=None):
    """train_step in one process on each list of micro-batches: reports, gradients, weights"""
    model, optimizer = module.build(_model(sizes, weights), None, module.ShardConfig(**config))
    for weight in model.parameters() if dirt is not None else ():
        weight.grad = torch.full_like(weight, dirt)
    reports = [module.train_step(model, optimizer, batches, max_norm) for batches in steps]
    return reports, _gradients(model), dict(model.state_dict())


def gap(module, sizes, weights, others):
    """parity_gap of two models in one process"""
    return module.parity_gap(_model(sizes, weights), _model(sizes, others))


def rank_gaps(module, sizes, weights, others):
    """parity_gap of models that are whole on each rank, against a series of others"""
    _begin()
    model = _model(sizes, weights)
    return [module.parity_gap(model, _model(sizes, other)) for other in others]


def rank_trained(module, sizes, weights, config, steps, max_norm=None, watch=False):
    """build and train_step on real ranks: reports, gradients, weights, two gaps, collectives of the last step"""
    mesh = _begin()
    model, optimizer = module.build(_model(sizes, weights), mesh, module.ShardConfig(**config))
    reports = [module.train_step(model, optimizer, batches, max_norm) for batches in steps[:-1]]
    report, counts = _counted(lambda: module.train_step(model, optimizer, steps[-1], max_norm), watch)
    final = {name: _whole(weight) for name, weight in model.named_parameters()}
    gaps = []
    for rank in (0, dist.get_rank()):
        whole = _model(sizes, final)
        whole.embed.weight.data[0, 0] += 0.125 * rank  # a row of rank 0, wherever it is compared
        gaps.append(module.parity_gap(model, whole))
    return [*reports, report], _gradients(model), final, gaps, counts


def rank_bytes(module, sizes, weights, config, batches):
    """local_state_bytes on real ranks: before the first step, between backward pass and step, and after it"""
    mesh = _begin()
    model, optimizer = module.build(_model(sizes, weights), mesh, module.ShardConfig(**config))
    found = [module.local_state_bytes(model, optimizer)]
    (x, y), *_ = batches
    F.cross_entropy(model(x), y).backward()
    found.append(module.local_state_bytes(model, optimizer))
    optimizer.step()
    return [*found, module.local_state_bytes(model, optimizer)]


def bytes_of(module, sizes, weights, dtypes, optimizer_name, passes):
    """local_state_bytes of a model with a frozen and a shared part and a buffer, around each backward pass and step"""
    model = _model(sizes, weights)
    model.blocks[1].norm = model.blocks[0].norm
    model.register_buffer("seen", torch.zeros(5))
    for part, dtype in dtypes.items():
        getattr(model, part).to(dtype)
    model.embed.requires_grad_(False)
    owned = [*model.head.parameters(), *model.blocks[1].up.parameters()]
    optimizer = getattr(torch.optim, optimizer_name)(owned, lr=0.1)
    found = [module.local_state_bytes(model, optimizer)]
    for _ in range(passes):
        for weight in model.parameters():
            weight.grad = torch.ones_like(weight) if weight.requires_grad else None
        found.append(module.local_state_bytes(model, optimizer))
        optimizer.step()
        found.append(module.local_state_bytes(model, optimizer))
        optimizer.zero_grad()
    return found


def units(module, sizes, weights, config, n_ranks, rank):
    """one rank of several fake ones: is it the same model, its optimizer, its shards, and the collectives of a pass"""
    mesh = _pretend(n_ranks, rank)
    model = _model(sizes, weights)
    made, optimizer = module.build(model, mesh, module.ShardConfig(**config))
    shards = {name: _local(weight).clone() for name, weight in made.named_parameters()}
    x, y = torch.ones(2, sizes[0], dtype=torch.float64), torch.zeros(2, dtype=torch.int64)
    _, counts = _counted(lambda: F.cross_entropy(made(x), y).backward(), True)
    return made is model, about(module, made, optimizer), shards, {kind: counts[kind] for kind in ("gather", "scatter")}


def spread_out(module, sizes, config, n_ranks):
    """build as one of several fake ranks: the model and the optimizer"""
    model, optimizer = module.build(BlockModel(*sizes), _pretend(n_ranks, 0), module.ShardConfig(**config))
    return model, optimizer


def two_steps(module, model, optimizer):
    """two training steps of a model that build has spread"""
    x, y = torch.ones(2, model.embed.in_features), torch.zeros(2, dtype=torch.int64)
    return [module.train_step(model, optimizer, [(x, y)]) for _ in range(2)]


def deep_profile(module, blocks, dim, rank):
    """memory_profile of so many equal blocks, resharded, on 64 ranks"""
    block = [(dim,), (dim,), (4 * dim, dim), (4 * dim,), (dim, 4 * dim)]
    return module.memory_profile([(dim, 10), (10, dim)], [block] * blocks, 64, rank, module.ShardConfig("blocks"))


def still(module, sizes):
    """build in one process, with a learning rate of 0: no step changes what the next one computes"""
    return module.build(BlockModel(*sizes), None, module.ShardConfig("none", lr=0.0))


def _begin():
    """A mesh over all ranks, who wait for each other with patience, but not for ever."""
    dist.distributed_c10d._set_pg_timeout(PATIENCE, dist.group.WORLD)
    return init_device_mesh("cpu", (dist.get_world_size(),))


def _pretend(n_ranks, rank):
    """A mesh of ranks that are not there: what they would send does not arrive, all else is as it would be."""
    from torch.testing._internal.distributed.fake_pg import FakeStore

    if not dist.is_initialized():
        dist.init_process_group("fake", rank=rank, world_size=n_ranks, store=FakeStore())
    return init_device_mesh("cpu", (n_ranks,))


def _counted(action, watch):
    """What the action returns, and how many collectives of each kind it needed."""
    if not watch:
        return action(), {}
    with _Seen() as seen:
        return action(), seen.counts


class _Seen(TorchDispatchMode):
    """Counts collectives by kind, all of them, and the numbers that are all-reduced."""

    def __init__(self):
        super().__init__()
        self.counts = dict.fromkeys(("gather", "scatter", "reduced"), 0)
        self.total = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        namespace, _, name = str(function).partition(".")
        if namespace.startswith("c10d"):
            self.total += 1
            if name.startswith("allreduce"):
                self.counts["reduced"] += sum(tensor.numel() for tensor in args[0])
            for kind in self.counts:
                self.counts[kind] += kind in name
        return function(*args, **(kwargs or {}))


def _model(sizes, weights):
    model = BlockModel(*sizes).to(weights["head.weight"].dtype)
    model.load_state_dict(weights)
    return model


def _whole(weight):
    if weight is None:
        return None
    weight = weight.detach()
    return weight.full_tensor() if hasattr(weight, "full_tensor") else weight.clone()


def _local(weight):
    weight = weight.detach()
    return weight.to_local() if hasattr(weight, "to_local") else weight


def _gradients(model):
    return {name: _whole(weight.grad) for name, weight in model.named_parameters()}
