"""What `kata bench kl` times."""

from collections.abc import Iterator
from typing import Any

import torch

from grader.benching import Call, call, workload


@workload(rtol=1e-6, atol=1e-9)
def training(module: Any, rng: Any) -> Iterator[Call]:
    """20 steps of the gradient experiment, k3 in the loss, 20,000 outcomes"""
    while True:
        logits, reward = (rng.tensor(20_000, dtype=torch.float64) for _ in range(2))
        reference = rng.tensor(20_000, dtype=torch.float64).log_softmax(-1)
        yield call(module.kl_grad_experiment, logits, reference, reward, 0.5, "k3", "loss", 0.1, 20)
