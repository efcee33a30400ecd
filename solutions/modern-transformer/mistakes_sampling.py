"""Known wrong ways to sample, each with the advice that belongs to it."""

import torch

from grader.checking import mistake


def _top_p(logits, removed_of):
    """top_p_filter, with `removed_of(probs in descending order)`."""
    ordered, ids = logits.sort(dim=-1, descending=True, stable=True)
    removed = removed_of(ordered.softmax(dim=-1))
    return logits.masked_fill(removed.scatter(-1, ids, removed), -torch.inf)


def _sampled(logits, t, generator, *filters):
    """A draw after these filters, in their order."""
    logits = temperature(logits, t)
    for narrow, argument in filters:
        logits = logits if argument is None else narrow(logits, argument)
    return torch.multinomial(logits.softmax(dim=-1), 1, generator=generator).squeeze(-1)


@mistake(
    "zero_accepted",
    replaces="temperature",
    caught_by="test_temperature_divides",
    advice="t = 0 makes ±∞ and NaN, and a negative t turns the order around: raise ValueError for both.",
)
def temperature(logits, t):
    return logits / t


@mistake(
    "exactly_k",
    replaces="top_k_filter",
    caught_by="test_top_k_keeps_the_largest_of_each_row",
    advice="Logits equal to the k-th largest are all kept: compare with its value, do not scatter topk's indices.",
)
def top_k_filter(logits, k):
    if k < 1:
        raise ValueError(k)
    values, ids = logits.topk(min(k, logits.shape[-1]))
    return torch.full_like(logits, -torch.inf).scatter(-1, ids, values)


@mistake(
    "threshold_of_the_batch",
    replaces="top_k_filter",
    caught_by="test_top_k_keeps_the_largest_of_each_row",
    advice="Each row has a k-th largest of its own; topk of the flattened batch gives one for all.",
)
def top_k_filter(logits, k):
    if k < 1:
        raise ValueError(k)
    return logits.masked_fill(logits < logits.flatten().topk(min(k, logits.numel())).values[-1], -torch.inf)


@mistake(
    "crossing_token_dropped",
    replaces="top_p_filter",
    caught_by="test_top_p_keeps_the_smallest_set",
    advice="The token with which the mass reaches p is kept: compare the mass before it, cumsum − probs, with p.",
)
def top_p_filter(logits, p):
    return logits.clone() if p >= 1 else _top_p(logits, lambda probs: probs.cumsum(dim=-1) > p)


@mistake(
    "all_of_equal_ones",
    replaces="top_p_filter",
    caught_by="test_top_p_of_unusual_rows",
    advice="A threshold keeps all tokens equal to the last one. Keep the smallest set: the lower ids come first.",
)
def top_p_filter(logits, p):
    kept = _top_p(logits, lambda probs: (probs.cumsum(-1) - probs >= p) & (torch.arange(probs.shape[-1]) > 0))
    least = kept.masked_fill(kept.isneginf(), torch.inf).amin(dim=-1, keepdim=True)
    return logits.clone() if p >= 1 else logits.masked_fill(logits < least, -torch.inf)


@mistake(
    "rounding_at_one",
    replaces="top_p_filter",
    caught_by="test_top_p_at_its_ends",
    advice="The cumulated mass reaches 1 by rounding before the last token: p ≥ 1 is a case of its own.",
)
def top_p_filter(logits, p):
    return _top_p(logits, lambda probs: (probs.cumsum(-1) - probs >= p) & (torch.arange(probs.shape[-1]) > 0))


@mistake(
    "empty_at_zero",
    replaces="top_p_filter",
    caught_by="test_top_p_at_its_ends",
    advice="With p ≤ 0 the condition removes the first token as well, and multinomial fails. Always keep the first.",
)
def top_p_filter(logits, p):
    return logits.clone() if p >= 1 else _top_p(logits, lambda probs: probs.cumsum(dim=-1) - probs >= p)


@mistake(
    "caller_s_logits_edited",
    replaces="top_p_filter",
    caught_by="test_filters_return_new_tensors",
    advice="With p ≥ 1 the caller's own tensor is returned, and whoever writes to it edits the logits. Return a copy.",
)
def top_p_filter(logits, p):
    if p >= 1:
        return logits
    return _top_p(logits, lambda probs: (probs.cumsum(-1) - probs >= p) & (torch.arange(probs.shape[-1]) > 0))


@mistake(
    "a_loop_over_tokens",
    replaces="top_p_filter",
    caught_by="test_filters_loop_over_no_token",
    advice="A Python loop over a vocabulary of 50,000 takes longer than the model. Use sort and cumsum.",
)
def top_p_filter(logits, p):
    out = torch.full_like(logits, -torch.inf)
    for row, kept in zip(logits, out, strict=True):
        mass, probs = 0.0, row.softmax(dim=-1).tolist()
        for place, token in enumerate(sorted(range(len(probs)), key=lambda token: -probs[token])):
            if mass >= p and p < 1 and place:
                continue
            kept[token], mass = row[token], mass + probs[token]
    return out


@mistake(
    "top_p_before_top_k",
    replaces="sample",
    caught_by="test_samples_follow_the_filters_in_order",
    advice="Temperature, then top-k, then top-p: p is measured on what k has left, renormalised.",
)
def sample(logits, t=1.0, k=None, p=None, generator=None):
    return _sampled(logits, t, generator, (top_p_filter, p), (top_k_filter, k)) if t else logits.argmax(dim=-1)


@mistake(
    "division_by_zero",
    replaces="sample",
    caught_by="test_sample_at_zero_is_greedy",
    advice="temperature refuses t = 0; sample answers it with argmax. The ValueError is for negative t alone.",
)
def sample(logits, t=1.0, k=None, p=None, generator=None):
    return _sampled(logits, t, generator, (top_k_filter, k), (top_p_filter, p))


@mistake(
    "generator_ignored",
    replaces="sample",
    caught_by="test_sample_draws_from_its_generator",
    advice="Pass generator on to multinomial: else the draw comes from torch's own and cannot be repeated.",
)
def sample(logits, t=1.0, k=None, p=None, generator=None):
    return _sampled(logits, t, None, (top_k_filter, k), (top_p_filter, p)) if t else logits.argmax(dim=-1)
