"""What `kata bench dpo` times."""

from collections.abc import Iterator
from typing import Any

import torch

from grader.benching import Call, call, workload


@workload(rtol=1e-6, atol=1e-9)
def training(module: Any, rng: Any) -> Iterator[Call]:
    """10 steps over 32 pairs of 24 tokens, 64 tokens in the vocabulary"""
    while True:
        table = rng.tensor(64, 64, dtype=torch.float64)
        batch = {f"{side}_ids": torch.from_numpy(rng.integers(0, 64, (32, 24))) for side in ("chosen", "rejected")}
        mask = torch.arange(24).expand(32, 24) >= 8
        batch |= {"chosen_mask": mask, "rejected_mask": mask}
        yield call(module.run, "trained", table, batch, 10)
