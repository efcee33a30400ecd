"""What `kata bench hf-gpt2` times."""

from collections.abc import Iterator
from typing import Any

import torch

from grader.benching import Call, call, workload


def batch(rng: Any, vocab: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """16 rows of random ids, each with up to 7 columns of padding in front, and their mask."""
    starts = torch.from_numpy(rng.integers(0, 8, (16, 1)))
    return torch.from_numpy(rng.integers(0, vocab, (16, width))), (torch.arange(width) >= starts).long()


@workload(rtol=0, atol=0)
def generation(module: Any, rng: Any) -> Iterator[Call]:
    """20 greedy tokens after 16 prompts of 40, one layer of width 32"""
    config = {"vocab_size": 97, "n_positions": 64, "n_embd": 32, "n_head": 4, "n_layer": 1}
    policy = module.run("policy_of", int(rng.integers(2**31)), torch.float64, config, 0.3)
    while True:
        yield call(policy.generate, *batch(rng, 97, 40), 20, do_sample=False)


@workload(rtol=1e-3, atol=1e-5, memory=True)
def training(module: Any, rng: Any) -> Iterator[Call]:
    """log-probabilities of 8 tokens after 32 in 16 rows, a vocabulary of 2000, and their gradient"""
    config = {"vocab_size": 2000, "n_positions": 64, "n_embd": 32, "n_head": 4}
    policy = module.run("policy_of", int(rng.integers(2**31)), torch.float32, config, 0.1)
    while True:
        upstream = rng.tensor(16, 8)
        yield call(module.run, "logprob_norm", policy, upstream, (*batch(rng, 2000, 40), 32))
