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


def _whole(past, k, v):
    return tuple(torch.cat(both, dim=2) for both in zip(past, (k, v), strict=True)) if past else (k, v)


@mistake(
    "only_new_keys_returned",
    replaces="_extended",
    caught_by="test_present_holds_keys_and_values",
    advice="present holds the new tokens alone, so the call after next has lost the others: return what you attend to.",
)
def _extended(past, k, v):
    return (*past.append(k, v), past) if isinstance(past, StaticKV) else (*_whole(past, k, v), (k, v))


@mistake(
    "keys_detached",
    replaces="_extended",
    caught_by="test_every_parameter_gets_its_gradient",
    advice="Keys and values are cut off from the graph, and c_attn learns from its queries alone: detach no pair.",
)
def _extended(past, k, v):
    if isinstance(past, StaticKV):
        return *past.append(k, v), past
    whole = _whole(past, k.detach(), v.detach())
    return *whole, whole


@mistake(
    "views_for_the_static_cache",
    replaces="_extended",
    caught_by="test_gpt_takes_static_caches",
    advice="For a StaticKV, present is what append returned, which takes no more tokens: return the object itself.",
)
def _extended(past, k, v):
    whole = past.append(k, v) if isinstance(past, StaticKV) else _whole(past, k, v)
    return *whole, whole


@mistake(
    "heads_by_view",
    replaces="CausalSelfAttention._split",
    caught_by="test_present_holds_keys_and_values",
    advice="[B, T, D] viewed as [B, H, T, dh] mixes tokens into heads: view as [B, T, H, dh], then swap T and H.",
)
def _split(self, x):
    return x.reshape(x.shape[0], self.n_heads, x.shape[1], -1)


def _attention(layer, x, past, pad, *, fill):
    q, k, v = (layer._split(part) for part in layer.c_attn(x).chunk(3, dim=-1))
    keys, values, present = _extended(past, k, v)
    scores = q @ keys.transpose(-1, -2) / math.sqrt(q.shape[-1])
    hidden = ~_visible(x.shape[1], keys.shape[2], pad, x.device)
    weights = scores.masked_fill(hidden, fill).softmax(dim=-1)
    return layer.c_proj((weights @ values).transpose(1, 2).reshape(x.shape)), present


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
    advice="A padding token sees no key; softmax over −∞ alone is NaN: fill with the lowest finite number instead.",
)
def forward(self, x, past=None, pad=None):
    return _attention(self, x, past, pad, fill=-math.inf)


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


def _gpt(model, ids, cache, pad, start=None, shift=True, last=None):
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
    return F.linear((last or model.ln_f)(x), model.wte.weight), presents


@mistake(
    "last_norm_left_out",
    replaces="GPT.forward",
    caught_by="test_logits_of_a_prompt",
    advice="A pre-norm stack normalises once more at its end: ln_f(x) before the product with wte.weight.",
)
def forward(self, ids, cache=None, pad=None):
    return _gpt(self, ids, cache, pad, last=torch.clone)


@mistake(
    "one_list_for_all_calls",
    replaces="GPT.forward",
    caught_by="test_two_texts_go_on_from_one_cache",
    advice="Every call fills and returns the same list, so that earlier caches change: build a new list each time.",
)
def forward(self, ids, cache=None, pad=None):
    logits, presents = _gpt(self, ids, cache, pad)
    self.presents = getattr(self, "presents", [])
    self.presents[:] = presents
    return logits, self.presents


@mistake(
    "positions_from_zero",
    replaces="GPT.forward",
    caught_by="test_logits_go_on_from_any_cache",
    advice="Every call begins at position 0 again. The new tokens stand at P, P + 1, …, with P the cache's length.",
)
def forward(self, ids, cache=None, pad=None):
    return _gpt(self, ids, cache, pad, start=0)


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
    if ids.shape[1] == 0 or max_new_tokens < 0 or temperature < 0:
        raise ValueError
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
            pad = None if wrong.get("pad_once") else pad
            if stop(ended):
                break
        if wrong.get("once_more") and max_new_tokens:
            model(fresh, cache, pad) if use_cache else model(ids, None, pad)
    model.train(mode and wrong.get("back", True))
    return ids


@mistake(
    "everything_fed_again",
    replaces="generate",
    caught_by="test_greedy_tokens",
    advice="The whole sequence is fed beside a cache that holds it already: later calls get the new token alone.",
)
def generate(*args, **kwargs):
    return _generated(*args, **kwargs, feed=lambda ids: ids)


@mistake(
    "last_token_fed",
    replaces="generate",
    caught_by="test_the_cache_is_used",
    advice="After the last token there is one more call, whose logits nobody reads: n new tokens take n calls.",
)
def generate(*args, **kwargs):
    return _generated(*args, **kwargs, once_more=True)


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
    caught_by="test_temperature",
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
def generate(*args, pad=None, **kwargs):
    return _generated(*args, **kwargs, pad=pad, pad_once=True)


@mistake(
    "given_cache_dropped",
    replaces="prefill",
    caught_by="test_chunks_follow_each_other",
    advice="The first chunk goes on from the cache that prefill was given, not from None.",
)
def prefill(model, ids, chunk_size, cache=None):
    cache = None
    for chunk in ids.split(chunk_size, dim=1):
        logits, cache = model(chunk, cache)
    return logits[:, -1], cache


def _written(cache, k, v):
    end = cache.length + k.shape[2]
    if end > cache.keys.shape[2]:
        raise ValueError
    cache.keys[:, :, cache.length : end], cache.values[:, :, cache.length : end] = k, v
    cache.length = end
    return cache.keys[:, :, :end], cache.values[:, :, :end]


@mistake(
    "buffers_made_anew",
    replaces="StaticKV.append",
    caught_by="test_append_copies_no_more_than_the_new",
    advice="The whole buffer is copied for one token. Write into it: self.keys[:, :, start:end] = k.",
)
def append(self, k, v):
    self.keys, self.values = self.keys.clone(), self.values.clone()
    return _written(self, k.detach(), v.detach())


@mistake(
    "graph_in_the_buffer",
    replaces="StaticKV.append",
    caught_by="test_append_writes_behind",
    advice="Outside no_grad the buffer becomes part of a graph that grows at every step: store k.detach(), v.detach().",
)
def append(self, k, v):
    return _written(self, k, v)


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
