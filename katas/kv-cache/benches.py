"""What `kata bench kv-cache` times."""

from collections.abc import Iterator
from typing import Any

import torch

from grader.benching import Call, call, workload

SIZES = {"vocab_size": 97, "n_positions": 512, "d_model": 64, "n_heads": 4, "n_layers": 2}


@workload(rtol=0, atol=0)
def generation(module: Any, rng: Any) -> Iterator[Call]:
    """24 greedy tokens with the cache, after 2 prompts of 128, two layers of width 64"""
    model = module.run("seeded", SIZES, int(rng.integers(2**31)))
    while True:
        yield call(module.generate, model, torch.from_numpy(rng.integers(0, 97, (2, 128))), 24)
