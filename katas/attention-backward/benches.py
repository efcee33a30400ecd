"""What `kata bench attention-backward` times."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from grader.benching import Call, call, workload


@workload(rtol=1e-7, atol=1e-9, memory=True)
def attention(module: Any, rng: Any) -> Iterator[Call]:
    """attention forward and backward, causal, [1, 2, 512, 8]"""
    mask = np.tril(np.ones((512, 512), bool))
    while True:
        q, k, v, dout = rng.standard_normal((4, 1, 2, 512, 8))
        yield call(module.run, "forward_backward", q, k, v, mask, dout)
