"""What every rank runs."""

import os

import torch
import torch.distributed as dist


def mean(module, x):
    return module.mean_over_ranks(x)


def who(_module):
    return dist.get_rank(), dist.get_world_size(), os.environ["GLOO_SOCKET_IFNAME"]


def sharded_step(module, weight, x):
    """Gradient of one step on this rank's rows, and how many numbers this rank holds."""
    model = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    model.load_state_dict({"weight": weight})
    model = module.shard(model)
    model(x).square().mean().backward()
    gradient = model.weight.grad.full_tensor()
    return gradient, model.weight.to_local().numel()


def try_the_network(_module, port):
    import socket

    try:
        socket.create_connection(("127.0.0.1", port), timeout=0.2).close()
    except OSError as error:
        return type(error).__name__
    return "connected"
