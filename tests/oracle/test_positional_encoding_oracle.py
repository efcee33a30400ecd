"""The positional-encoding kata's reference against transformers' tables and rotations, and against identities."""

from types import ModuleType

import pytest
import torch
from references import reference
from torch import Tensor

pytestmark = pytest.mark.oracle

B, H, T, HD = 2, 3, 7, 8


@pytest.fixture(scope="module")
def kata() -> ModuleType:
    return reference("positional-encoding")


@pytest.fixture(scope="module")
def llama() -> ModuleType:
    pytest.importorskip("transformers")
    from transformers.models.llama import modeling_llama

    return modeling_llama


def normals(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def llama_tables(llama: ModuleType, positions: Tensor, scaling: dict[str, object], head_dim: int = HD):
    """Hugging Face's cos and sin, [B, T, hd]: each half of the columns holds all pairs."""
    from transformers import LlamaConfig

    config = LlamaConfig(
        hidden_size=H * head_dim, num_attention_heads=H, rope_parameters={"rope_theta": 500.0} | scaling
    )
    return llama.LlamaRotaryEmbedding(config)(normals(1, dtype=torch.float32), positions)


@pytest.mark.parametrize("start", [0, 100, 4000])
def test_rope_equals_llama_s(kata, llama, start):
    positions = start + torch.arange(B * T).view(B, T)
    q, k = normals(2, B, H, T, HD, dtype=torch.float32)
    cos, sin = llama_tables(llama, positions, {"rope_type": "default"})
    want = llama.apply_rotary_pos_emb(q, k, cos, sin)
    tables = kata.rope_cos_sin(positions, HD, 500.0)
    rounding = 1e-6 + 2.0**-24 * start  # of an angle, which both compute in float32
    torch.testing.assert_close(tables, (cos[..., : HD // 2], sin[..., : HD // 2]), rtol=0, atol=4 * rounding)
    for got, wanted in zip((kata.apply_rope(q, *tables), kata.apply_rope(k, *tables)), want, strict=True):
        torch.testing.assert_close(got, wanted, rtol=0, atol=20 * rounding)


def test_linear_scaling_equals_llama_s(kata, llama):
    positions = torch.arange(64)[None]
    cos, sin = llama_tables(llama, positions, {"rope_type": "linear", "factor": 4.0})
    got = kata.scaled_cos_sin(positions, HD, 4.0, 500.0)
    torch.testing.assert_close(got, (cos[..., : HD // 2], sin[..., : HD // 2]), rtol=0, atol=1e-5)


def test_interleaved_rope_equals_gptj_s_and_complex_multiplication(kata):
    gptj = pytest.importorskip("transformers.models.gptj.modeling_gptj")
    x = normals(B, H, T, HD, dtype=torch.float32)
    cos, sin = kata.rope_cos_sin(torch.arange(T), HD)
    got = kata.to_interleaved(kata.apply_rope(kata.to_half_split(x), cos, sin))
    table = gptj.create_sinusoidal_positions(T, HD).expand(B, T, HD)  # (sines | cosines)
    sines, cosines = table.chunk(2, dim=-1)
    want = gptj.apply_rotary_pos_emb(x.transpose(1, 2), sines, cosines).transpose(1, 2)
    torch.testing.assert_close(got, want)
    complex_form = torch.view_as_complex(x.unflatten(-1, (-1, 2))) * torch.complex(cos, sin)
    torch.testing.assert_close(got, torch.view_as_real(complex_form).flatten(-2))


@pytest.mark.parametrize("d", [6, 16, 64])
def test_sinusoidal_table_equals_distilbert_s(kata, d):
    distilbert = pytest.importorskip("transformers.models.distilbert.modeling_distilbert")
    table = torch.empty(50, d)
    distilbert.create_sinusoidal_embeddings(50, d, table)
    torch.testing.assert_close(kata.sinusoidal_positions(50, d), table, rtol=0, atol=1e-5)


def test_sinusoidal_rows_have_one_length_and_know_distances_alone(kata):
    table = kata.sinusoidal_positions(60, 32).double()
    gram = table @ table.T
    torch.testing.assert_close(gram.diagonal(), torch.full((60,), 16.0, dtype=torch.float64), rtol=0, atol=1e-4)
    for distance in (1, 7, 31):
        values = gram.diagonal(distance)
        assert values.max() - values.min() < 1e-4


def test_scores_depend_on_the_distance_and_do_depend_on_it(kata):
    q, k = normals(2, 1, 1, 1, HD, dtype=torch.float32)

    def score(m: int, n: int) -> float:
        turned = (
            kata.apply_rope(x, *kata.rope_cos_sin(torch.tensor([at]), HD)).squeeze() for x, at in ((q, m), (k, n))
        )
        return float(torch.dot(*turned))

    assert score(3, 11) == pytest.approx(score(40, 48), abs=1e-4)
    assert abs(score(3, 11) - score(3, 12)) > 1e-2
    assert score(0, 0) == pytest.approx(float((q * k).sum()), abs=1e-6)


def test_decoding_with_a_cache_equals_the_full_pass(kata):
    q, k, v = normals(3, B, H, T, HD)
    at = torch.arange(T)
    full = kata.rope_attention(q, k, v, at, at, mask=at[:, None] >= at)
    for t in range(T):
        step = kata.rope_attention(q[:, :, t : t + 1], k[:, :, : t + 1], v[:, :, : t + 1], at[t : t + 1], at[: t + 1])
        torch.testing.assert_close(step[:, :, 0], full[:, :, t])


def test_left_padding_changes_nothing(kata):
    q, k, v = normals(3, 1, H, T, HD)
    at = torch.arange(T)
    mask = torch.cat((torch.zeros(1, 3, dtype=torch.bool), torch.ones(1, T, dtype=torch.bool)), dim=1)
    positions = kata.positions_from_mask(mask)
    padded = (torch.cat((normals(1, H, 3, HD, seed=1), x), dim=2) for x in (q, k, v))
    got = kata.rope_attention(*padded, positions, positions, mask=mask[:, None, None])
    torch.testing.assert_close(got[:, :, 3:], kata.rope_attention(q, k, v, at, at))


def test_converted_projections_give_the_same_scores(kata):
    x, (w_q, w_k) = normals(B, T, 12), normals(2, H * HD, 12, seed=1)
    tables = kata.rope_cos_sin(torch.arange(T), HD)

    def scores(w_q: Tensor, w_k: Tensor, turn) -> Tensor:
        q, k = (turn((x @ w.T).unflatten(-1, (H, HD)).transpose(1, 2)) for w in (w_q, w_k))
        return q @ k.mT

    def interleaved(x: Tensor) -> Tensor:
        pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
        return torch.view_as_real(pairs * torch.complex(*tables)).flatten(-2)

    converted = (kata.projection_to_half_split(w, H) for w in (w_q, w_k))
    torch.testing.assert_close(scores(*converted, lambda x: kata.apply_rope(x, *tables)), scores(w_q, w_k, interleaved))


def test_a_projection_is_permuted_as_in_the_conversion_of_llama(kata):
    """`permute` of transformers' convert_llama_weights_to_hf.py."""
    w = normals(H * HD, 12)
    want = w.view(H, HD // 2, 2, 12).transpose(1, 2).reshape(H * HD, 12)
    torch.testing.assert_close(kata.projection_to_half_split(w, H), want, rtol=0, atol=0)


@pytest.mark.parametrize("t", [0.3, 1.0, 4.0])
def test_temperature_equals_transformers_warper(kata, t):
    warpers = pytest.importorskip("transformers.generation.logits_process")
    logits = normals(5, 11)
    want = warpers.TemperatureLogitsWarper(t)(torch.zeros(5, 1, dtype=torch.int64), logits).softmax(-1)
    torch.testing.assert_close(kata.temperature_probs(logits, t), want)


def test_bfloat16_angles_are_off_by_more_than_one(kata):
    """The figures of the debrief: at position 4095 float32 loses 1e-4, bfloat16 a whole direction."""
    exponents = torch.arange(0, 128, 2, dtype=torch.float64) / 128
    exact = (4095 * 10000.0**-exponents).cos()
    cos, _ = kata.rope_cos_sin(torch.tensor([4095]), 128)
    assert (cos[0] - exact).abs().max() < 5e-4
    rough = (torch.tensor(4095, dtype=torch.bfloat16) * (10000.0**-exponents).to(torch.bfloat16)).double().cos()
    assert (rough - exact).abs().max() > 1.6
