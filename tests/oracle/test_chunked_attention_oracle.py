"""The reference of chunked-attention against F.scaled_dot_product_attention with an explicit mask, in float64."""

import pytest
import torch
from references import reference
from torch.autograd import gradcheck
from torch.nn.functional import scaled_dot_product_attention
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

pytestmark = pytest.mark.oracle

CLOSE = {"rtol": 1e-12, "atol": 1e-13}

# (B, H, Tq, Tk, d, dv), and the chunk size
CASES = [
    pytest.param((2, 3, 5, 7, 4, 6), 3, id="ragged, all sizes differ"),
    pytest.param((2, 3, 6, 6, 4, 5), 2, id="square"),
    pytest.param((2, 3, 7, 4, 5, 2), 3, id="fewer keys than queries"),
    pytest.param((1, 2, 1, 5, 3, 2), 1, id="one query, chunks of one"),
    pytest.param((2, 1, 4, 9, 3, 3), 100, id="one chunk that is too large"),
    pytest.param((1, 1, 1, 1, 1, 1), 1, id="one of everything"),
]


@pytest.fixture(scope="module")
def kata():
    return reference("chunked-attention")


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def draw(generator, sizes, dtype=torch.float64):
    """q, k, v and an upstream gradient."""
    b, h, tq, tk, d, dv = sizes
    shapes = ((tq, d), (tk, d), (tk, dv), (tq, dv))
    return [torch.randn(b, h, *shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]


def masks(generator, sizes):
    """None, random ones of several shapes with hidden rows, and left padding."""
    b, h, tq, tk = sizes[:4]
    yield None
    for shape in ((tk,), (tq, 1), (h, 1, tk), (b, 1, 1, tk), (b, h, tq, tk)):
        yield torch.rand(shape, generator=generator) < 0.6
    yield torch.arange(tk) >= torch.arange(tq).unsqueeze(-1)


def visible(sizes, causal, mask):
    """The explicit mask [B, H, Tq, Tk]; torch's own `is_causal` aligns the first query with the first key."""
    b, h, tq, tk = sizes[:4]
    seen = torch.ones(b, h, tq, tk, dtype=torch.bool)
    seen = seen if mask is None else seen & mask
    return seen.tril(tk - tq) if causal else seen


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("sizes", "chunk_size"), CASES)
def test_out_lse_and_gradients_equal_the_fused_attention(kata, generator, sizes, chunk_size, causal):
    for mask in masks(generator, sizes):
        *qkv, dout = draw(generator, sizes)
        seen = visible(sizes, causal, mask)
        for x in qkv:
            x.requires_grad_()
        want = scaled_dot_product_attention(*qkv, attn_mask=seen)
        scores = (qkv[0] @ qkv[1].mT / sizes[4] ** 0.5).masked_fill(~seen, -torch.inf)
        out, lse = kata.chunked_attention(*qkv, chunk_size, causal, mask)
        torch.testing.assert_close(out, want, **CLOSE)
        torch.testing.assert_close(lse, scores.logsumexp(-1), **CLOSE)
        out = kata.recomputing_attention(*qkv, chunk_size, causal, mask)
        torch.testing.assert_close(out, want, **CLOSE)
        got = torch.autograd.grad(out, qkv, dout)
        torch.testing.assert_close(got, torch.autograd.grad(want, qkv, dout), **CLOSE)


def test_large_and_very_negative_scores_equal_the_fused_attention(kata, generator):
    for offset in (1e4, -1e4):
        q, k, v, _ = draw(generator, (2, 3, 5, 7, 4, 6))
        q[..., -1], k[..., -1] = 2.0, offset
        out, _ = kata.chunked_attention(q, k, v, 3)
        torch.testing.assert_close(out, scaled_dot_product_attention(q, k, v), rtol=1e-9, atol=1e-10)


def test_backward_is_the_numerical_gradient(kata, generator):
    *qkv, _ = draw(generator, (1, 2, 3, 5, 2, 4))
    mask = torch.arange(5) >= torch.tensor([[4], [1], [5]])
    assert gradcheck(lambda *x: kata.recomputing_attention(*x, 2, False, mask), [x.requires_grad_() for x in qkv])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_inputs_are_rounded_once(kata, generator, dtype):
    q, k, v, _ = draw(generator, (2, 3, 5, 300, 4, 6), dtype)
    out, lse = kata.chunked_attention(q, k, v, 7)
    want = scaled_dot_product_attention(q.double(), k.double(), v.double())
    torch.testing.assert_close(out.double(), want, rtol=torch.finfo(dtype).eps, atol=1e-6)
    exact = (q.double() @ k.double().mT / 2).logsumexp(-1)
    assert out.dtype == dtype
    torch.testing.assert_close(lse, exact.float())


def test_logsumexp_and_merging_equal_torch(kata, generator):
    x = torch.randn(3, 4, 11, generator=generator, dtype=torch.float64) * 100
    x[0, :, :6] = x[1] = -torch.inf
    lse = kata.streaming_logsumexp(iter(x.split([4, 1, 6], -1)))
    torch.testing.assert_close(lse, x.logsumexp(-1), **CLOSE)
    q, k, v, _ = draw(generator, (2, 3, 5, 7, 4, 6))
    parts = [kata.chunked_attention(q, k[:, :, cut], v[:, :, cut], 2) for cut in (slice(0, 3), slice(3, 7))]
    out, _ = kata.merge_partials(*parts[0], *parts[1])
    torch.testing.assert_close(out, scaled_dot_product_attention(q, k, v), **CLOSE)


class LargestTensor(TorchDispatchMode):
    """The largest number of elements of any tensor that an operation returns."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        sizes = (leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor))
        self.elements = max([self.elements, *sizes])
        return result


def test_no_tensor_of_the_loop_has_more_than_a_chunk_of_scores(kata, generator):
    q, k, v, dout = draw(generator, (1, 2, 64, 256, 4, 4))
    with LargestTensor() as largest:
        out = kata.recomputing_attention(q.requires_grad_(), k.requires_grad_(), v.requires_grad_(), 16, True)
        (out * dout).sum().backward()
    assert largest.elements == 2 * 64 * 16
