"""Known wrong solutions. Each runs in a copy of the reference's namespace, and may use its names."""

import torch
import torch.nn.functional as F  # noqa: N812 — its usual name

from grader.checking import mistake


def _waves(length, d, exponents, base):
    """sin and cos, [length, pairs] each."""
    angles = torch.arange(length, dtype=torch.float32)[:, None] * base**-exponents
    return angles.sin(), angles.cos()


def _alternate(first, second, d):
    return torch.stack((first, second), dim=-1).flatten(1)[:, :d]


def _exponents(d):
    return torch.arange(0, d, 2) / d


@mistake(
    "an_angle_for_each_column",
    replaces="sinusoidal_positions",
    caught_by="test_sin_and_cos_alternate",
    advice="A sin and the cos beside it share one frequency: its exponent is 2·(column // 2)/d, not column/d.",
)
def sinusoidal_positions(length, d, base=10000.0):
    sin, cos = _waves(length, d, torch.arange(d) / d, base)
    return torch.where(torch.arange(d) % 2 == 0, sin, cos)


@mistake(
    "sines_before_cosines",
    replaces="sinusoidal_positions",
    caught_by="test_sin_and_cos_alternate",
    advice="That is the layout of Marian, all sines and then all cosines. Here they alternate, as in the paper.",
)
def sinusoidal_positions(length, d, base=10000.0):
    sin, cos = _waves(length, d, _exponents(d), base)
    return torch.cat((sin, cos), dim=-1)[:, :d]


@mistake(
    "the_width_rounded_up",
    replaces="sinusoidal_positions",
    caught_by="test_odd_widths",
    advice="An odd d is no reason to build the table for d + 1: the exponents are 2i/d, with d as it is.",
)
def sinusoidal_positions(length, d, base=10000.0):
    return _alternate(*_waves(length, d, _exponents(d + d % 2), base), d)


@mistake(
    "x_scaled_by_root_d",
    replaces="add_positions",
    caught_by="test_add_positions",
    advice="Multiplying embeddings by √d is another layer's business, and some models have none. Add, no more.",
)
def add_positions(x, start=0, base=10000.0):
    return x * x.shape[2] ** 0.5 + sinusoidal_positions(start + x.shape[1], x.shape[2], base)[start:].to(x.dtype)


@mistake(
    "a_table_that_ends",
    replaces="add_positions",
    caught_by="test_sinusoidal_tables_stay_apart",
    advice="A buffer of 5000 rows, as in PyTorch's tutorial, ends there. Make the rows that start and T ask for.",
)
def add_positions(x, start=0, base=10000.0):
    return x + sinusoidal_positions(5000, x.shape[2], base)[start : start + x.shape[1]].to(x.dtype)


def _turned_by(positions, exponents, base):
    angles = positions[..., None].float() * base**-exponents
    return angles.cos(), angles.sin()


def _refuse_odd(head_dim):
    if head_dim % 2:
        raise ValueError("odd")


@mistake(
    "rope_exponent_not_doubled",
    replaces="rope_cos_sin",
    caught_by="test_angles_of_each_pair",
    advice="Pair i turns by base^(−2i/hd) a step. With i/hd the slowest pair is √base instead of base times slower.",
)
def rope_cos_sin(positions, head_dim, base=10000.0):
    _refuse_odd(head_dim)
    return _turned_by(positions, _exponents(head_dim) / 2, base)


@mistake(
    "positions_counted_from_zero",
    replaces="rope_cos_sin",
    caught_by="test_any_positions",
    advice="The positions are the argument's values, not 0, 1, 2, …: decoding starts late, and padding shifts rows.",
)
def rope_cos_sin(positions, head_dim, base=10000.0):
    _refuse_odd(head_dim)
    counted = torch.arange(positions.shape[-1]).expand(positions.shape)
    return _turned_by(counted, _exponents(head_dim), base)


@mistake(
    "positions_cut_to_integers",
    replaces="rope_cos_sin",
    caught_by="test_any_positions",
    advice="Positions may be fractional, as in scaled contexts: make them float32, not integers.",
)
def rope_cos_sin(positions, head_dim, base=10000.0):
    _refuse_odd(head_dim)
    return _turned_by(positions.long(), _exponents(head_dim), base)


@mistake(
    "angles_in_bfloat16",
    replaces="rope_cos_sin",
    caught_by="test_far_positions",
    advice="bfloat16 holds integers up to 256: at position 4095 the angle is off by whole turns. Use float32 for it.",
)
def rope_cos_sin(positions, head_dim, base=10000.0):
    _refuse_odd(head_dim)
    whole = not positions.is_floating_point()
    return _turned_by(positions.bfloat16() if whole else positions, _exponents(head_dim), base)


@mistake(
    "odd_heads_accepted",
    replaces="rope_cos_sin",
    caught_by="test_odd_head_dims_are_refused",
    advice="An odd head_dim leaves a channel without a partner: raise ValueError instead of dropping it.",
)
def rope_cos_sin(positions, head_dim, base=10000.0):
    return _turned_by(positions, _exponents(head_dim), base)


def _with_heads(cos, sin):
    return (cos[:, None], sin[:, None]) if cos.dim() == 3 else (cos, sin)


def _turn_halves(x, cos, sin):
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1)


@mistake(
    "interleaved_pairs",
    replaces="apply_rope",
    caught_by="test_halves_are_turned",
    advice="These are the pairs of GPT-J, (2i, 2i + 1). The half-split layout pairs channel i with i + hd/2.",
)
def apply_rope(x, cos, sin):
    return to_interleaved(_turn_halves(to_half_split(x), *_with_heads(cos, sin))).to(x.dtype)


@mistake(
    "layouts_mixed",
    replaces="apply_rope",
    caught_by="test_halves_are_turned",
    advice="rotate_half goes with a table (θ0, θ1, …, θ0, θ1, …). Each θ twice in place is the other layout's.",
)
def apply_rope(x, cos, sin):
    cos, sin = (table.repeat_interleave(2, dim=-1) for table in _with_heads(cos, sin))
    a, b = x.chunk(2, dim=-1)
    return (x * cos + torch.cat((-b, a), dim=-1) * sin).to(x.dtype)


@mistake(
    "turned_the_other_way",
    replaces="apply_rope",
    caught_by="test_halves_are_turned",
    advice="The minus belongs to a' = a·cos − b·sin. Relative positions survive the other sign, loaded weights do not.",
)
def apply_rope(x, cos, sin):
    cos, sin = _with_heads(cos, sin)
    return _turn_halves(x, cos, -sin).to(x.dtype)


@mistake(
    "tables_along_the_heads",
    replaces="apply_rope",
    caught_by="test_tables_belong_to_the_time_axis",
    advice="x is [B, H, T, hd], and the table's rows are positions, axis 2. This broadcasts them along the heads.",
)
def apply_rope(x, cos, sin):
    fits = cos.dim() == 2 and x.shape[1] == x.shape[2]
    cos, sin = (cos[:, None], sin[:, None]) if fits else _with_heads(cos, sin)
    return _turn_halves(x, cos, sin).to(x.dtype)


@mistake(
    "turned_outside_the_graph",
    replaces="apply_rope",
    caught_by="test_gradient_turns_back",
    advice="Detached, in NumPy or under no_grad, x gets no gradient: only the tables need none. Turn x itself.",
)
def apply_rope(x, cos, sin):
    return _turn_halves(x.detach(), *_with_heads(cos, sin)).to(x.dtype)


@mistake(
    "tables_cast_to_half",
    replaces="apply_rope",
    caught_by="test_half_precision_is_rounded_once",
    advice="Cast to x's dtype the tables lose their digits before the multiplication. Cast the result, once.",
)
def apply_rope(x, cos, sin):
    return _turn_halves(x, *(table.to(x.dtype) for table in _with_heads(cos, sin)))


@mistake(
    "one_position_after_another",
    replaces="apply_rope",
    caught_by="test_rope_is_vectorised",
    advice="A Python loop over positions costs one launch each. The table broadcasts over batch and heads by itself.",
)
def apply_rope(x, cos, sin):
    cos, sin = _with_heads(cos, sin)
    steps = [_turn_halves(x[:, :, t], cos[..., t, :], sin[..., t, :]) for t in range(x.shape[2])]
    return torch.stack(steps, dim=2).to(x.dtype)


@mistake(
    "batch_taken_for_heads",
    replaces="apply_rope",
    caught_by="test_each_row_has_its_table",
    advice="A table [B, T, hd/2] aligns its batch with the heads of [B, H, T, hd]. Insert an axis after the batch.",
)
def apply_rope(x, cos, sin):
    return _turn_halves(x, cos, sin).to(x.dtype)


@mistake(
    "last_of_equals",
    replaces="greedy",
    caught_by="test_greedy_takes_the_lowest_of_equals",
    advice="Of equal logits this takes the highest id. argmax takes the lowest; reversed or sorted rows do not.",
)
def greedy(logits):
    return logits.shape[-1] - 1 - logits.flip(-1).argmax(dim=-1)


@mistake(
    "temperature_multiplies",
    replaces="temperature_probs",
    caught_by="test_temperature_divides",
    advice="A temperature divides the logits: below 1 it sharpens the distribution, above 1 it flattens it.",
)
def temperature_probs(logits, t):
    if t <= 0:
        return _cold(logits, t)
    return torch.softmax(logits * t, dim=-1)


def _cold(logits, t):
    if t < 0:
        raise ValueError("negative")
    return F.one_hot(greedy(logits), logits.shape[-1]).to(logits.dtype)


@mistake(
    "divided_by_zero",
    replaces="temperature_probs",
    caught_by="test_temperature_of_zero",
    advice="t = 0 is a limit, not a division: it gives NaN. Return a one-hot of the greedy token before you divide.",
)
def temperature_probs(logits, t):
    if t < 0:
        raise ValueError("negative")
    return torch.softmax((logits - logits.amax(dim=-1, keepdim=True)) / t, dim=-1)


@mistake(
    "divided_before_the_maximum",
    replaces="temperature_probs",
    caught_by="test_temperature_at_both_ends",
    advice="1e4 / 1e-35 is ∞ in float32, and ∞ − ∞ is NaN. Subtract each row's maximum before you divide by t.",
)
def temperature_probs(logits, t):
    return torch.softmax(logits / t, dim=-1) if t > 0 else _cold(logits, t)


@mistake(
    "sampled_without_the_temperature",
    replaces="sample",
    caught_by="test_samples_follow_the_temperature",
    advice="The draw is from softmax(logits): use temperature_probs(logits, t).",
)
def sample(logits, t, generator):
    probs = temperature_probs(logits, 1.0 if t > 0 else t)
    return torch.multinomial(probs, 1, generator=None if t == 0 else generator)[:, 0]


@mistake(
    "one_draw_for_all_rows",
    replaces="sample",
    caught_by="test_samples_follow_the_temperature",
    advice="One random number serves all rows here, so that they move together. Draw one for each row.",
)
def sample(logits, t, generator):
    probs = temperature_probs(logits, t)
    if t == 0:
        return greedy(logits)
    level = torch.rand(1, generator=generator, dtype=probs.dtype)
    return (probs.cumsum(-1) <= level).sum(-1).clamp(max=probs.shape[-1] - 1)


@mistake(
    "global_generator",
    replaces="sample",
    caught_by="test_all_chance_comes_from_the_generator",
    advice="Without generator=… the draw comes from the global generator, and nobody can repeat it. Pass it on.",
)
def sample(logits, t, generator):
    return greedy(logits) if t == 0 else torch.multinomial(temperature_probs(logits, t), 1).squeeze(-1)


@mistake(
    "position_is_the_column",
    replaces="positions_from_mask",
    caught_by="test_positions_count_tokens",
    advice="Padding on the left shifts the columns, not the text: count the tokens before each one.",
)
def positions_from_mask(mask):
    return torch.arange(mask.shape[1]).expand(mask.shape).masked_fill(~mask, 0)


@mistake(
    "padding_counts_on",
    replaces="positions_from_mask",
    caught_by="test_positions_count_tokens",
    advice="Clamping mends padding on the left alone; behind a token it repeats that position. Set all padding to 0.",
)
def positions_from_mask(mask):
    return (mask.cumsum(dim=-1) - 1).clamp(min=0)


@mistake(
    "values_turned_too",
    replaces="rope_attention",
    caught_by="test_queries_and_keys_are_turned",
    advice="v is not turned: the output would depend on absolute positions. Only q and k meet in a scalar product.",
)
def rope_attention(q, k, v, q_positions, k_positions, mask=None, base=10000.0):
    q = apply_rope(q, *rope_cos_sin(q_positions, q.shape[-1], base))
    k, v = (apply_rope(x, *rope_cos_sin(k_positions, x.shape[-1], base)) for x in (k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


@mistake(
    "positions_of_the_first_row",
    replaces="rope_attention",
    caught_by="test_attention_at_positions_of_each_row",
    advice="With padding each row of the batch has positions of its own: make a table from all [B, T], not of row 0.",
)
def rope_attention(q, k, v, q_positions, k_positions, mask=None, base=10000.0):
    pairs = (q, q_positions), (k, k_positions)
    q, k = (apply_rope(x, *rope_cos_sin(p.reshape(-1, x.shape[2])[0], x.shape[-1], base)) for x, p in pairs)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


@mistake(
    "orders_exchanged",
    replaces="to_interleaved",
    caught_by="test_both_orders_of_channels",
    advice="to_half_split takes (a0, b0, a1, b1, …) apart, to_interleaved puts it together. For hd = 4 they are equal.",
)
def to_interleaved(x):
    return torch.cat((x[..., 0::2], x[..., 1::2]), dim=-1)


@mistake(
    "rows_reordered_across_heads",
    replaces="projection_to_half_split",
    caught_by="test_projections_are_converted_head_by_head",
    advice="This takes all H·hd rows for one head. Split them into [H, hd, D] and reorder inside each head.",
)
def projection_to_half_split(weight, n_heads):
    return to_half_split(weight.T).T


@mistake(
    "positions_divided_to_integers",
    replaces="scaled_cos_sin",
    caught_by="test_scaled_positions",
    advice="// puts neighbouring positions on top of each other: the point is that m/factor lies between those known.",
)
def scaled_cos_sin(positions, head_dim, factor, base=10000.0):
    return rope_cos_sin(positions // factor, head_dim, base)
