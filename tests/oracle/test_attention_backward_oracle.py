"""The reference of attention-backward against torch autograd in float64, through F.scaled_dot_product_attention."""

import numpy as np
import pytest
import torch
from references import reference
from torch.nn.functional import scaled_dot_product_attention

pytestmark = pytest.mark.oracle

CLOSE = {"rtol": 1e-12, "atol": 1e-13}

# (B, H, Tq, Tk, d, dv), and the shape of the mask
CASES = [
    pytest.param((2, 3, 5, 7, 4, 6), None, id="all sizes differ"),
    pytest.param((2, 3, 5, 7, 4, 6), (5, 7), id="mask of queries and keys"),
    pytest.param((2, 3, 5, 7, 4, 6), (2, 1, 1, 7), id="mask of padding"),
    pytest.param((2, 3, 5, 7, 4, 6), (3, 1, 7), id="mask of heads"),
    pytest.param((2, 3, 5, 7, 4, 6), (2, 3, 5, 7), id="full mask with hidden rows"),
    pytest.param((1, 2, 4, 4, 3, 3), "causal", id="causal"),
    pytest.param((1, 1, 1, 1, 1, 1), None, id="one of everything"),
]


@pytest.fixture(scope="module")
def numpy_attention():
    return reference("attention-backward")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def draw(rng, sizes, mask_shape):
    """q, k, v, dout and the mask."""
    b, h, tq, tk, d, dv = sizes
    arrays = (rng.normal(size=size) for size in ((b, h, tq, d), (b, h, tk, d), (b, h, tk, dv), (b, h, tq, dv)))
    return *arrays, draw_mask(rng, sizes, mask_shape)


def draw_mask(rng, sizes, shape):
    if shape is None:
        return None
    if shape == "causal":
        return np.tri(sizes[2], sizes[3], dtype=bool)
    mask = rng.random(shape) < 0.5
    mask[0] = len(shape) < 4  # of a mask with a batch axis the first item sees no key at all
    return mask


def leaves(*arrays):
    return [torch.from_numpy(array).requires_grad_() for array in arrays]


def autograd_attention(q, k, v, dout, mask):
    """out and (dq, dk, dv)."""
    inputs = leaves(q, k, v)
    out = scaled_dot_product_attention(*inputs, attn_mask=None if mask is None else torch.from_numpy(mask))
    grads = torch.autograd.grad(out, inputs, torch.from_numpy(dout))
    return out.detach().numpy(), [grad.numpy() for grad in grads]


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_softmax_and_its_gradient_match(numpy_attention, rng, axis):
    x, dy = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(2, 3, 4, 5))
    x[0] *= 1e4
    (leaf,) = leaves(x)
    y = torch.softmax(leaf, dim=axis)
    np.testing.assert_allclose(numpy_attention.softmax(x, axis=axis), y.detach().numpy(), **CLOSE)
    if axis == -1:
        (want,) = torch.autograd.grad(y, leaf, torch.from_numpy(dy))
        np.testing.assert_allclose(numpy_attention.softmax_backward(dy, y.detach().numpy()), want.numpy(), **CLOSE)


@pytest.mark.parametrize(("sizes", "mask_shape"), CASES)
def test_attention_and_its_gradients_match(numpy_attention, rng, sizes, mask_shape):
    q, k, v, dout, mask = draw(rng, sizes, mask_shape)
    want_out, want_grads = autograd_attention(q, k, v, dout, mask)
    out, cache = numpy_attention.attention_forward(q, k, v, mask)
    np.testing.assert_allclose(out, want_out, **CLOSE)
    for got, want in zip(numpy_attention.attention_backward(dout, cache), want_grads, strict=True):
        np.testing.assert_allclose(got, want, **CLOSE)


@pytest.mark.parametrize(("sizes", "mask_shape"), CASES)
def test_recomputing_attention_and_its_gradients_match(numpy_attention, rng, sizes, mask_shape):
    q, k, v, dout, mask = draw(rng, sizes, mask_shape)
    want_out, want_grads = autograd_attention(q, k, v, dout, mask)
    out, lse = numpy_attention.attention_forward_lse(q, k, v, mask)
    np.testing.assert_allclose(out, want_out, **CLOSE)
    for got, want in zip(
        numpy_attention.attention_backward_lse(dout, q, k, v, out, lse, mask), want_grads, strict=True
    ):
        np.testing.assert_allclose(got, want, **CLOSE)


@pytest.mark.parametrize(("sizes", "mask_shape"), CASES)
def test_lse_matches_torch_logsumexp(numpy_attention, rng, sizes, mask_shape):
    q, k, v, _, mask = draw(rng, sizes, mask_shape)
    scores = torch.from_numpy(q) @ torch.from_numpy(k).mT / q.shape[-1] ** 0.5
    if mask is not None:
        scores = scores.masked_fill(~torch.from_numpy(mask), -torch.inf)
    _, lse = numpy_attention.attention_forward_lse(q, k, v, mask)
    np.testing.assert_allclose(lse, torch.logsumexp(scores, dim=-1).numpy(), **CLOSE)


def test_gradients_of_key_blocks_add_up(numpy_attention, rng):
    q, k, v, dout, mask = draw(rng, (2, 3, 5, 7, 4, 6), (5, 7))
    _, (dq, dk, dv) = autograd_attention(q, k, v, dout, mask)
    out, lse = numpy_attention.attention_forward_lse(q, k, v, mask)
    parts = [
        numpy_attention.attention_backward_lse(dout, q, k[:, :, block], v[:, :, block], out, lse, mask[:, block])
        for block in (slice(0, 2), slice(2, 7))
    ]
    np.testing.assert_allclose(sum(part[0] for part in parts), dq, **CLOSE)
    np.testing.assert_allclose(np.concatenate([part[1] for part in parts], axis=2), dk, **CLOSE)
    np.testing.assert_allclose(np.concatenate([part[2] for part in parts], axis=2), dv, **CLOSE)


@pytest.mark.parametrize("mask", [None, np.tri(5, dtype=bool)], ids=["all visible", "causal"])
def test_gradients_of_the_layer_match(numpy_attention, rng, mask):
    b, t, width, h, d, dv = 2, 5, 7, 3, 4, 6
    sizes = ((b, t, width), (width, h * d), (width, h * d), (width, h * dv), (h * dv, width))
    arrays, dy = [rng.normal(size=size) for size in sizes], rng.normal(size=(b, t, width))
    x, *weights = inputs = leaves(*arrays)
    q, k, v = ((x @ w).unflatten(-1, (h, -1)).transpose(1, 2) for w in weights[:3])
    out = scaled_dot_product_attention(q, k, v, attn_mask=None if mask is None else torch.from_numpy(mask))
    want_y = out.transpose(1, 2).flatten(2) @ weights[3]
    want_grads = torch.autograd.grad(want_y, inputs, torch.from_numpy(dy))
    y, cache = numpy_attention.mha_forward(*arrays, h, mask)
    np.testing.assert_allclose(y, want_y.detach().numpy(), rtol=1e-11, atol=1e-12)
    for got, want in zip(numpy_attention.mha_backward(dy, cache), want_grads, strict=True):
        np.testing.assert_allclose(got, want.numpy(), rtol=1e-11, atol=1e-11)


def test_gradcheck_accepts_the_pair(numpy_attention, rng):
    class NumpyAttention(torch.autograd.Function):
        @staticmethod
        def forward(ctx, q, k, v, mask):
            out, ctx.cache = numpy_attention.attention_forward(*(x.numpy() for x in (q, k, v)), mask)
            return torch.from_numpy(out)

        @staticmethod
        def backward(ctx, dout):
            return *map(torch.from_numpy, numpy_attention.attention_backward(dout.numpy(), ctx.cache)), None

    q, k, v, _, mask = draw(rng, (2, 3, 5, 7, 4, 6), (2, 3, 5, 7))
    assert torch.autograd.gradcheck(lambda *x: NumpyAttention.apply(*x, mask), leaves(q, k, v))


def test_numerical_gradient_agrees_with_autograd(numpy_attention, rng):
    q, k, v, dout, mask = draw(rng, (2, 3, 5, 7, 4, 6), (5, 7))
    _, (_, dk, _) = autograd_attention(q, k, v, dout, mask)
    numerical = numpy_attention.numerical_grad(
        lambda moved: float((numpy_attention.attention_forward(q, moved, v, mask)[0] * dout).sum()), k
    )
    np.testing.assert_allclose(numerical, dk, rtol=0, atol=1e-8)
