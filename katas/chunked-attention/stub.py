"""Exact attention over chunks of keys: the online softmax, merging of partial results, and a backward that recomputes.

PROMPT.md pins the details.
Sizes: B batch, H heads, Tq queries, Tk keys, d channels of a query or key, dv channels of a value, c keys of one chunk.
"""

from collections.abc import Iterable

import torch  # noqa: F401 — for the bodies to come
from torch import Tensor


def streaming_logsumexp(chunks: Iterable[Tensor]) -> Tensor:
    """The logsumexp along the last axis of what the chunks would be side by side, in one pass.

    Args: chunks: an iterable, perhaps a generator, of tensors [..., n_i] of one float dtype, n_i ≥ 1, all other sizes
        equal; entries finite or −inf. Read once, in order, and not held together. No chunk at all: ValueError.
    Returns: [...] of the chunks' dtype; −inf where all entries are −inf.
    """
    raise NotImplementedError("logsumexp: keep a running maximum and a running sum, and raise where nothing came")


def chunked_attention(
    q: Tensor, k: Tensor, v: Tensor, chunk_size: int, causal: bool = False, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """softmax(q kᵀ / √d) v, exactly, holding the scores of `chunk_size` keys at a time.

    Args: q: [B, H, Tq, d]. k: [B, H, Tk, d]. v: [B, H, Tk, dv]. chunk_size: 1 or more, else ValueError; may exceed Tk.
        causal: query i sees key j if j ≤ i + Tk − Tq. mask: bool, of any shape that broadcasts to [B, H, Tq, Tk],
        True = this query sees this key; with `causal` both must allow it.
    Returns: (out, lse): out [B, H, Tq, dv] of q's dtype; lse [B, H, Tq], the natural logsumexp of each query's visible
        scaled scores, float32 for half inputs, else of q's dtype. A query that sees no key has out 0 and lse −inf.
    """
    raise NotImplementedError("attention: carry a maximum, a sum and a weighted sum of values from chunk to chunk")


def merge_partials(o1: Tensor, lse1: Tensor, o2: Tensor, lse2: Tensor) -> tuple[Tensor, Tensor]:
    """The attention over two disjoint sets of keys from the attention over each.

    Args: o1, o2: [..., dv], finite. lse1, lse2: [...], finite or −inf; where it is −inf no key of that set was seen,
        and its o does not count. All of one dtype, float32 or float64.
    Returns: (o, lse) in the same shapes and dtype; 0 and −inf where no key of either set was seen.
    """
    raise NotImplementedError("merge: weigh each part by exp(lse − the larger lse)")


def recomputing_attention(
    q: Tensor, k: Tensor, v: Tensor, chunk_size: int, causal: bool = False, mask: Tensor | None = None
) -> Tensor:
    """The `out` of `chunked_attention`, with a backward pass that recomputes the scores chunk by chunk.

    Args: as there; q, k and v of float32 or float64, each with or without requires_grad.
    Returns: out [B, H, Tq, dv]. Its graph keeps q, k, v, mask, out and lse, and nothing of size Tq × Tk.
    """
    raise NotImplementedError("recompute: write a torch.autograd.Function whose forward calls chunked_attention")
