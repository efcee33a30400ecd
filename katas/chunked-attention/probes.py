"""What runs inside a worker: calls whose inputs are large and stay there, and calls that follow each other.

Every backward pass begins at a number: handing an upstream gradient to `backward` imports sympy, 0.3 s in each process.
"""

import torch


def stream_of(module, rows, width, count):
    """a function that takes the streaming_logsumexp of a generator of `count` float32 chunks [rows, width]"""
    start = torch.randn(rows, width)
    return lambda: module.streaming_logsumexp(start + i for i in range(count))


def forward_of(module, sizes, chunk_size, causal):
    """a function that keeps the result of attending with random float32 inputs of sizes (Tq, Tk, channels)"""
    q, k, v = _inputs(*sizes)

    def step():
        step.result = module.chunked_attention(q, k, v, chunk_size, causal)

    step.filler = _filler()
    return step


def result_of(_module, step):
    """what a step kept when it was called, once, and its memory measured"""
    return step.result


def forward_backward(module, q, k, v, chunk_size, causal):
    """recomputing_attention(…) and its backward pass: out and the gradients of q, k and v"""
    leaves = _leaves((q, k, v))
    out = module.recomputing_attention(*leaves, chunk_size, causal)
    (out * out.detach()).sum().backward()
    return out.detach(), *_taken_gradients(leaves)


def training_of(module, sizes, chunk_size, causal):
    """a function that keeps the result of both passes with random float32 inputs of sizes (Tq, Tk, channels)"""
    inputs = _inputs(*sizes)

    def step():
        step.result = forward_backward(module, *inputs, chunk_size, causal)

    step.filler = _filler()
    return step


def attend_twice(module, name, first, second, options):
    """(q, k, v) filled with other content between two calls: both results, read after the second call"""
    q, k, v = (x.clone() for x in first)
    before = getattr(module, name)(q, k, v, **options)
    for x, y in zip((q, k, v), second, strict=True):
        x.copy_(y)
    return before, getattr(module, name)(q, k, v, **options)


def interleaved_gradients(module, cases, douts, options):
    """a graph of recomputing_attention for each case; then backward through the one, the other, and both again"""
    graphs = [(leaves, module.recomputing_attention(*leaves, **options)) for leaves in map(_leaves, cases)]
    arrived, found = [], []
    for _, out in graphs:
        out.register_hook(arrived.append)
    for dout in douts:
        for leaves, out in graphs:
            (out * dout).sum().backward(retain_graph=True)
            found.append(_taken_gradients(leaves))
    return found, arrived


def strided_upstream(module, inputs, options):
    """recomputing_attention(…) with upstream gradients that are expanded (of a sum) and transposed (of merged heads)"""
    found = []
    for loss in (torch.sum, lambda out: out.transpose(1, 2).flatten(2).square().sum()):
        leaves = _leaves(inputs)
        loss(module.recomputing_attention(*leaves, **options)).backward()
        found.append(_taken_gradients(leaves))
    return found


def changed_in_between(module, inputs, which, options):
    """an input changed in place after recomputing_attention, then backward"""
    leaves, mask = _leaves(inputs[:3]), inputs[3].clone()
    out = module.recomputing_attention(*leaves, mask=mask, **options)
    with torch.no_grad():
        (*leaves, mask)[which].zero_()
    out.sum().backward()


def _inputs(tq, tk, channels):
    return tuple(torch.randn(1, 1, length, channels) for length in (tq, tk, tk))


def _filler():
    """Blocks that fill the holes of the heap, so that what is larger is mapped, and given back as soon as it is freed.

    Without them small tensors that stay settle in the holes that large ones leave, which then no longer fit in: the
    heap grows by up to a tensor for each chunk, in one run of five (measured with glibc's malloc).
    """
    return [torch.empty(60_000, dtype=torch.uint8) for _ in range(500)]


def _leaves(inputs):
    return [x.clone().requires_grad_() for x in inputs]


def _taken_gradients(leaves):
    """The gradients, with which the next ones do not add up."""
    grads = tuple(x.grad for x in leaves)
    for x in leaves:
        x.grad = None
    return grads
