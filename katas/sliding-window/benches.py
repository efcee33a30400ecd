"""What `kata bench sliding-window` times. The model lives over there: only prompts and tokens are carried."""

from collections.abc import Iterator
from typing import Any

import torch

from grader.benching import Call, call, workload

SIZES = {"vocab_size": 61, "d_model": 64, "n_heads": 4, "n_kv_heads": 2, "n_layers": 2, "window": 32}


@workload(rtol=0, atol=0, memory=True)
def decoding(module: Any, rng: Any) -> Iterator[Call]:
    """8 tokens after 512 in chunks of 64, W = 32: 2 layers, D = 64, 4 heads in 2 groups, float64"""
    model = module.run("drawn", SIZES)
    while True:
        prompt = torch.from_numpy(rng.integers(0, 61, size=(1, 512)))
        yield call(module.generate, model, prompt, 8, chunk_size=64)
