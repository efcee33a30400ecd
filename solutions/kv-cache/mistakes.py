"""Known wrong solutions. Each runs in a copy of the reference's namespace, and may use its names."""

import math

import torch
import torch.nn.functional as F  # noqa: N812 — its usual name

from grader.checking import mistake


@mistake(
    "mask_begins_at_the_top_left",
    replaces="_visible",
    caught_by="test_new_tokens_see_the_past",
    advice="This is `is_causal=True`: with T < S row i sees the keys 0…i. New token i stands at P + i: shift by P.",
)
def _visible(t, s, pad, device):
    return torch.ones(t, s, dtype=torch.bool).tril()


@mistake(
    "next_key_seen",
    replaces="_visible",
    caught_by="test_attention_without_a_cache",
    advice="Each token sees the one after it. Key j is visible where j ≤ P + i: one diagonal less.",
)
def _visible(t, s, pad, device):
    return torch.ones(t, s, dtype=torch.bool).tril(s - t + 1)


@mistake(
    "square_mask_cut",
    replaces="_visible",
    caught_by="test_memory_of_a_step_is_linear",
    advice="For one new token you build a mask of S × S and keep its last row. Compare P + i with j for T rows alone.",
)
def _visible(t, s, pad, device):
    return torch.ones(s, s, dtype=torch.bool).tril()[-t:]


@mistake(
    "padding_from_the_new_tokens",
    replaces="_visible",
    caught_by="test_padding_with_a_cache",
    advice="pad counts from column 0 of the whole sequence, not of this call's tokens: with a cache hide j < pad[b].",
)
def _visible(t, s, pad, device):
    causal = torch.ones(t, s, dtype=torch.bool).tril(s - t)
    columns = torch.arange(s) - (s - t)
    return causal if pad is None else causal & ((columns < 0) | (columns >= pad[:, None]))[:, None, None]


@mistake(
    "only_new_keys_returned",
    replaces="_extended",
    caught_by="test_present_holds_keys_and_values",
    advice="present holds the new tokens alone, so the call after next has lost the others: return what you attend to.",
)
def _extended(past, k, v):
    if isinstance(past, StaticKV):
        return *past.append(k, v), past
    if past is None:
        return k, v, (k, v)
    return torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2), (k, v)


@mistake(
    "heads_by_view",
    replaces="CausalSelfAttention._split",
    caught_by="test_present_holds_keys_and_values",
    advice="[B, T, D] viewed as [B, H, T, dh] mixes tokens into heads: view as [B, T, H, dh], then swap T and H.",
)
def _split(self, x):
    return x.reshape(x.shape[0], self.n_heads, x.shape[1], -1)


def _attention(layer, x, past, pad, *, divide=None, fill=None, join=lambda y: y.transpose(1, 2)):
    q, k, v = (layer._split(part) for part in layer.c_attn(x).chunk(3, dim=-1))
    keys, values, present = _extended(past, k, v)
    scores = q @ keys.transpose(-1, -2) / (divide or math.sqrt(q.shape[-1]))
    hidden = ~_visible(x.shape[1], keys.shape[2], pad, x.device)
    weights = scores.masked_fill(hidden, torch.finfo(x.dtype).min if fill is None else fill).softmax(dim=-1)
    return layer.c_proj(join(weights @ values).reshape(x.shape)), present


@mistake(
    "scaled_by_the_width",
    replaces="CausalSelfAttention.forward",
    caught_by="test_attention_without_a_cache",
    advice="The scores of a head are sums over its dh channels: divide by √dh, not by √D.",
)
def forward(self, x, past=None, pad=None):
    return _attention(self, x, past, pad, divide=math.sqrt(x.shape[-1]))


@mistake(
    "heads_not_swapped_back",
    replaces="CausalSelfAttention.forward",
    caught_by="test_attention_without_a_cache",
    advice="[B, H, T, dh] reshaped to [B, T, D] mixes heads and tokens: swap H and T first.",
)
def forward(self, x, past=None, pad=None):
    return _attention(self, x, past, pad, join=lambda y: y)


@mistake(
    "filled_with_minus_a_thousand",
    replaces="CausalSelfAttention.forward",
    caught_by="test_large_scores",
    advice="A fill of −1e3 is above true scores of −1e4, and hidden keys win: take −∞, or the dtype's lowest number.",
)
def forward(self, x, past=None, pad=None):
    return _attention(self, x, past, pad, fill=-1e3)


@mistake(
    "padding_row_of_nan",
    replaces="CausalSelfAttention.forward",
    caught_by="test_padded_rows_are_as_if_alone",
    advice="A padding token sees no key; its softmax over −∞ is NaN, and 0 · NaN in the next layer spoils its row. "
    "Fill with the lowest finite number, or let it see itself.",
)
def forward(self, x, past=None, pad=None):
    return _attention(self, x, past, pad, fill=-math.inf)


@mistake(
    "cache_on_the_module",
    replaces="CausalSelfAttention.forward",
    caught_by="test_two_texts_go_on_from_one_cache",
    advice="The layer goes on from what it saw last, not from the past that it is given: keep nothing on self.",
)
def forward(self, x, past=None, pad=None):
    y, self.last = _attention(self, x, past and getattr(self, "last", past), pad)
    return y, self.last


def _block(block, x, past, pad, approximate="tanh"):
    y, present = block.attn(block.ln_1(x), past, pad)
    return x + y + block.c_proj(F.gelu(block.c_fc(block.ln_2(x + y)), approximate=approximate)), present


@mistake(
    "exact_gelu",
    replaces="Block.forward",
    caught_by="test_block_is_pre_norm",
    advice='This is the exact GELU, up to 5e-4 off GPT-2\'s tanh form: F.gelu(…, approximate="tanh").',
)
def forward(self, x, past=None, pad=None):
    return _block(self, x, past, pad, approximate="none")


def _gpt(model, ids, cache, pad, start=None, shift=True):
    """GPT.forward with something left out."""
    start = _length(cache[0]) if cache and start is None else start or 0
    positions = torch.arange(start, start + ids.shape[1])
    if positions[-1] >= model.wpe.num_embeddings:
        raise ValueError("too long")
    if pad is not None and shift:
        positions = (positions - pad[:, None]).clamp(min=0)
    x, presents = model.wte(ids) + model.wpe(positions), []
    for block, past in zip(model.blocks, cache or [None] * len(model.blocks), strict=True):
        x, present = block(x, past, pad)
        presents.append(present)
    return F.linear(model.ln_f(x), model.wte.weight), presents


@mistake(
    "positions_from_zero",
    replaces="GPT.forward",
    caught_by="test_logits_go_on_from_any_cache",
    advice="Every call begins at position 0 again. The new tokens stand at P, P + 1, …, with P the cache's length.",
)
def forward(self, ids, cache=None, pad=None):
    return _gpt(self, ids, cache, pad, start=0)


@mistake(
    "callers_list_changed",
    replaces="GPT.forward",
    caught_by="test_logits_go_on_from_any_cache",
    advice="The caller's list is written to, so that no second continuation can start from it: build a new list.",
)
def forward(self, ids, cache=None, pad=None):
    logits, presents = _gpt(self, ids, cache, pad)
    if cache is not None:
        cache[:] = presents
    return logits, presents if cache is None else cache


@mistake(
    "context_cropped",
    replaces="GPT.forward",
    caught_by="test_positions_end",
    advice="Cropping shifts all positions, and cached keys keep their old ones. Raise ValueError beyond n_positions.",
)
def forward(self, ids, cache=None, pad=None):
    room = self.wpe.num_embeddings - (_length(cache[0]) if cache else 0)
    return _gpt(self, ids[:, -room:], cache, pad) if room else _gpt(self, ids, None, pad)


@mistake(
    "padding_takes_positions",
    replaces="GPT.forward",
    caught_by="test_padded_rows_are_as_if_alone",
    advice="The first real token of a row stands at position 0: subtract pad[b] from its columns.",
)
def forward(self, ids, cache=None, pad=None):
    return _gpt(self, ids, cache, pad, shift=False)


def _generated(
    model, ids, max_new_tokens, temperature=0.0, use_cache=True, eos_id=None, generator=None, pad=None, **wrong
):
    """generate, with something wrong: what it feeds, when a row or all of them end."""
    feed, stop = wrong.get("feed", lambda ids: ids[:, -1:]), wrong.get("stop", torch.all)
    fresh, cache, mode = ids, None, model.training
    ended = torch.zeros(len(ids), dtype=torch.bool)
    model.eval()
    with torch.no_grad():
        for _ in range(max_new_tokens):
            logits, cache = model(fresh, cache, pad) if use_cache else model(ids, None, pad)
            tokens = _chosen(logits[:, -1], temperature, generator)
            if eos_id is not None:
                tokens = tokens.masked_fill(ended, eos_id) if wrong.get("fill", True) else tokens
                ended = ended | (tokens == eos_id)
            ids = torch.cat([ids, tokens[:, None]], dim=1)
            fresh = feed(ids)
            if stop(ended):
                break
    model.train(mode and wrong.get("back", True))
    return ids


@mistake(
    "everything_fed_again",
    replaces="generate",
    caught_by="test_the_cache_is_used",
    advice="The whole sequence is fed beside a cache that holds it already: later calls get the new token alone.",
)
def generate(*args, **kwargs):
    return _generated(*args, **kwargs, feed=lambda ids: ids)


@mistake(
    "all_stop_at_the_first_end",
    replaces="generate",
    caught_by="test_rows_end_one_by_one",
    advice="One row has ended and the whole batch stops: go on until all rows have.",
)
def generate(*args, **kwargs):
    return _generated(*args, **kwargs, stop=torch.any)


@mistake(
    "ended_rows_go_on",
    replaces="generate",
    caught_by="test_rows_end_one_by_one",
    advice="A row that has ended gets further tokens from the model: put eos_id there, and feed it.",
)
def generate(*args, **kwargs):
    return _generated(*args, **kwargs, fill=False)


@mistake(
    "eos_zero_is_none",
    replaces="generate",
    caught_by="test_rows_end_one_by_one",
    advice="`if eos_id:` is False for the token 0. Ask `eos_id is not None`.",
)
def generate(*args, eos_id=None, **kwargs):
    return _generated(*args, **kwargs, eos_id=eos_id or None)


@mistake(
    "temperature_multiplies",
    replaces="_chosen",
    caught_by="test_temperature",
    advice="Divide the logits by the temperature: below 1 it makes the distribution sharper.",
)
def _chosen(logits, temperature, generator):
    if temperature == 0:
        return logits.argmax(dim=-1)
    return torch.multinomial((logits * temperature).softmax(dim=-1), 1, generator=generator)[:, 0]


@mistake(
    "generator_ignored",
    replaces="_chosen",
    caught_by="test_equal_generators_give_equal_tokens",
    advice="Tokens are drawn from the global generator: pass `generator` to torch.multinomial.",
)
def _chosen(logits, temperature, generator):
    if temperature == 0:
        return logits.argmax(dim=-1)
    return torch.multinomial((logits / temperature).softmax(dim=-1), 1)[:, 0]


@mistake(
    "left_in_eval_mode",
    replaces="generate",
    caught_by="test_mode_and_edges",
    advice="A model that came in train mode is left in eval mode, and trains on without dropout: put its mode back.",
)
def generate(*args, **kwargs):
    return _generated(*args, **kwargs, back=False)


@mistake(
    "pad_in_the_first_call_only",
    replaces="generate",
    caught_by="test_generate_hands_pad_on",
    advice="The padding's keys are in the cache at every later step too: hand pad to the model in each call.",
)
def generate(model, ids, *args, pad=None, **kwargs):
    calls = []

    def once(ids, cache, _):
        calls.append(ids)
        return model(ids, cache, pad if len(calls) == 1 else None)

    once.training, once.eval, once.train = model.training, model.eval, model.train
    return _generated(once, ids, *args, **kwargs)


@mistake(
    "given_cache_dropped",
    replaces="prefill",
    caught_by="test_chunks_follow_each_other",
    advice="The first chunk goes on from the cache that prefill was given, not from None.",
)
def prefill(model, ids, chunk_size, cache=None):
    if chunk_size < 1:
        raise ValueError
    cache = None
    for chunk in ids.split(chunk_size, dim=1):
        logits, cache = model(chunk, cache)
    return logits[:, -1], cache


@mistake(
    "buffers_made_anew",
    replaces="StaticKV.append",
    caught_by="test_append_copies_no_more_than_the_new",
    advice="The whole buffer is copied for one token. Write into it: self.keys[:, :, start:end] = k.",
)
def append(self, k, v):
    start, end = self.length, self.length + k.shape[2]
    if end > self.keys.shape[2]:
        raise ValueError
    keys, values = self.keys.clone(), self.values.clone()
    keys[:, :, start:end], values[:, :, start:end] = k.detach(), v.detach()
    self.keys, self.values, self.length = keys, values, end
    return keys[:, :, :end], values[:, :, :end]


@mistake(
    "graph_in_the_buffer",
    replaces="StaticKV.append",
    caught_by="test_append_writes_behind",
    advice="Outside no_grad the buffer becomes part of a graph that grows at every step: store k.detach(), v.detach().",
)
def append(self, k, v):
    end = self.length + k.shape[2]
    self.keys[:, :, self.length : end], self.values[:, :, self.length : end] = k, v
    self.length = end
    return self.keys[:, :, :end], self.values[:, :, :end]


@mistake(
    "crop_reaches_further",
    replaces="StaticKV.crop",
    caught_by="test_crop_forgets_the_last",
    advice="A crop to more tokens than are written would bring back what was forgotten: raise ValueError.",
)
def crop(self, length):
    if not 0 <= length <= self.keys.shape[2]:
        raise ValueError
    self.length = length


@mistake(
    "values_not_counted",
    replaces="kv_cache_bytes",
    caught_by="test_bytes_of_a_cache",
    advice="Keys and values: twice as many numbers.",
)
def kv_cache_bytes(n_layers, batch_size, n_kv_heads, length, head_dim, dtype):
    return n_layers * batch_size * n_kv_heads * length * head_dim * dtype.itemsize
