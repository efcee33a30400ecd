"""Known wrong solutions. Each runs in a copy of the reference's namespace, and may use its names."""

import torch
import torch.nn.functional as F  # noqa: N812 — its usual name

from grader.checking import mistake


@mistake(
    "one_key_too_many",
    replaces="sliding_window_mask",
    caught_by="test_mask_is_a_band",
    advice="W keys and one more: the window counts the query's own position, so key j is seen for i − j < W, not ≤ W.",
)
def sliding_window_mask(q_pos, k_pos, window, n_sinks=0):
    if window < 1:
        raise ValueError
    back = q_pos[:, None] - k_pos
    return (back >= 0) & ((back <= window) | (k_pos < n_sinks))


@mistake(
    "window_of_nothing",
    replaces="sliding_window_mask",
    caught_by="test_mask_at_its_edges",
    advice="A window below 1 hides a token from itself, and softmax over nothing is NaN: raise ValueError.",
)
def sliding_window_mask(q_pos, k_pos, window, n_sinks=0):
    back = q_pos[:, None] - k_pos
    return (back >= 0) & ((back < window) | (k_pos < n_sinks))


def _attention(layer, x, cache, *, start=None, turn=(True, True, False), share=None, mask=None, late=False, scale=None):
    """WindowedAttention.forward, with something wrong: where it starts, what it rotates, how heads share, the mask."""
    start = (0 if cache is None else cache.seen) if start is None else start
    q_pos = torch.arange(start, start + x.shape[1])
    parts = (layer._split(project(x)) for project in (layer.q_proj, layer.k_proj, layer.v_proj))
    q, k, v = (rotate(part, q_pos) if turned else part for part, turned in zip(parts, turn, strict=True))
    keys, values, k_pos = (k, v, q_pos) if cache is None else cache.append(k, v)
    keys = rotate(keys, k_pos) if late else keys
    keys = scale(keys) if scale else keys
    visible = (mask or sliding_window_mask)(q_pos, k_pos, layer.window, layer.n_sinks)
    group = layer.n_heads // layer.n_kv_heads
    share = share or (lambda part: part.repeat_interleave(group, dim=1))
    y = F.scaled_dot_product_attention(q, share(keys), share(values), attn_mask=visible, scale=1.0 if scale else None)
    return layer.o_proj(y.transpose(1, 2).flatten(2))


@mistake(
    "no_window_without_a_cache",
    replaces="WindowedAttention.forward",
    caught_by="test_attention_without_a_cache",
    advice="Without a cache every earlier key is seen. The window holds in training as well: use the mask there too.",
)
def forward(self, x, cache=None):
    return _attention(self, x, cache, mask=None if cache else lambda q, k, *_: q[:, None] >= k)


@mistake(
    "heads_take_turns",
    replaces="WindowedAttention.forward",
    caught_by="test_attention_without_a_cache",
    advice="Neighbouring query heads share a key head, h // (H/G): repeat_interleave. (repeat gives h mod G.)",
)
def forward(self, x, cache=None):
    group = self.n_heads // self.n_kv_heads
    return _attention(self, x, cache, share=lambda part: part.repeat(1, group, 1, 1))


@mistake(
    "hidden_by_minus_ten_thousand",
    replaces="WindowedAttention.forward",
    caught_by="test_large_scores",
    advice="A fill of −1e4 is no match for true scores of ±1e4, and hidden keys are seen: take −∞, or a bool mask.",
)
def forward(self, x, cache=None):
    return _attention(self, x, cache, mask=lambda *args: -1e4 * (~sliding_window_mask(*args)).to(x.dtype))


@mistake(
    "keys_scaled_in_place",
    replaces="WindowedAttention.forward",
    caught_by="test_model_takes_rings",
    advice="The keys that append returns may be views of the cache, and you scale them in place: scale the queries.",
)
def forward(self, x, cache=None):
    return _attention(self, x, cache, scale=lambda keys: keys.mul_(self.head_dim**-0.5))


@mistake(
    "mask_over_all_seen",
    replaces="WindowedAttention.forward",
    caught_by="test_chunks_bound_the_memory",
    advice="A mask over all positions seen so far is made and indexed: make it of the positions that append returns.",
)
def forward(self, x, cache=None):
    def indexed(q_pos, k_pos, window, n_sinks):
        return sliding_window_mask(q_pos, torch.arange(int(k_pos.max()) + 1), window, n_sinks)[:, k_pos]

    return _attention(self, x, cache, mask=indexed)


@mistake(
    "sinks_not_handed_on",
    replaces="WindowedAttention.forward",
    caught_by="test_model_with_sinks",
    advice="Attention makes its mask without n_sinks, so nobody sees the sinks that the cache keeps: hand them on.",
)
def forward(self, x, cache=None):
    return _attention(self, x, cache, mask=lambda q_pos, k_pos, window, _: sliding_window_mask(q_pos, k_pos, window))


@mistake(
    "positions_in_the_buffer",
    replaces="WindowedAttention.forward",
    caught_by="test_keys_are_cached_rotated",
    advice="Once tokens are forgotten their number is no position: count all that were seen, not those that are kept.",
)
def forward(self, x, cache=None):
    return _attention(self, x, cache, start=min(cache.seen, self.window - 1) if cache else 0)


@mistake(
    "rotated_after_the_cache",
    replaces="WindowedAttention.forward",
    caught_by="test_keys_are_cached_rotated",
    advice="The cache gets unrotated keys, which are rotated anew at each step: rotate first, then append.",
)
def forward(self, x, cache=None):
    return _attention(self, x, cache, turn=(True, cache is None, False), late=cache is not None)


@mistake(
    "mask_from_the_order",
    replaces="WindowedAttention.forward",
    caught_by="test_visible_is_what_the_positions_say",
    advice="The mask takes keys to be in order, the newest last. Use the positions that append returns.",
)
def forward(self, x, cache=None):
    def in_order(q_pos, k_pos, window, n_sinks):
        last = int(q_pos[-1])
        return sliding_window_mask(q_pos, torch.arange(last + 1 - len(k_pos), last + 1), window, n_sinks)

    return _attention(self, x, cache, mask=in_order)


@mistake(
    "mask_remembered",
    replaces="WindowedAttention.forward",
    caught_by="test_visible_is_what_the_positions_say",
    advice="A mask is kept on the module and used for the next text, whose keys stand elsewhere: make it in each call.",
)
def forward(self, x, cache=None):
    def remembered(q_pos, k_pos, window, n_sinks):
        sizes = int(q_pos[0]), len(q_pos), len(k_pos)
        self.masks = getattr(self, "masks", {})
        return self.masks.setdefault(sizes, sliding_window_mask(q_pos, k_pos, window, n_sinks))

    return _attention(self, x, cache, mask=remembered)


def _rolled(cache, k, v, *, before=None, keep=None, after=None, part=lambda kept: kept.detach().clone()):
    """RollingKVCache.append, that forgets all but `before` tokens first and all but `keep` afterwards."""
    keep = cache.window - 1 if keep is None else keep
    new = torch.arange(cache.seen, cache.seen + k.shape[2])
    all_of = torch.cat([cache.keys, k], 2), torch.cat([cache.values, v], 2), torch.cat([cache.positions, new])
    if before is not None:
        all_of = all_of[0][:, :, -before:], all_of[1][:, :, -before:], all_of[2][-before:]
    first = max(len(all_of[2]) - keep, 0) if after is None else after
    cache.keys, cache.values = (part(whole[:, :, first:]) for whole in all_of[:2])
    cache.positions = all_of[2][first:].clone()
    cache.seen += k.shape[2]
    return all_of


@mistake(
    "forgets_before",
    replaces="RollingKVCache.append",
    caught_by="test_append_returns_kept_and_new",
    advice="A prompt longer than W is cut before its tokens have attended to each other. Forget afterwards.",
)
def append(self, k, v):
    return _rolled(self, k, v, before=self.window)


@mistake(
    "whole_window_kept",
    replaces="RollingKVCache.append",
    caught_by="test_last_tokens_are_kept",
    advice="W tokens are kept, and the next one sees W − 1 of them, as it counts itself: keep W − 1.",
)
def append(self, k, v):
    return _rolled(self, k, v, keep=self.window)


@mistake(
    "forgotten_in_the_next_call",
    replaces="RollingKVCache.append",
    caught_by="test_last_tokens_are_kept",
    advice="Old tokens are let go when the next call begins, and until then a whole prompt is kept: forget at the end.",
)
def append(self, k, v):
    first = max(len(self.positions) - self.window + 1, 0)
    self.keys, self.values, self.positions = self.keys[:, :, first:], self.values[:, :, first:], self.positions[first:]
    return _rolled(self, k, v, after=0)


@mistake(
    "minus_zero",
    replaces="RollingKVCache.append",
    caught_by="test_window_of_one_keeps_nothing",
    advice="For W = 1 the slice [-(W - 1):] is [0:], which is everything: compute where it starts, len − (W − 1).",
)
def append(self, k, v):
    return _rolled(
        self, k, v, after=max(len(self.positions) + k.shape[2] - self.window + 1, 0) if self.window > 1 else 0
    )


@mistake(
    "contiguous_is_no_copy",
    replaces="RollingKVCache.append",
    caught_by="test_prompts_are_let_go",
    advice="For one row and one head the slice is contiguous already, and contiguous() gives it back: clone() it.",
)
def append(self, k, v):
    return _rolled(self, k, v, part=lambda kept: kept.detach().contiguous())


@mistake(
    "graph_kept",
    replaces="RollingKVCache.append",
    caught_by="test_what_is_kept_is_detached",
    advice="What is kept hangs on the graph of every call before, and that on all their tensors: detach it.",
)
def append(self, k, v):
    return _rolled(self, k, v, part=lambda kept: kept.clone())


@mistake(
    "result_detached",
    replaces="RollingKVCache.append",
    caught_by="test_what_is_kept_is_detached",
    advice="Detach what you keep, not what you return: the new keys and values carry gradients in this call.",
)
def append(self, k, v):
    return _rolled(self, k.detach(), v.detach())


@mistake(
    "norm_after",
    replaces="Block.forward",
    caught_by="test_logits_without_a_cache",
    advice="The norms stand before attention and MLP, inside the residual branch: x + attn(norm_1(x)).",
)
def forward(self, x, cache=None):
    x = self.norm_1(x + self.attn(x, cache))
    return self.norm_2(x + self.mlp(x))


@mistake(
    "one_cache_for_all_layers",
    replaces="WindowGPT.forward",
    caught_by="test_any_pieces_as_in_one_call",
    advice="Every layer appends to the first layer's cache: give each block its own, cache[0] … cache[L − 1].",
)
def forward(self, ids, cache=None):
    x = self.embed(ids)
    for block in self.blocks:
        x = block(x, cache and cache[0])
    return self.head(self.norm(x))


def _generated(model, ids, count, use_cache=True, chunk_size=None, **wrong):
    """generate, with something wrong: what is fed, the graph, the chunks."""
    if ids.shape[1] == 0 or count < 0 or (chunk_size is not None and chunk_size < 1):
        raise ValueError
    cache, fresh = model.new_cache(len(ids)) if use_cache else None, ids
    with torch.set_grad_enabled(wrong.get("graph", False)):
        for _ in range(count):
            pieces = fresh.split(chunk_size or ids.shape[1], dim=1) if use_cache else [ids]
            for piece in wrong.get("pieces", lambda pieces: pieces)(pieces):
                logits = model(piece, cache)
            fresh = logits[:, -1].argmax(dim=-1, keepdim=True)
            ids = torch.cat([ids, fresh], dim=1)
            fresh = ids if wrong.get("again") else fresh
    return ids


@mistake(
    "everything_fed_again",
    replaces="generate",
    caught_by="test_every_token_is_fed_once",
    advice="The whole sequence is fed at every step, though the cache has seen it: feed the new token alone.",
)
def generate(*args, **kwargs):
    return _generated(*args, **kwargs, again=True)


@mistake(
    "mode_changed",
    replaces="generate",
    caught_by="test_every_token_is_fed_once",
    advice="generate calls model.eval(), and leaves it so: whether it is training is the caller's matter.",
)
def generate(model, *args, **kwargs):
    return _generated(model.eval(), *args, **kwargs)


@mistake(
    "graph_in_generate",
    replaces="generate",
    caught_by="test_no_graph_and_nothing_to_do",
    advice="The model builds a graph at every step: generate under torch.no_grad().",
)
def generate(*args, **kwargs):
    return _generated(*args, **kwargs, graph=True)


@mistake(
    "last_chunk_only",
    replaces="generate",
    caught_by="test_prompts_are_fed_in_chunks",
    advice="Only the last chunk is fed. All are needed: the cache has to see each token.",
)
def generate(*args, **kwargs):
    return _generated(*args, **kwargs, pieces=lambda pieces: pieces[-1:])


def _in_slots(ring, k, v):
    """Write to the ring, then return what is in it."""
    new = torch.arange(ring.seen, ring.seen + k.shape[2])
    for i, slot in enumerate((new % ring.window).tolist()):
        ring.keys[:, :, slot], ring.values[:, :, slot] = k[:, :, i].detach(), v[:, :, i].detach()
    ring.seen += k.shape[2]
    filled = min(ring.seen, ring.window)
    return ring.keys[:, :, :filled], ring.values[:, :, :filled], ring._positions(filled, k.device)


@mistake(
    "ring_read_after_writing",
    replaces="RingKVCache.append",
    caught_by="test_ring_writes_to_slots",
    advice="The last new tokens overwrite what the first of them still see: for T > 1 read the ring before you write.",
)
def append(self, k, v):
    return _in_slots(self, k, v)


@mistake(
    "empty_slots_returned",
    replaces="RingKVCache._positions",
    caught_by="test_ring_writes_to_slots",
    advice="The positions are taken for ascending. After the first round slot s holds the newest p with p mod W = s.",
)
def _positions(self, filled, device):
    return torch.arange(self.seen - filled, self.seen)


@mistake(
    "ring_made_anew",
    replaces="RingKVCache.append",
    caught_by="test_ring_copies_only_the_new_token",
    advice="roll or cat copies the whole buffer for one token: write to slot seen % W, and return views.",
)
def append(self, k, v):
    self.keys, self.values = self.keys.clone(), self.values.clone()
    filled, new = min(self.seen, self.window), torch.arange(self.seen, self.seen + k.shape[2])
    old = self.keys[:, :, :filled].clone(), self.values[:, :, :filled].clone(), self._positions(filled, k.device)
    written = _in_slots(self, k, v)
    if k.shape[2] == 1:
        return written
    return torch.cat([old[0], k], 2), torch.cat([old[1], v], 2), torch.cat([old[2], new])


@mistake(
    "sinks_from_the_future",
    replaces="sliding_window_mask",
    caught_by="test_mask_shows_sinks",
    advice="A sink is seen by the queries at or behind it, not by those before: j ≤ i holds for sinks as well.",
)
def sliding_window_mask(q_pos, k_pos, window, n_sinks=0):
    if window < 1:
        raise ValueError
    back = q_pos[:, None] - k_pos
    return ((back >= 0) & (back < window)) | (k_pos < n_sinks)


@mistake(
    "sinks_forgotten",
    replaces="RollingKVCache.append",
    caught_by="test_cache_keeps_sinks",
    advice="The cache lets the sinks go with the rest: keep the positions below n_sinks beside the last W − 1.",
)
def append(self, k, v):
    return _rolled(self, k, v)
