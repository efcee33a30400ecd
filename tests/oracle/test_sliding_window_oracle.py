"""The sliding-window kata's reference against transformers' Mistral and torch's FlexAttention.

Mistral of transformers is no oracle at W = 1 with a cache: its cache keeps everything there (a slice from −0).
"""

from types import ModuleType
from typing import Any

import pytest
import torch
from references import reference

pytestmark = pytest.mark.oracle

SIZES = {"vocab_size": 61, "d_model": 32, "n_heads": 4, "n_kv_heads": 2, "n_layers": 3}
# Mistral computes its angles in float32.
CLOSE = {"rtol": 1e-5, "atol": 1e-5}
EXACT = {"rtol": 1e-10, "atol": 1e-10}


@pytest.fixture(scope="module")
def sw() -> ModuleType:
    return reference("sliding-window")


def pair_of_models(sw: ModuleType, window: int) -> tuple[Any, Any]:
    """Ours and Mistral with equal weights: its norms and MLPs are replaced by ours, its attention, mask and cache stay.

    Mistral pairs the channels i and i + hd/2 of a head, we 2i and 2i + 1: the rows of q_proj and k_proj are permuted.
    """
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    ours = sw.WindowGPT(**SIZES, window=window).double()
    config = transformers.MistralConfig(
        vocab_size=61, hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, sliding_window=window, max_position_embeddings=256,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        bos_token_id=0, eos_token_id=None, pad_token_id=0, tie_word_embeddings=False,
    )  # fmt: skip
    theirs = transformers.MistralForCausalLM._from_config(config, attn_implementation="eager").double().eval()
    theirs.model.embed_tokens.weight = ours.embed.weight
    theirs.lm_head.weight = ours.head.weight
    theirs.model.norm = ours.norm
    for block, layer in zip(ours.blocks, theirs.model.layers, strict=True):
        layer.input_layernorm, layer.post_attention_layernorm, layer.mlp = block.norm_1, block.norm_2, block.mlp
        layer.self_attn.v_proj, layer.self_attn.o_proj = block.attn.v_proj, block.attn.o_proj
        for name in ("q_proj", "k_proj"):
            rows = getattr(block.attn, name).weight.detach().unflatten(0, (-1, 8))
            split = torch.cat([rows[:, ::2], rows[:, 1::2]], dim=1).flatten(0, 1)
            getattr(layer.self_attn, name).weight = torch.nn.Parameter(split)
    return ours, theirs


@pytest.fixture
def ids() -> torch.Tensor:
    return torch.randint(0, 61, (2, 23), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("window", [1, 2, 5, 22, 23, 40])
@torch.no_grad()
def test_logits_equal_mistral(sw, ids, window):
    ours, theirs = pair_of_models(sw, window)
    torch.testing.assert_close(ours(ids), theirs(ids).logits, **CLOSE)


@torch.no_grad()
def test_a_window_of_one_more_or_less_is_another_model(sw, ids):
    ours, theirs = pair_of_models(sw, 5)
    for window in (4, 6):
        other = sw.WindowGPT(**SIZES, window=window).double()
        other.load_state_dict(ours.state_dict())
        assert (other(ids) - theirs(ids).logits).abs().max() > 1e-2


@pytest.mark.parametrize("window", [2, 5, 40])
@torch.no_grad()
def test_decoding_equals_mistral_with_its_cache(sw, ids, window):
    transformers = pytest.importorskip("transformers")
    ours, theirs = pair_of_models(sw, window)
    cache, other = ours.new_cache(2), transformers.DynamicCache(config=theirs.config)
    for piece in ids.split([9] + [1] * 14, dim=1):
        want = theirs(piece, past_key_values=other, use_cache=True).logits
        torch.testing.assert_close(ours(piece, cache), want, **CLOSE)
    assert cache[0].keys.shape[2] == other.layers[0].keys.shape[2] == min(window - 1, 23)
    assert cache[0].seen == other.get_seq_length() == 23
    torch.testing.assert_close(cache[2].values, other.layers[2].values, **CLOSE)


@pytest.mark.parametrize("length", [3, 5, 6, 17])
def test_greedy_tokens_equal_mistral(sw, ids, length):
    ours, theirs = pair_of_models(sw, 5)
    prompt = ids[:, :length]
    want = theirs.generate(prompt, max_new_tokens=20, do_sample=False, attention_mask=torch.ones_like(prompt))
    for kwargs in ({}, {"use_cache": False}, {"chunk_size": 4}):
        assert torch.equal(sw.generate(ours, prompt, 20, **kwargs), want)


@pytest.mark.parametrize(
    ("kind", "window", "sinks"),
    [("rolling", 1, 0), ("rolling", 3, 0), ("rolling", 4, 2), ("rolling", 50, 0), ("ring", 1, 0), ("ring", 4, 0)],
)
@torch.no_grad()
def test_any_pieces_equal_one_call(sw, ids, kind, window, sinks):
    torch.manual_seed(2)
    model = sw.WindowGPT(**SIZES, window=window, n_sinks=sinks).double()
    want = model(ids)
    for lengths in ([1] * 23, [3, 9, 1, 10], [23], [11, 12]):
        cache = model.new_cache(2)
        if kind == "ring":
            cache = [sw.RingKVCache(window, 2, 2, 8, torch.float64) for _ in cache]
        got = torch.cat([model(piece, cache) for piece in ids.split(lengths, dim=1)], dim=1)
        torch.testing.assert_close(got, want, **EXACT)


@torch.no_grad()
def test_storage_is_as_large_as_what_it_holds(sw):
    cache = sw.RollingKVCache(5, 1, 2, 8)
    for length in (1000, 1, 100):
        cache.append(torch.randn(1, 2, length, 8), torch.randn(1, 2, length, 8))
        assert cache.keys.untyped_storage().nbytes() == cache.values.untyped_storage().nbytes() == 2 * 4 * 8 * 4


@torch.no_grad()
def test_receptive_field_is_layers_times_window_less_one(sw, ids):
    model = sw.WindowGPT(**SIZES, window=5).double()
    before = model(ids)[:, -1]
    reach = []
    for position in range(23):
        changed = ids.clone()
        changed[:, position] = (changed[:, position] + 1) % 61
        if not torch.equal(model(changed)[:, -1], before):
            reach.append(position)
    assert reach == list(range(10, 23))


def test_mask_equals_that_of_flex_attention(sw):
    flex = pytest.importorskip("torch.nn.attention.flex_attention")
    queries, keys = torch.arange(16), torch.arange(19)
    for window, sinks in ((1, 0), (4, 0), (3, 2)):

        def visible(_b, _h, i, j, window=window, sinks=sinks):
            return (j <= i) & ((i - j < window) | (j < sinks))

        want = flex.create_mask(visible, 1, 1, 16, 19, device="cpu")[0, 0]
        assert torch.equal(sw.sliding_window_mask(queries, keys, window, sinks), want)


def test_rotation_is_the_one_of_gptj(sw):
    """transformers' GPT-J turns neighbouring channels too."""
    gptj = pytest.importorskip("transformers.models.gptj.modeling_gptj")
    x = torch.randn(2, 3, 11, 8, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    positions = torch.arange(7, 18)
    sin, cos = gptj.create_sinusoidal_positions(32, 8)[positions][None].double().chunk(2, dim=-1)
    want = gptj.apply_rotary_pos_emb(x.transpose(1, 2), sin, cos).transpose(1, 2)
    torch.testing.assert_close(sw.rotate(x, positions), want, rtol=1e-5, atol=1e-5)
