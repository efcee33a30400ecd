"""Known mistakes."""

from grader.checking import mistake


def _of_stage(psi, n_ranks, stage, **sizes):
    """sizes: of each state the bytes of a number, and the first stage that shards it"""
    states = {name: psi * size / (n_ranks if stage >= first else 1) for name, (size, first) in sizes.items()}
    return states | {"total": sum(states.values())}


@mistake(
    "no_master_weights",
    replaces="zero_memory",
    caught_by="test_memory_of_each_stage",
    advice="Adam's two moments are 8 of the 12 bytes; the float32 master copy of the parameters is the other 4.",
)
def zero_memory(psi, n_ranks, stage, bytes_param=2, bytes_grad=2, bytes_optim=8):
    return _of_stage(psi, n_ranks, stage, params=(bytes_param, 3), grads=(bytes_grad, 2), optim=(bytes_optim, 1))


@mistake(
    "gradients_from_stage_one",
    replaces="zero_memory",
    caught_by="test_memory_of_each_stage",
    advice="Stage 1 shards the optimizer's states alone; gradients follow with stage 2, parameters with stage 3.",
)
def zero_memory(psi, n_ranks, stage, bytes_param=2, bytes_grad=2, bytes_optim=12):
    return _of_stage(psi, n_ranks, stage, params=(bytes_param, 3), grads=(bytes_grad, 1), optim=(bytes_optim, 1))


@mistake(
    "whole_bytes_only",
    replaces="zero_memory",
    caught_by="test_memory_of_each_stage",
    advice="The division is exact here: // drops what does not divide evenly.",
)
def zero_memory(psi, n_ranks, stage, bytes_param=2, bytes_grad=2, bytes_optim=12):
    sizes = {"params": (bytes_param, 3), "grads": (bytes_grad, 2), "optim": (bytes_optim, 1)}
    states = {name: float(psi * size // (n_ranks if stage >= first else 1)) for name, (size, first) in sizes.items()}
    return states | {"total": sum(states.values())}


@mistake(
    "any_stage_goes",
    replaces="zero_memory",
    caught_by="test_the_published_table",
    advice="A stage beyond 3 passes for 3, and fewer than 0 parameters for a number: raise ValueError for them first.",
)
def zero_memory(psi, n_ranks, stage, bytes_param=2, bytes_grad=2, bytes_optim=12):
    return _of_stage(psi, n_ranks, stage, params=(bytes_param, 3), grads=(bytes_grad, 2), optim=(bytes_optim, 1))


@mistake(
    "rows_in_balance",
    replaces="shard_rows",
    caught_by="test_rows_of_each_rank",
    advice="This shares out the remainder evenly, as np.array_split does. Full chunks of the ceiling come first.",
)
def shard_rows(dim0, n_ranks):
    return [dim0 // n_ranks + (rank < dim0 % n_ranks) for rank in range(n_ranks)]


@mistake(
    "empty_ranks_left_out",
    replaces="shard_rows",
    caught_by="test_rows_of_each_rank",
    advice="torch.chunk returns fewer chunks than you ask for, if there are no rows left: those ranks hold 0 rows.",
)
def shard_rows(dim0, n_ranks):
    return [len(chunk) for chunk in torch.arange(dim0).chunk(n_ranks)]


@mistake(
    "cut_as_one_vector",
    replaces="local_numel",
    caught_by="test_numbers_of_each_rank",
    advice="Each tensor is cut by itself, along whole rows. One flat vector cut into N is what the first FSDP did.",
)
def local_numel(shapes, n_ranks, rank):
    return shard_rows(sum(math.prod(shape) for shape in shapes), n_ranks)[rank]


@mistake(
    "adam_instead_of_adamw",
    replaces="build",
    caught_by="test_build_in_one_process",
    advice="Adam adds the decay to the gradient, where its moments divide it away. AdamW is asked for.",
)
def build(model, mesh, config):
    return model, torch.optim.Adam(model.parameters(), lr=config.lr, weight_decay=config.weight_decay)


def _spread(model, mesh, config, blocks=None, root=False):
    for tensor in model.parameters() if mesh is not None else ():
        dist.broadcast(tensor.detach(), src=0)
    if config.wrap != "none":
        for block in model.blocks if config.wrap == "blocks" and blocks is not None else ():
            fully_shard(block, mesh=mesh, reshard_after_forward=blocks)
        fully_shard(model, mesh=mesh, reshard_after_forward=root)
    return model


def _adamw(model, config):
    return torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=config.weight_decay)


@mistake(
    "optimizer_before_sharding",
    replaces="build",
    caught_by="test_ranks_train_like_one_process",
    advice="fully_shard puts new parameters into the model: an optimizer made before owns the old ones and trains "
    "nothing, without a word. Make it last.",
)
def build(model, mesh, config):
    optimizer = _adamw(model, config)
    return _spread(model, mesh, config, config.reshard_after_forward), optimizer


@mistake(
    "only_the_root_is_wrapped",
    replaces="build",
    caught_by="test_units_of_each_configuration",
    advice="With the root alone as a unit everything is gathered at once. Call fully_shard on each block first.",
)
def build(model, mesh, config):
    return _spread(model, mesh, config), _adamw(model, config)


@mistake(
    "reshard_not_passed_on",
    replaces="build",
    caught_by="test_units_of_each_configuration",
    advice="Left to its default, every block drops its parameters after the forward pass. Pass reshard_after_forward.",
)
def build(model, mesh, config):
    return _spread(model, mesh, config, True), _adamw(model, config)


@mistake(
    "root_reshards",
    replaces="build",
    caught_by="test_units_of_each_configuration",
    advice="The root's parameters are needed again at once: it keeps them. Pass False there, or leave the default.",
)
def build(model, mesh, config):
    reshard = config.reshard_after_forward
    return _spread(model, mesh, config, reshard, root=reshard), _adamw(model, config)


@mistake(
    "every_rank_its_own_weights",
    replaces="build",
    caught_by="test_ranks_train_like_one_process",
    advice="fully_shard keeps of each rank's weights its own chunk: ranks with different seeds make up a model that "
    "none had. Broadcast those of rank 0 first.",
)
def build(model, mesh, config):
    if config.wrap != "none":
        for block in model.blocks if config.wrap == "blocks" else ():
            fully_shard(block, mesh=mesh, reshard_after_forward=config.reshard_after_forward)
        fully_shard(model, mesh=mesh, reshard_after_forward=False)
    return model, _adamw(model, config)


@mistake(
    "sum_over_ranks",
    replaces="_average",
    caught_by="test_ranks_train_like_one_process",
    advice="all_reduce adds up: divide by the number of ranks.",
)
def _average(tensor):
    if dist.is_initialized():
        dist.all_reduce(tensor)
    return tensor


def _passes(model, batches, each_synchronised=False, weight=None):
    """Forward and backward passes; this rank's mean loss."""
    losses = []
    for index, (x, y) in enumerate(batches):
        if hasattr(model, "set_requires_gradient_sync"):
            model.set_requires_gradient_sync(each_synchronised or index == len(batches) - 1)
        losses.append(F.cross_entropy(model(x), y))
        (losses[-1] * (weight or 1 / len(batches))).backward()
    if not hasattr(model, "set_requires_gradient_sync"):
        for parameter in model.parameters():
            _average(parameter.grad)
    return torch.stack(losses).mean().detach()


def _clip(model, max_norm):
    return _whole(torch.nn.utils.clip_grad_norm_(model.parameters(), math.inf if max_norm is None else max_norm))


@mistake(
    "averaged_twice",
    replaces="train_step",
    caught_by="test_ranks_train_like_one_process",
    advice="fully_shard averages over the ranks already: do not divide by their number again. AdamW hides the factor, "
    "as it divides by the gradient's size; the norm shows it.",
)
def train_step(model, optimizer, batches, max_norm=None):
    optimizer.zero_grad()
    ranks = dist.get_world_size() if hasattr(model, "set_requires_gradient_sync") else 1
    loss, norm = _passes(model, batches, weight=1 / len(batches) / ranks), _clip(model, max_norm)
    optimizer.step()
    return float(_average(loss)), float(norm)


@mistake(
    "loss_of_this_rank",
    replaces="train_step",
    caught_by="test_ranks_train_like_one_process",
    advice="The loss is the mean over the rows of all ranks: it has to be averaged too.",
)
def train_step(model, optimizer, batches, max_norm=None):
    optimizer.zero_grad()
    loss, norm = _passes(model, batches), _clip(model, max_norm)
    optimizer.step()
    return float(loss), float(norm)


@mistake(
    "old_gradients_kept",
    replaces="train_step",
    caught_by="test_a_step_in_one_process",
    advice="Gradients add up: call zero_grad before the first backward pass.",
)
def train_step(model, optimizer, batches, max_norm=None):
    loss, norm = _passes(model, batches), _clip(model, max_norm)
    optimizer.step()
    return float(_average(loss)), float(norm)


@mistake(
    "micro_batches_summed",
    replaces="train_step",
    caught_by="test_micro_batches_in_one_process",
    advice="A gradient of k micro-batches is their mean: divide each loss by k before its backward pass.",
)
def train_step(model, optimizer, batches, max_norm=None):
    optimizer.zero_grad()
    loss, norm = _passes(model, batches, weight=1.0), _clip(model, max_norm)
    optimizer.step()
    return float(_average(loss)), float(norm)


@mistake(
    "reduced_in_every_micro_batch",
    replaces="train_step",
    caught_by="test_ranks_accumulate_and_clip",
    advice="The result is right and the network is used k times: set_requires_gradient_sync(False) until the last one.",
)
def train_step(model, optimizer, batches, max_norm=None):
    optimizer.zero_grad()
    loss, norm = _passes(model, batches, each_synchronised=True), _clip(model, max_norm)
    optimizer.step()
    return float(_average(loss)), float(norm)


@mistake(
    "clipped_by_the_local_norm",
    replaces="train_step",
    caught_by="test_ranks_accumulate_and_clip",
    advice="Each rank clips by the norm of its own shards, and so by another factor. Add up squares over all ranks.",
)
def train_step(model, optimizer, batches, max_norm=None):
    optimizer.zero_grad()
    loss = _passes(model, batches)
    grads = [p.grad.to_local() if hasattr(p.grad, "to_local") else p.grad for p in model.parameters()]
    norm = torch.cat([grad.flatten() for grad in grads]).norm()
    for grad in grads:
        grad *= 1.0 if max_norm is None else min(1.0, max_norm / (float(norm) + 1e-6))
    optimizer.step()
    return float(_average(loss)), float(norm)


@mistake(
    "zero_is_no_limit",
    replaces="train_step",
    caught_by="test_clipping_in_one_process",
    advice="0.0 is false: `if max_norm` and `max_norm or …` leave the gradient as it is. Ask for `is None`.",
)
def train_step(model, optimizer, batches, max_norm=None):
    optimizer.zero_grad()
    loss, norm = _passes(model, batches), _clip(model, max_norm or None)
    optimizer.step()
    return float(_average(loss)), float(norm)


@mistake(
    "norm_of_whole_gradients",
    replaces="train_step",
    caught_by="test_peaks_from_outside",
    advice="Whole gradients on each rank take what sharding has saved: clip_grad_norm_ adds up squares of the shards.",
)
def train_step(model, optimizer, batches, max_norm=None):
    optimizer.zero_grad()
    loss = _passes(model, batches)
    norm = torch.cat([_whole(parameter.grad).flatten() for parameter in model.parameters()]).norm()
    for parameter in model.parameters():
        parameter.grad *= 1.0 if max_norm is None else min(1.0, max_norm / (float(norm) + 1e-6))
    optimizer.step()
    return float(_average(loss)), float(norm)


@mistake(
    "parity_of_one_rank",
    replaces="parity_gap",
    caught_by="test_gap_of_all_ranks",
    advice="What this rank sees may be right and another rank's wrong: reduce the gap with MAX over all ranks.",
)
def parity_gap(model, whole):
    pairs = zip(model.parameters(), whole.parameters(), strict=True)
    gaps = torch.stack([(_whole(mine) - other).detach().abs().max() for mine, other in pairs])
    return float(gaps.nan_to_num(nan=math.inf, posinf=math.inf).max())


@mistake(
    "nan_slips_through",
    replaces="parity_gap",
    caught_by="test_gap_in_one_process",
    advice="max(gap, nan) is whatever came first, as no comparison with NaN is true. Turn NaN into infinity before.",
)
def parity_gap(model, whole):
    gap = 0.0
    for mine, other in zip(model.parameters(), whole.parameters(), strict=True):
        gap = max(gap, float((_whole(mine) - other).abs().max()))
    return gap


@mistake(
    "global_shapes_counted",
    replaces="_bytes",
    caught_by="test_bytes_of_each_rank",
    advice="A DTensor answers numel() for the whole tensor. What this rank holds is to_local().",
)
def _bytes(tensors):
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


@mistake(
    "moments_before_the_first_step",
    replaces="local_state_bytes",
    caught_by="test_bytes_in_one_process",
    advice="AdamW makes its moments in its first step, and only for what it owns: look into optimizer.state.",
)
def local_state_bytes(model, optimizer):
    params = _bytes(list(model.parameters()))
    grads = _bytes([parameter.grad for parameter in model.parameters() if parameter.grad is not None])
    return {"params": params, "grads": grads, "optim": 2 * params, "total": 3 * params + grads}


@mistake(
    "no_gradient_beside_the_copy",
    replaces="memory_profile",
    caught_by="test_profile_of_each_configuration",
    advice="At the end of a block's backward pass its gathered parameters and its whole gradient are there together.",
)
def memory_profile(root, blocks, n_ranks, rank, config):
    units = [root, *blocks]
    shards = [4 * local_numel(unit, n_ranks, rank) for unit in units]
    own, *inner = [4 * _numel([unit]) for unit in units]
    copies = max(inner, default=0) if config.reshard_after_forward else sum(inner)
    peak = 3 * sum(shards) + own + copies
    return {"forward": peak, "backward": peak + own, "rest": 4 * sum(shards), "peak": peak + own}


@mistake(
    "micro_batches_scatter_each",
    replaces="collectives",
    caught_by="test_counts_of_each_configuration",
    advice="Gathers are needed in every micro-batch, as parameters were dropped; gradients are reduced once a step.",
)
def collectives(root, blocks, n_ranks, config, micro_batches=1):
    if micro_batches < 1:
        raise ValueError(micro_batches)
    sizes = [_numel([unit]) for unit in _units(root, blocks, config)]
    gathers = [sizes[0], *sizes[1:] * (2 if config.reshard_after_forward else 1)]
    if config.wrap == "none":
        return {"all_gather": 0, "reduce_scatter": 0, "all_reduce": 1, "bytes": 8 * sizes[0] * (1 - 1 / n_ranks)}
    counts = [micro_batches * sum(size > 0 for size in group) for group in (gathers, sizes)]
    sent = 4 * micro_batches * (sum(gathers) + sum(sizes)) * (n_ranks - 1) / n_ranks
    return {"all_gather": counts[0], "reduce_scatter": counts[1], "all_reduce": 0, "bytes": sent}


_right_collectives = collectives


@mistake(
    "all_reduce_sent_once",
    replaces="collectives",
    caught_by="test_bytes_around_the_ring",
    advice="A ring all-reduce is a reduce-scatter and an all-gather: it sends 2 · M · (N − 1)/N.",
)
def collectives(root, blocks, n_ranks, config, micro_batches=1):
    counts = _right_collectives(root, blocks, n_ranks, config, micro_batches)
    return counts | {"bytes": counts["bytes"] / (2 if config.wrap == "none" else 1)}
