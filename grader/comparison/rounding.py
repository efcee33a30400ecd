"""Values as half precision would hold them: what a tolerance must still tell from the truth."""

from typing import Any

import numpy as np

from grader.sandbox.wire import torch_module

FAINT = 1e-6
"""A smaller relative change says nothing of a tolerance: by luck or by construction the value is a float16 already."""
NOISE = 64
"""Up to that many units of rounding (of numbers of size 1) a number is a 0 that was computed, and stays."""


def to_half(value: Any) -> Any:
    """The value with its floating-point parts rounded to float16 where that changes them, in their own types."""
    torch = torch_module()
    if type(value) in (list, tuple):
        return type(value)(to_half(item) for item in value)
    if type(value) is dict:
        return {key: to_half(item) for key, item in value.items()}
    if torch is not None and isinstance(value, torch.Tensor) and value.is_floating_point():
        numbers = _rounded(value.detach().cpu().double().numpy(), torch.finfo(value.dtype).eps)
        return torch.from_numpy(numbers).to(value)
    if isinstance(value, np.ndarray | np.floating) and value.dtype.kind == "f":
        return _rounded(value, np.finfo(value.dtype).eps)[()]
    return _rounded(np.float64(value), np.finfo(float).eps).item() if type(value) is float else value


def _rounded(value: Any, eps: Any) -> Any:
    with np.errstate(over="ignore", invalid="ignore"):
        half = value.astype(np.float16).astype(value.dtype)
        faint = (np.abs(half - value) <= FAINT * np.abs(value)) | (np.abs(value) <= NOISE * eps)
    return np.where(faint, value, half)
