"""What the workloads of attention-backward run beside the attempt."""

from typing import Any


def forward_backward(module: Any, q: Any, k: Any, v: Any, mask: Any, dout: Any) -> Any:
    """attention_backward(dout, cache) of the same attention_forward"""
    out, cache = module.attention_forward(q, k, v, mask)
    return out, module.attention_backward(dout, cache)
