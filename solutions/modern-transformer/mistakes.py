"""Known wrong solutions. Each runs in a copy of the reference's namespace, and may use its names."""

import math

import torch
import torch.nn.functional as F  # noqa: N812 — its usual name
from torch import nn

from grader.checking import mistake


def _turned(x, angles):
    """Each channel pair turned by angles [T, dh/2]."""
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack([a * angles.cos() - b * angles.sin(), a * angles.sin() + b * angles.cos()], -1).flatten(-2)


def _angles(x, base, exponents):
    if x.shape[-1] % 2:
        raise ValueError("odd")
    return torch.arange(x.shape[-2], dtype=x.dtype)[:, None] * base ** -exponents.to(x.dtype)


def _heads(block, h):
    return block.qkv(h).unflatten(-1, (3, block.n_heads, -1)).permute(2, 0, 3, 1, 4)


def _mixed(block, q, k, v, *, p_drop=None, causal=True):
    p_drop = block.p_drop * block.training if p_drop is None else p_drop
    mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=p_drop, is_causal=causal)
    return block.out(mixed.transpose(1, 2).flatten(2))


def _swiglu(block, h):
    return block.down(F.silu(block.gate(h)) * block.up(h))


def _drop(block, x):
    return F.dropout(x, block.p_drop, block.training)


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


def _clip(model, bound):
    nn.utils.clip_grad_norm_(model.parameters(), bound)


def _trained(
    model, data, steps, lr, warmup, grad_clip, seed, weight_decay=0.0, batch_size=16, length=32, *,
    groups=None, mode=True, clears=True, clip=_clip, impatient=False,
):  # fmt: skip
    """The usual loop, but for what is said otherwise. impatient: a higher loss ends it."""
    generator, losses, ended = torch.Generator().manual_seed(seed), [], False
    optimizer = torch.optim.AdamW((groups or param_groups)(model, weight_decay), betas=(0.9, 0.95))
    model.train(mode)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = lr_at(step, steps, lr, warmup)
        loss = _next_token_loss(model, sample_batch(data, batch_size, length, generator))
        if clears:
            optimizer.zero_grad()
        loss.backward()
        clip(model, grad_clip)
        ended = ended or (impatient and step > 8 and loss.item() > min(losses))
        if not ended:
            optimizer.step()
        losses.append(loss.item())
    return losses


@mistake(
    "halves_paired",
    replaces="rope",
    caught_by="test_rope_rotates_neighbouring_channels",
    advice="The pairs are neighbours, (2i, 2i + 1), as in RoFormer and GPT-J, not i and i + dh/2.",
)
def rope(x, base=10000.0):
    half = x.shape[-1] // 2
    angles = _angles(x, base, torch.arange(half, dtype=torch.float64) / half)
    turned = _turned(torch.stack(x.chunk(2, dim=-1), dim=-1).flatten(-2), angles)
    return torch.cat([turned[..., 0::2], turned[..., 1::2]], dim=-1)


@mistake(
    "angles_of_another_dtype",
    replaces="rope",
    caught_by="test_rope_keeps_nothing",
    advice="Angles kept from a call in float32 stay rounded in float64. Compute them anew, or keep each dtype's own.",
)
def rope(x, base=10000.0, kept={}):  # noqa: B006 — that is the mistake
    half = x.shape[-1] // 2
    angles = _angles(x, base, torch.arange(half, dtype=torch.float64) / half)
    return _turned(x, kept.setdefault((*x.shape[-2:], base), angles).to(x.dtype))


@mistake(
    "positions_forgotten",
    replaces="PreNormBlock._attended",
    caught_by="test_block_is_pre_norm_with_rope_and_swiglu",
    advice="Without rope attention does not know the order of the past. Rotate q and k, after the heads are split.",
)
def _attended(self, h):
    return _mixed(self, *_heads(self, h))


@mistake(
    "post_norm",
    replaces="PreNormBlock.forward",
    caught_by="test_block_is_pre_norm_with_rope_and_swiglu",
    advice="The norm comes before the branch, x + f(norm(x)), not after the sum.",
)
def forward(self, x):
    x = self.norm1(x + _drop(self, self._attended(x)))
    return self.norm2(x + _drop(self, _swiglu(self, x)))


@mistake(
    "dropout_in_eval_mode",
    replaces="PreNormBlock.forward",
    caught_by="test_block_is_pre_norm_with_rope_and_swiglu",
    advice="F.dropout(x, p) drops in eval mode too: its `training` is True by default. Pass self.training.",
)
def forward(self, x):
    x = x + F.dropout(self._attended(self.norm1(x)), self.p_drop)
    return x + F.dropout(_swiglu(self, self.norm2(x)), self.p_drop)


@mistake(
    "weights_without_gradient",
    replaces="PreNormBlock._attended",
    caught_by="test_block_is_causal_and_trains",
    advice="`.data` and `.detach()` cut the graph: cut the weight itself, or what the layer returns, in three.",
)
def _attended(self, h):
    parts = (F.linear(h, weight) for weight in self.qkv.weight.data.chunk(3))
    q, k, v = (part.unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for part in parts)
    return _mixed(self, rope(q), rope(k), v)


@mistake(
    "sees_the_future",
    replaces="PreNormBlock._attended",
    caught_by="test_block_is_causal_and_trains",
    advice="Position i must not see later ones: is_causal=True, or a mask.",
)
def _attended(self, h):
    q, k, v = _heads(self, h)
    return _mixed(self, rope(q), rope(k), v, causal=False)


@mistake(
    "weights_never_dropped",
    replaces="PreNormBlock._attended",
    caught_by="test_dropout_of_the_block",
    advice="The attention weights have a dropout of their own: dropout_p of scaled_dot_product_attention, if training.",
)
def _attended(self, h):
    q, k, v = _heads(self, h)
    return _mixed(self, rope(q), rope(k), v, p_drop=0.0)


@mistake(
    "no_last_norm",
    replaces="Transformer.forward",
    caught_by="test_logits_of_the_model",
    advice="In a pre-norm model nothing has normed the sum of all branches: apply self.norm before the head.",
)
def forward(self, ids):
    return self.head(nn.Sequential(*self.blocks)(_drop(self, self.tokens(ids))))


@mistake(
    "embedding_never_dropped",
    replaces="Transformer.forward",
    caught_by="test_dropout_of_the_embedding",
    advice="The embedding has a dropout too, before the first block.",
)
def forward(self, ids):
    return self.head(self.norm(nn.Sequential(*self.blocks)(self.tokens(ids))))


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


@mistake(
    "zero_at_the_first_step",
    replaces="lr_at",
    caught_by="test_learning_rate_rises_and_falls",
    advice="Steps count from 0, and the first is no empty one: lr·(step + 1)/warmup.",
)
def lr_at(step, steps, lr, warmup, final=0.1):
    if step < warmup:
        return lr * step / warmup
    progress = min(1.0, (step - warmup) / max(1, steps - 1 - warmup))
    return lr * (final + (1 - final) * (1 + math.cos(math.pi * progress)) / 2)


@mistake(
    "gradient_not_cleared",
    replaces="train",
    caught_by="test_train_takes_clipped_adamw_steps",
    advice="backward() adds to .grad: without zero_grad() each step uses the sum of all gradients so far.",
)
def train(*args, **options):
    return _trained(*args, **options, clears=False)


@mistake(
    "each_weight_clipped_alone",
    replaces="train",
    caught_by="test_train_takes_clipped_adamw_steps",
    advice="The norm is that of all gradients together: clipped one by one, the direction of the step changes.",
)
def train(*args, **options):
    def clip(model, bound):
        for weight in model.parameters():
            nn.utils.clip_grad_norm_(weight, bound)

    return _trained(*args, **options, clip=clip)


@mistake(
    "left_in_eval_mode",
    replaces="train",
    caught_by="test_train_runs_in_train_mode",
    advice="Call model.train() first: a model that comes in eval mode would train without its dropout.",
)
def train(model, *args, **options):
    return _trained(model, *args, **options, mode=model.training)


@mistake(
    "stopped_early",
    replaces="train",
    caught_by="test_train_finds_the_markov_source",
    advice="One batch's loss goes up and down by chance: do not stop on it. Train all the steps.",
)
def train(*args, **options):
    return _trained(*args, **options, impatient=True)


@mistake(
    "embeddings_decay",
    replaces="param_groups",
    caught_by="test_groups_split_what_decays",
    advice="An embedding has two dimensions and does not decay: rows of rare tokens get no gradient, only the decay.",
)
def param_groups(model, weight_decay):
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    matrices, others = ([weight for weight in weights if (weight.dim() < 2) == flat] for flat in (False, True))
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


@mistake(
    "everything_decays",
    replaces="train",
    caught_by="test_train_decays_the_matrices",
    advice="AdamW(model.parameters(), weight_decay=…) decays norms, biases and embeddings too. Pass param_groups.",
)
def train(*args, **options):
    def groups(model, weight_decay):
        return [{"params": [*model.parameters()], "weight_decay": weight_decay}]

    return _trained(*args, **options, groups=groups)


@mistake(
    "validated_in_train_mode",
    replaces="evaluate",
    caught_by="test_evaluate_reads_the_whole_stream",
    advice="With dropout on, the loss is too high and noisy: model.eval() first, the old mode again afterwards.",
)
def evaluate(model, data, length):
    with torch.no_grad():
        return _next_token_loss(model, data[: len(data) // length * length].view(-1, length)).item()
