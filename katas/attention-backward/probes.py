"""Run inside a worker: forward and backward pass without leaving the process, so that the cache may be any object."""

ATTENTION = ("dq", "dk", "dv")
LAYER = ("dx", "dw_q", "dw_k", "dw_v", "dw_o")


def forward_then_backward(module, names, inputs, dout):
    """Those of dq, dk and dv that are named, by name."""
    _, cache = module.attention_forward(**inputs)
    gradients = dict(zip(ATTENTION, module.attention_backward(dout, cache), strict=True))
    return {name: gradients[name] for name in names}


def forward_then_backward_twice(module, inputs, douts):
    """The gradients for each of two douts from one cache; then inputs and douts as they are after all that."""
    _, cache = module.attention_forward(**inputs)
    first, second = (dict(zip(ATTENTION, module.attention_backward(dout, cache), strict=True)) for dout in douts)
    return first, second, inputs, douts


def mha_forward_then_backward(module, names, inputs, dy):
    """Those of dx and the weights' gradients that are named, by name."""
    _, cache = module.mha_forward(**inputs)
    gradients = dict(zip(LAYER, module.mha_backward(dy, cache), strict=True))
    return {name: gradients[name] for name in names}
