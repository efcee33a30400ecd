"""The modern transformer's reference against Hugging Face's rope, LLaMA and logits warpers, and torch's schedulers."""

from types import ModuleType

import pytest
import torch
from references import reference
from torch import nn

pytestmark = pytest.mark.oracle


@pytest.fixture(scope="module")
def gpt() -> ModuleType:
    return reference("modern-transformer")


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_rope_equals_gptj(gpt, generator):
    gptj = pytest.importorskip("transformers.models.gptj.modeling_gptj")
    x = torch.randn(2, 3, 7, 8, generator=generator)
    sin, cos = gptj.create_sinusoidal_positions(7, 8).chunk(2, dim=-1)
    want = gptj.apply_rotary_pos_emb(x.transpose(1, 2), sin[None], cos[None]).transpose(1, 2)
    torch.testing.assert_close(gpt.rope(x), want)


def halves(weight: torch.Tensor, n_heads: int) -> torch.Tensor:
    """Rows of q or k for a rope that pairs i and i + dh/2, out of rows for one that pairs neighbours."""
    return weight.view(n_heads, -1, 2, weight.shape[-1]).transpose(1, 2).reshape(weight.shape)


def test_model_equals_llama(gpt, generator):
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=11,
        hidden_size=12,
        intermediate_size=36,
        num_hidden_layers=2,
        num_attention_heads=3,
        num_key_value_heads=3,
        rms_norm_eps=1e-6,
        tie_word_embeddings=False,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    )
    ours, theirs = gpt.Transformer(11, 12, 3, 2).double(), transformers.LlamaForCausalLM(config).double().eval()
    for weight in ours.parameters():
        weight.data += 0.3 * torch.randn(weight.shape, generator=generator, dtype=torch.float64)
    own = ours.state_dict()
    weights = {"model.embed_tokens.weight": own["tokens.weight"], "model.norm.weight": own["norm.weight"]}
    weights["lm_head.weight"] = own["head.weight"]
    pairs = {"self_attn.o_proj": "out", "mlp.gate_proj": "gate", "mlp.up_proj": "up", "mlp.down_proj": "down"}
    pairs |= {"input_layernorm": "norm1", "post_attention_layernorm": "norm2"}
    for layer in range(2):
        mine, yours = f"blocks.{layer}.", f"model.layers.{layer}."
        q, k, v = own[f"{mine}qkv.weight"].chunk(3)
        projected = {"q_proj": halves(q, 3), "k_proj": halves(k, 3), "v_proj": v}
        weights |= {f"{yours}self_attn.{name}.weight": weight for name, weight in projected.items()}
        weights |= {f"{yours}{a}.weight": own[f"{mine}{b}.weight"] for a, b in pairs.items()}
    theirs.load_state_dict(weights)
    ids = torch.randint(11, (3, 9), generator=generator)
    # Its norms and its angles are computed in float32.
    torch.testing.assert_close(ours(ids), theirs(ids).logits, rtol=1e-5, atol=1e-5)


def test_filters_equal_the_warpers(gpt, generator):
    process = pytest.importorskip("transformers.generation.logits_process")
    for _ in range(300):
        logits = 2 * torch.randn(5, 17, generator=generator, dtype=torch.float64)
        t, p = (float(torch.rand((), generator=generator)) * 0.9 + 0.05 for _ in range(2))
        k = int(torch.randint(1, 25, (), generator=generator))
        warm = process.TemperatureLogitsWarper(t)(None, logits)
        torch.testing.assert_close(gpt.temperature(logits, t), warm)
        few = process.TopKLogitsWarper(k)(None, warm)
        assert torch.equal(gpt.top_k_filter(warm, k), few)
        assert torch.equal(gpt.top_p_filter(few, p), process.TopPLogitsWarper(p)(None, few))


def test_ties_at_k_are_all_kept_as_by_the_warper(gpt):
    process = pytest.importorskip("transformers.generation.logits_process")
    logits = torch.tensor([[1.0, 3.0, 2.0, 2.0, 2.0], [0.0, 0.0, 0.0, 0.0, 0.0]])
    assert torch.equal(gpt.top_k_filter(logits, 2), process.TopKLogitsWarper(2)(None, logits))


def test_schedule_equals_linear_and_cosine_schedulers(gpt):
    steps, lr, warmup = 12, 0.3, 4
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr)
    rise = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1 / warmup, total_iters=warmup - 1)
    rates = []
    for _ in range(warmup):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        rise.step()
    optimizer.param_groups[0]["lr"] = lr
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps - 1 - warmup, eta_min=0.1 * lr)
    for _ in range(steps - warmup):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        fall.step()
    assert [gpt.lr_at(step, steps, lr, warmup) for step in range(steps)] == pytest.approx(rates)


def test_block_without_rope_position_equals_an_encoder_layer(gpt, generator):
    """One position has nothing to rotate: torch's own pre-norm layer with norms and feed-forward of ours put in."""
    ours = gpt.PreNormBlock(8, 2).double()
    theirs = nn.TransformerEncoderLayer(8, 2, 24, 0.0, norm_first=True, batch_first=True, bias=False).double()
    theirs.norm1, theirs.norm2 = ours.norm1, ours.norm2
    theirs.self_attn.in_proj_weight.data = ours.qkv.weight.data
    theirs.self_attn.out_proj.weight.data = ours.out.weight.data
    theirs._ff_block = lambda h: ours.down(nn.functional.silu(ours.gate(h)) * ours.up(h))
    x = torch.randn(3, 1, 8, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x))
