"""Known wrong solutions. Each runs in a copy of the reference's namespace, and may use its names."""

import math

import torch

from grader.checking import mistake


def _scores(q, k, mask, fill=-1e30):
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    return scores if mask is None else scores.masked_fill(~mask, fill)


def _split(layer, x):
    return layer.qkv(x).view(*x.shape[:2], 3, layer.n_heads, -1).permute(2, 0, 3, 1, 4)


def _merged(layer, out):
    return layer.out(out.transpose(1, 2).flatten(2))


def _past(x, diagonal=0):
    return torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril(diagonal)


@mistake(
    "not_scaled",
    replaces="scaled_dot_product_attention",
    caught_by="test_attention_at_all_sizes",
    advice="Divide the scores by √dh, dh the width of a query: else they grow with it and the softmax saturates.",
)
def scaled_dot_product_attention(q, k, v, mask=None):
    return scaled_dot_product_attention_(q * math.sqrt(q.shape[-1]), k, v, mask)


def scaled_dot_product_attention_(q, k, v, mask):
    weights = _scores(q, k, mask).softmax(dim=-1)
    return weights @ v, weights


@mistake(
    "softmax_over_the_queries",
    replaces="scaled_dot_product_attention",
    caught_by="test_attention_at_all_sizes",
    advice="Each query spreads 1 over its keys, and the keys are the last axis of the scores: softmax(dim=-1).",
)
def scaled_dot_product_attention(q, k, v, mask=None):
    weights = _scores(q, k, mask).softmax(dim=-2)
    return weights @ v, weights


@mistake(
    "mask_inverted",
    replaces="scaled_dot_product_attention",
    caught_by="test_mask_true_keeps_and_broadcasts",
    advice="Here True keeps a key, as in F.scaled_dot_product_attention; nn.MultiheadAttention means the opposite.",
)
def scaled_dot_product_attention(q, k, v, mask=None):
    return scaled_dot_product_attention_(q, k, v, None if mask is None else ~mask)


@mistake(
    "masked_after_the_softmax",
    replaces="scaled_dot_product_attention",
    caught_by="test_mask_true_keeps_and_broadcasts",
    advice="Masked after the softmax, the weights no longer sum to 1. Mask the scores, before it.",
)
def scaled_dot_product_attention(q, k, v, mask=None):
    weights = _scores(q, k, None).softmax(dim=-1)
    weights = weights if mask is None else weights * mask
    return weights @ v, weights


@mistake(
    "fill_is_not_low_enough",
    replaces="scaled_dot_product_attention",
    caught_by="test_attention_at_large_scores",
    advice="A score may be −1e4 itself, so −1e4 hides nothing. Fill with −∞ or the lowest number of the dtype.",
)
def scaled_dot_product_attention(q, k, v, mask=None):
    weights = _scores(q, k, mask, fill=-1e4).softmax(dim=-1)
    return weights @ v, weights


@mistake(
    "hidden_scores_only_lowered",
    replaces="scaled_dot_product_attention",
    caught_by="test_attention_at_large_scores",
    advice="Subtracting 1e9 from a hidden score hides it only if it was not larger. Overwrite it: masked_fill.",
)
def scaled_dot_product_attention(q, k, v, mask=None):
    hidden = torch.zeros(1, dtype=torch.bool) if mask is None else ~mask
    weights = (_scores(q, k, None) - 1e9 * hidden).softmax(dim=-1).masked_fill(hidden, 0.0)
    return weights @ v, weights


@mistake(
    "mean_of_what_is_hidden",
    replaces="scaled_dot_product_attention",
    caught_by="test_query_without_a_key_gives_zero",
    advice="With all scores equally low the softmax is uniform. Set the hidden weights to 0 after the softmax too.",
)
def scaled_dot_product_attention(q, k, v, mask=None):
    return scaled_dot_product_attention_(q, k, v, mask)


@mistake(
    "nan_in_the_backward_pass",
    replaces="scaled_dot_product_attention",
    caught_by="test_attention_gradients",
    advice="nan_to_num mends the forward pass; softmax still sends NaN backwards. Fill with a finite number instead.",
)
def scaled_dot_product_attention(q, k, v, mask=None):
    bias = torch.zeros(()) if mask is None else torch.zeros(mask.shape).masked_fill(~mask, -math.inf)
    weights = (_scores(q, k, None) + bias).softmax(dim=-1).nan_to_num(0.0)
    return weights @ v, weights


@mistake(
    "a_loop_over_queries",
    replaces="scaled_dot_product_attention",
    caught_by="test_attention_loops_over_no_position",
    advice="One product compares all queries with all keys: q @ k.transpose(-1, -2), no loop over positions.",
)
def scaled_dot_product_attention(q, k, v, mask=None):
    mask = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool) if mask is None else mask
    mask = mask.expand(*q.shape[:3], k.shape[2])
    rows = [
        _scores(q[:, :, i : i + 1], k, mask[:, :, i : i + 1]).softmax(dim=-1) * mask[:, :, i : i + 1]
        for i in range(q.shape[2])
    ]
    return torch.cat([row @ v for row in rows], dim=2), torch.cat(rows, dim=2)


@mistake(
    "view_without_transpose",
    replaces="MultiHeadAttention.forward",
    caught_by="test_heads_own_neighbouring_channels",
    advice="view(B, H, T, dh) mixes times with channels. View as (B, T, H, dh), then transpose T and H; likewise back.",
)
def forward(self, x):
    b, t, d = x.shape
    q, k, v = (part.reshape(b, self.n_heads, t, -1) for part in self.qkv(x).chunk(3, dim=-1))
    return self.out(scaled_dot_product_attention(q, k, v, _past(x))[0].reshape(b, t, d))


@mistake(
    "sees_the_future",
    replaces="MultiHeadAttention.forward",
    caught_by="test_heads_own_neighbouring_channels",
    advice="Position i must not see i + 1, …: else it reads the token it should predict. Pass a lower triangle.",
)
def forward(self, x):
    return _merged(self, scaled_dot_product_attention(*_split(self, x))[0])


@mistake(
    "does_not_see_itself",
    replaces="MultiHeadAttention.forward",
    caught_by="test_heads_own_neighbouring_channels",
    advice="Position i sees 0 to i, itself included: tril() with the diagonal. The target is the token after it.",
)
def forward(self, x):
    return _merged(self, scaled_dot_product_attention(*_split(self, x), _past(x, -1))[0])


@mistake(
    "future_only_lowered",
    replaces="MultiHeadAttention.forward",
    caught_by="test_attention_is_causal",
    advice="Subtracting 1e4 does not hide a later key whose score is larger. Overwrite its score: pass the mask on.",
)
def forward(self, x):
    q, k, v = _split(self, x)
    weights = (_scores(q, k, None) - 1e4 * ~_past(x)).softmax(dim=-1)
    return _merged(self, weights @ v)


@mistake(
    "weights_without_gradient",
    replaces="MultiHeadAttention.forward",
    caught_by="test_heads_gradients",
    advice="`.data` and `.detach()` cut the graph: cut the weight itself, or what the layer returns, in three.",
)
def forward(self, x):
    parts = zip(self.qkv.weight.data.chunk(3), self.qkv.bias.data.chunk(3), strict=True)
    q, k, v = (F.linear(x, *part).unflatten(-1, (self.n_heads, -1)).transpose(1, 2) for part in parts)
    return _merged(self, scaled_dot_product_attention(q, k, v, _past(x))[0])


@mistake(
    "mask_of_the_longest",
    replaces="MultiHeadAttention.forward",
    caught_by="test_heads_keep_nothing",
    advice="A mask kept from a longer sequence does not fit a shorter one. Cut it to [:T, :T], or make it anew.",
)
def forward(self, x):
    if not hasattr(self, "past") or len(self.past) < x.shape[1]:
        self.past = _past(x)
    return _merged(self, scaled_dot_product_attention(*_split(self, x), self.past)[0])


@mistake(
    "post_norm",
    replaces="TransformerBlock.forward",
    caught_by="test_block_is_pre_norm",
    advice="The norm comes before the branch, x + f(norm(x)), not after the sum: that leaves an identity path.",
)
def forward(self, x):
    x = self.norm1(x + self.attention(x))
    return self.norm2(x + self.down(F.gelu(self.up(x))))


@mistake(
    "gelu_by_tanh",
    replaces="TransformerBlock.forward",
    caught_by="test_block_is_pre_norm",
    advice='GELU is the exact x·Φ(x) here; approximate="tanh", as in GPT-2, is off by up to 5e-4.',
)
def forward(self, x):
    x = x + self.attention(self.norm1(x))
    return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


@mistake(
    "no_last_norm",
    replaces="TransformerLM.forward",
    caught_by="test_logits_of_the_model",
    advice="In a pre-norm model nothing has normed the sum of all branches: apply self.norm before the head.",
)
def forward(self, ids):
    x = self.tokens(ids) + self.positions.weight[: ids.shape[1]]
    return self.head(torch.nn.Sequential(*self.blocks)(x))


@mistake(
    "positions_without_gradient",
    replaces="TransformerLM.forward",
    caught_by="test_model_gradients",
    advice="`.data` and `.detach()` take the positions out of the graph; use self.positions(…) or its weight itself.",
)
def forward(self, ids):
    if ids.shape[1] > self.max_len:
        raise ValueError("too long")
    x = self.tokens(ids) + self.positions.weight.data[: ids.shape[1]]
    return self.head(self.norm(torch.nn.Sequential(*self.blocks)(x)))
