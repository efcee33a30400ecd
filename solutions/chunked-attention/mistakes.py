"""Known wrong solutions. Each runs in a copy of the reference's namespace, and may use its names."""

import math

import torch

from grader.checking import mistake

_kept = {}


def _step(m, total, acc, s, values):
    m, total, alpha, p = _absorb(m, total, s)
    return m, total, acc * alpha.unsqueeze(-1) + p @ values


def _sums(q, k, v, chunk_size, causal, mask, step=_step):
    """The reference's loop with another step: (m, total, acc)."""
    spans, wide = list(_spans(k.shape[2], chunk_size)), _widened(q)
    m, total = _nothing(q.shape[:-1], wide.dtype)
    acc = wide.new_zeros(*q.shape[:-1], v.shape[-1])
    for keys in spans:
        m, total, acc = step(m, total, acc, _scores(wide, k, keys, causal, mask), _widened(v[:, :, keys]))
    return m, total, acc


def _attend(q, *others, step=_step):
    m, total, acc = _sums(q, *others, step=step)
    return (acc / total.masked_fill(total == 0, 1.0).unsqueeze(-1)).to(q.dtype), m + total.log()


def _through_all_chunks(inputs, dout):
    """The gradients by autograd, with None for what is not differentiated."""
    with torch.enable_grad():
        leaves = [x.detach().requires_grad_() for x in inputs[:3]]
        (chunked_attention(*leaves, *inputs[3:])[0] * dout).sum().backward()
    return *(x.grad for x in leaves), None, None, None


@mistake(
    "sum_not_rescaled",
    replaces="_absorb",
    caught_by="test_logsumexp_of_ragged_chunks",
    advice="The sum so far was taken relative to the old maximum: multiply it by exp(old − new) when that grows.",
)
def _absorb(m, total, s):
    new_m = torch.maximum(m, s.amax(-1))
    p = (s - _finite(new_m).unsqueeze(-1)).exp()
    return new_m, total + p.sum(-1), torch.ones_like(m), p


@mistake(
    "no_maximum",
    replaces="streaming_logsumexp",
    caught_by="test_logsumexp_of_extreme_values",
    advice="exp(1e4) is infinite, and exp(−1e4) is 0: subtract the running maximum, and add it again at the end.",
)
def streaming_logsumexp(chunks):
    sums = [s.exp().sum(-1) for s in chunks]
    if not sums:
        raise ValueError("no chunks")
    return sum(sums).log()


@mistake(
    "infinity_less_infinity",
    replaces="_finite",
    caught_by="test_logsumexp_of_minus_infinity",
    advice="While all entries so far are −inf, s − m is −inf − (−inf) = NaN: subtract 0 instead of such a maximum.",
)
def _finite(m):
    return m


@mistake(
    "chunks_concatenated",
    replaces="streaming_logsumexp",
    caught_by="test_logsumexp_streams",
    advice="Putting all chunks side by side takes the memory that streaming is to save: keep a maximum and a sum only.",
)
def streaming_logsumexp(chunks):
    chunks = list(chunks)
    if not chunks:
        raise ValueError("no chunks")
    return torch.cat(chunks, -1).logsumexp(-1)


@mistake(
    "scaled_by_the_value_width",
    replaces="chunked_attention",
    caught_by="test_attention_in_chunks_that_divide",
    advice="The scores are divided by √d with d the width of a query and a key; the width of a value may differ.",
)
def chunked_attention(q, k, v, chunk_size, causal=False, mask=None):
    return _attend(q * math.sqrt(q.shape[-1] / v.shape[-1]), k, v, chunk_size, causal, mask)


@mistake(
    "values_not_rescaled",
    replaces="chunked_attention",
    caught_by="test_attention_in_chunks_that_divide",
    advice="The weighted sum of values was taken relative to the old maximum, like the sum: multiply both by alpha.",
)
def chunked_attention(q, k, v, chunk_size, causal=False, mask=None):
    def step(m, total, acc, s, values):
        m, total, _, p = _absorb(m, total, s)
        return m, total, acc + p @ values

    return _attend(q, k, v, chunk_size, causal, mask, step=step)


@mistake(
    "tail_dropped",
    replaces="_spans",
    caught_by="test_chunks_may_be_ragged",
    advice="Tk // chunk_size chunks leave out the last, shorter one: step through range(0, Tk, chunk_size).",
)
def _spans(length, size):
    if size < 1:
        raise ValueError("chunk_size must be 1 or more")
    return [slice(i * size, (i + 1) * size) for i in range(length // size)]


@mistake(
    "maximum_from_zero",
    replaces="chunked_attention",
    caught_by="test_attention_at_extreme_scores",
    advice="A running maximum that begins at 0 makes every weight 0 where all scores are far below it. Begin at −inf.",
)
def chunked_attention(q, k, v, chunk_size, causal=False, mask=None):
    def step(m, total, acc, s, values):
        return _step(m.clamp(min=0.0), total, acc, s, values)

    return _attend(q, k, v, chunk_size, causal, mask, step=step)


@mistake(
    "maximum_not_carried_over",
    replaces="chunked_attention",
    caught_by="test_attention_at_extreme_scores",
    advice="Relative to the chunk's own maximum older sums grow by exp(old − new), which overflows where scores fall: "
    "the new maximum is the larger of both.",
)
def chunked_attention(q, k, v, chunk_size, causal=False, mask=None):
    def step(m, total, acc, s, values):
        new_m = s.amax(-1)
        alpha, p = (m - _finite(new_m)).exp(), _probabilities(s, new_m)
        return new_m, total * alpha + p.sum(-1), acc * alpha.unsqueeze(-1) + p @ values

    return _attend(q, k, v, chunk_size, causal, mask, step=step)


@mistake(
    "products_in_half",
    replaces="_widened",
    caught_by="test_attention_keeps_dtypes",
    advice="Scores beyond 65,504 are infinite in float16: convert q, k and v to float32 before the product.",
)
def _widened(x):
    return x


@mistake(
    "result_kept_for_the_next_call",
    replaces="chunked_attention",
    caught_by="test_attention_remembers_nothing",
    advice="An accumulator that outlives its call is what the next one writes into: make a new one each time.",
)
def chunked_attention(q, k, v, chunk_size, causal=False, mask=None):
    out, lse = _attend(q, k, v, chunk_size, causal, mask)
    return _kept.setdefault((out.shape, out.dtype), torch.empty_like(out)).copy_(out), lse


@mistake(
    "scores_made_whole",
    replaces="chunked_attention",
    caught_by="test_attention_never_holds_the_scores",
    advice="Scores of all keys are what must not exist, nor all chunks' scores in a list, nor rows of Tk scores for "
    "some queries: multiply q with a chunk of k, and keep of it a maximum and two sums.",
)
def chunked_attention(q, k, v, chunk_size, causal=False, mask=None):
    list(_spans(k.shape[2], chunk_size))
    s = _scores(_widened(q), k, slice(0, k.shape[2]), causal, mask)
    lse = s.logsumexp(-1)
    return (_probabilities(s, lse) @ _widened(v)).to(q.dtype), lse


@mistake(
    "one_item_at_a_time",
    replaces="chunked_attention",
    caught_by="test_attention_loops_over_chunks_alone",
    advice="A Python loop over the batch, heads or queries pays for each in tiny products: take all of them at once.",
)
def chunked_attention(q, k, v, chunk_size, causal=False, mask=None):
    masks = [None] * len(q) if mask is None else mask.expand(*q.shape[:-1], k.shape[2]).split(1)
    items = zip(q.split(1), k.split(1), v.split(1), masks, strict=True)
    parts = [_attend(*item, chunk_size, causal, seen) for *item, seen in items]
    return tuple(torch.cat(part) for part in zip(*parts, strict=True))


@mistake(
    "place_in_the_chunk",
    replaces="_causal",
    caught_by="test_causal_square",
    advice="j counts from the first key of all, not of the chunk: add the chunk's start to its arange.",
)
def _causal(tq, tk, keys):
    return torch.arange(keys.stop - keys.start) <= torch.arange(tq).unsqueeze(-1) + (tk - tq)


@mistake(
    "aligned_top_left",
    replaces="_causal",
    caught_by="test_causal_with_fewer_queries",
    advice="The last query stands at the last key, so query i is at place i + Tk − Tq. `tril` and torch's is_causal "
    "align the first ones.",
)
def _causal(tq, tk, keys):
    return torch.arange(keys.start, keys.stop) <= torch.arange(tq).unsqueeze(-1)


@mistake(
    "nothing_over_nothing",
    replaces="chunked_attention",
    caught_by="test_causal_with_more_queries",
    advice="For a query that sees no key the sum is 0, and 0/0 is NaN: divide by 1 there.",
)
def chunked_attention(q, k, v, chunk_size, causal=False, mask=None):
    m, total, acc = _sums(q, k, v, chunk_size, causal, mask)
    return (acc / total.unsqueeze(-1)).to(q.dtype), m + total.log()


@mistake(
    "hidden_by_a_large_number",
    replaces="chunked_attention",
    caught_by="test_causal_with_more_queries",
    advice="With −1e9 in place of −inf a query that sees no key has equal weights, not none: the mean of the values.",
)
def chunked_attention(q, k, v, chunk_size, causal=False, mask=None):
    def step(m, total, acc, s, values):
        return _step(m, total, acc, s.clamp(min=-1e9), values)

    return _attend(q, k, v, chunk_size, causal, mask, step=step)


@mistake(
    "mask_inverted",
    replaces="chunked_attention",
    caught_by="test_mask_true_keeps_and_broadcasts",
    advice="True means that the query sees the key; nn.MultiheadAttention has it the other way round.",
)
def chunked_attention(q, k, v, chunk_size, causal=False, mask=None):
    return _attend(q, k, v, chunk_size, causal, None if mask is None else ~mask)


@mistake(
    "hidden_but_not_lowest",
    replaces="chunked_attention",
    caught_by="test_chunks_and_queries_may_be_hidden",
    advice="Visible scores may be below −1e9, and what is hidden by that number then outweighs them: hide with −inf.",
)
def chunked_attention(q, k, v, chunk_size, causal=False, mask=None):
    def step(m, total, acc, s, values):
        return _step(m, total, acc, s.masked_fill(s == -math.inf, -1e9), values)

    out, lse = _attend(q, k, v, chunk_size, causal, mask, step=step)
    unseen = (lse - -1e9).abs() < 100
    return out.masked_fill(unseen.unsqueeze(-1), 0.0), lse.masked_fill(unseen, -math.inf)


@mistake(
    "mask_or_causal",
    replaces="chunked_attention",
    caught_by="test_mask_and_causal_together",
    advice="With a mask and causal=True both must allow a key: `elif` lets the mask undo causality.",
)
def chunked_attention(q, k, v, chunk_size, causal=False, mask=None):
    return _attend(q, k, v, chunk_size, causal and mask is None, mask)


@mistake(
    "merged_in_equal_parts",
    replaces="merge_partials",
    caught_by="test_merged_partials_are_the_whole",
    advice="The part with the larger sum of exponentials weighs more: weigh each o by exp(lse).",
)
def merge_partials(o1, lse1, o2, lse2):
    return (o1 + o2) / 2, torch.logaddexp(lse1, lse2)


@mistake(
    "weights_overflow",
    replaces="merge_partials",
    caught_by="test_merge_at_extreme_lse",
    advice="exp(1e4) is infinite: subtract the larger lse from both first.",
)
def merge_partials(o1, lse1, o2, lse2):
    total = lse1.exp() + lse2.exp()
    weighted = lse1.exp().unsqueeze(-1) * o1 + lse2.exp().unsqueeze(-1) * o2
    return weighted / total.masked_fill(total == 0, 1.0).unsqueeze(-1), total.log()


@mistake(
    "nothing_merged_with_nothing",
    replaces="merge_partials",
    caught_by="test_merge_with_a_part_that_saw_nothing",
    advice="Where both lse are −inf their difference is NaN: the weights there are 0, and so is o.",
)
def merge_partials(o1, lse1, o2, lse2):
    share = torch.sigmoid(lse1 - lse2).unsqueeze(-1)
    return share * o1 + (1 - share) * o2, torch.logaddexp(lse1, lse2)


@mistake(
    "row_sum_of_the_chunk",
    replaces="_score_gradient",
    caught_by="test_gradients_at_all_sizes",
    advice="The row sum of dP·P runs over all keys, not over the chunk's: take it from Σ dout·out, once.",
)
def _score_gradient(p, dp, delta):
    return p * (dp - (p * dp).sum(-1, keepdim=True))


@mistake(
    "normalised_in_the_chunk",
    replaces="_probabilities",
    caught_by="test_gradients_at_all_sizes",
    advice="The softmax of a chunk's scores sums to 1 in every chunk: recompute P as exp(S − lse) with the saved lse.",
)
def _probabilities(s, lse):
    return (s - _finite(s.logsumexp(-1, keepdim=True))).exp()


@mistake(
    "hidden_rows_poison_the_gradient",
    replaces="_probabilities",
    caught_by="test_gradients_under_masks",
    advice="A query that sees no key has S = lse = −inf, and exp(S − lse) is NaN: its probabilities are 0.",
)
def _probabilities(s, lse):
    return (s - lse.unsqueeze(-1)).exp()


@mistake(
    "exponentials_divided",
    replaces="_probabilities",
    caught_by="test_gradients_at_extreme_scores",
    advice="exp(S)/exp(lse) is ∞/∞ for large scores: subtract lse inside the exponential.",
)
def _probabilities(s, lse):
    return s.exp() / lse.exp().masked_fill(lse == -math.inf, 1.0).unsqueeze(-1)


@mistake(
    "kept_as_attributes",
    replaces="_Recomputing",
    caught_by="test_graphs_keep_their_own_tensors",
    advice="Tensors on ctx itself escape autograd's watch: after a change in place their gradient is silently wrong. "
    "Use ctx.save_for_backward.",
)
class _Recomputing(torch.autograd.Function):
    @staticmethod
    def forward(ctx, *inputs):
        ctx.inputs = inputs
        return chunked_attention(*inputs)[0]

    @staticmethod
    def backward(ctx, dout):
        return _through_all_chunks(ctx.inputs, dout)


@mistake(
    "plain_autograd",
    replaces="recomputing_attention",
    caught_by="test_graphs_keep_their_own_tensors",
    advice="Under autograd the loop keeps every chunk's probabilities: write a backward pass that recomputes them.",
)
def recomputing_attention(q, k, v, chunk_size, causal=False, mask=None):
    return chunked_attention(q, k, v, chunk_size, causal, mask)[0]


@mistake(
    "all_chunks_recomputed_at_once",
    replaces="_Recomputing",
    caught_by="test_training_never_holds_the_scores",
    advice="The whole loop once more under autograd, as checkpointing does it, keeps the probabilities of all chunks: "
    "use the formulas for dq, dk and dv, and drop each chunk's before the next.",
)
class _Recomputing(_Recomputing):
    @staticmethod
    def backward(ctx, dout):
        q, k, v, mask, *_ = ctx.saved_tensors
        return _through_all_chunks((q, k, v, ctx.chunk_size, ctx.causal, mask), dout)
