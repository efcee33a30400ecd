"""Run inside a worker: forward and backward pass without leaving the process, so that the cache may be any object."""


def attention_gradients(module, names, inputs, dout):
    """Those of dq, dk and dv that are named, by name."""
    _, cache = module.attention_forward(**inputs)
    gradients = dict(zip(("dq", "dk", "dv"), module.attention_backward(dout, cache), strict=True))
    return {name: gradients[name] for name in names}


def attention_backward_twice(module, inputs, douts):
    """The gradients for each dout from one cache; then inputs and douts as they are after all that."""
    _, cache = module.attention_forward(**inputs)
    gradients = [module.attention_backward(dout, cache) for dout in douts]
    return gradients, inputs, douts


def mha_gradients(module, names, inputs, dy):
    """Those of dx and the weights' gradients that are named, by name."""
    _, cache = module.mha_forward(**inputs)
    gradients = dict(zip(("dx", "dw_q", "dw_k", "dw_v", "dw_o"), module.mha_backward(dy, cache), strict=True))
    return {name: gradients[name] for name in names}
