"""What `kata bench reinforce` times."""

from collections.abc import Iterator
from typing import Any

import torch

from grader.benching import Call, call, keep, workload


@workload(rtol=1e-5, atol=1e-5)
def rollouts(module: Any, rng: Any) -> Iterator[Call]:
    """greedy rollouts of a TinyGPT: 8 prompts, groups of 8, 12 tokens"""
    cfg = keep(module.TrainConfig)(letters=9, target_len=4, max_new_tokens=12)
    model = module.run("tiny_gpt", cfg, int(rng.integers(0, 2**31)))
    while True:
        prompts = torch.from_numpy(rng.integers(3, 12, size=(8, 5)))
        yield call(module.run, "rollouts_of", model, prompts, 8, 12)


@workload(rtol=1e-4, atol=1e-6, memory=True)
def loss(module: Any, rng: Any) -> Iterator[Call]:
    """the loss and its gradient: 16 rows of 8 + 64 tokens, half of them padding, 512 tokens in the vocabulary"""
    mask = torch.arange(64) < torch.arange(4, 68, 4).unsqueeze(1)
    while True:
        seed = int(rng.integers(0, 2**31))
        yield call(module.run, "loss_and_gradient", seed, mask, 8, 512)
