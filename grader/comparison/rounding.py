"""Values as half precision would hold them: what a tolerance must still tell from the truth."""

from typing import Any

import numpy as np

from grader.sandbox.wire import torch_module


def to_half(value: Any) -> Any:
    """The value with its floating-point parts rounded to float16, in their own types."""
    torch = torch_module()
    if type(value) in (list, tuple):
        return type(value)(to_half(item) for item in value)
    if type(value) is dict:
        return {key: to_half(item) for key, item in value.items()}
    if torch is not None and isinstance(value, torch.Tensor) and value.is_floating_point():
        return value.detach().half().to(value.dtype)
    with np.errstate(over="ignore"):
        if isinstance(value, np.ndarray | np.floating) and value.dtype.kind == "f":
            return value.astype(np.float16).astype(value.dtype)
        return float(np.float16(value)) if type(value) is float else value
