"""Known wrong solutions. Each runs in a copy of the reference's namespace, and may use its names."""

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
    "exponent_halved",
    replaces="rope",
    caught_by="test_rope_rotates_neighbouring_channels",
    advice="Pair i turns by p·base^(−2i/dh): the exponents are 0, 2/dh, 4/dh, …, not i/dh.",
)
def rope(x, base=10000.0):
    half = x.shape[-1] // 2
    return _turned(x, _angles(x, base, torch.arange(half, dtype=torch.float64) / (2 * half)))


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
    "values_rotated",
    replaces="PreNormBlock._attended",
    caught_by="test_block_is_pre_norm_with_rope_and_swiglu",
    advice="rope belongs on q and k, whose product then depends on the distance; v carries content and stays.",
)
def _attended(self, h):
    return _mixed(self, *map(rope, _heads(self, h)))


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
    caught_by="test_block_is_pre_norm_with_rope_and_swiglu",
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
    "sum_dropped",
    replaces="PreNormBlock.forward",
    caught_by="test_dropout_of_the_block",
    advice="Dropout acts on the branch before it is added. On the sum it would tear holes into the residual stream.",
)
def forward(self, x):
    x = _drop(self, x + self._attended(self.norm1(x)))
    return _drop(self, x + _swiglu(self, self.norm2(x)))


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
