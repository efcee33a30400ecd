"""The causal transformer's reference against torch's own attention, encoder layer, cross-entropy and AdamW."""

import math
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 — its usual name
from references import reference
from torch import nn

pytestmark = pytest.mark.oracle


@pytest.fixture(scope="module")
def gpt() -> ModuleType:
    return reference("causal-transformer")


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def shaken(module: nn.Module, generator: torch.Generator) -> nn.Module:
    """The module in float64 with random biases and norms too."""
    module.double()
    for weight in module.parameters():
        weight.data += 0.3 * torch.randn(weight.shape, generator=generator, dtype=torch.float64)
    return module


def test_attention_equals_torch_with_every_mask(gpt, generator):
    q, k, v = (torch.randn(2, 3, t, c, generator=generator, dtype=torch.float64) for t, c in ((5, 4), (7, 4), (7, 6)))
    for shape in ((5, 7), (7,), (3, 1, 7), (2, 1, 1, 7)):
        mask = torch.rand(shape, generator=generator) < 0.6
        mask[..., 0] = True
        out, weights = gpt.scaled_dot_product_attention(q, k, v, mask)
        want = F.scaled_dot_product_attention(q, k, v, mask.expand(2, 3, 5, 7))
        torch.testing.assert_close(out, want)
        torch.testing.assert_close(weights @ v, want)
    out, _ = gpt.scaled_dot_product_attention(q, k, v)
    torch.testing.assert_close(out, F.scaled_dot_product_attention(q, k, v))


def test_a_row_without_keys_is_zero_as_in_torch(gpt, generator):
    q, k, v = torch.randn(3, 1, 2, 4, 4, generator=generator, dtype=torch.float64)
    mask = torch.tensor([True, False, True, False])[:, None].expand(4, 4)
    out, weights = gpt.scaled_dot_product_attention(q.requires_grad_(), k, v, mask)
    torch.testing.assert_close(out, F.scaled_dot_product_attention(q, k, v, mask))
    weights[:, :, 1].sum().backward()
    assert torch.equal(q.grad, torch.zeros_like(q))


def test_heads_equal_multihead_attention(gpt, generator):
    ours, theirs = gpt.MultiHeadAttention(12, 3), nn.MultiheadAttention(12, 3, batch_first=True).double()
    shaken(ours, generator)
    theirs.in_proj_weight.data, theirs.in_proj_bias.data = ours.qkv.weight.data, ours.qkv.bias.data
    theirs.out_proj.load_state_dict(ours.out.state_dict())
    x = torch.randn(2, 7, 12, generator=generator, dtype=torch.float64)
    hidden = torch.ones(7, 7, dtype=torch.bool).triu(1)  # True hides there
    want, _ = theirs(x, x, x, attn_mask=hidden, need_weights=False)
    torch.testing.assert_close(ours(x), want)


def test_block_equals_a_pre_norm_encoder_layer(gpt, generator):
    ours = shaken(gpt.TransformerBlock(12, 3), generator)
    theirs = nn.TransformerEncoderLayer(12, 3, 48, 0.0, "gelu", norm_first=True, batch_first=True).double()
    own, pairs = ours.state_dict(), {"self_attn.in_proj_": "attention.qkv.", "self_attn.out_proj.": "attention.out."}
    pairs |= {"linear1.": "up.", "linear2.": "down.", "norm1.": "norm1.", "norm2.": "norm2."}
    theirs.load_state_dict({a + leaf: own[b + leaf] for a, b in pairs.items() for leaf in ("weight", "bias")})
    x = torch.randn(2, 7, 12, generator=generator, dtype=torch.float64)
    mask = nn.Transformer.generate_square_subsequent_mask(7, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x, src_mask=mask))


def test_model_equals_gpt2(gpt, generator):
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        vocab_size=11,
        n_positions=9,
        n_embd=12,
        n_layer=2,
        n_head=3,
        activation_function="gelu",
        tie_word_embeddings=False,
    )
    ours = shaken(gpt.TransformerLM(11, 12, 3, 2, 9), generator)
    theirs = transformers.GPT2LMHeadModel(config).double().eval()
    own = ours.state_dict()
    weights = {"transformer.wte.weight": own["tokens.weight"], "transformer.wpe.weight": own["positions.weight"]}
    weights |= {f"transformer.ln_f.{leaf}": own[f"norm.{leaf}"] for leaf in ("weight", "bias")}
    weights["lm_head.weight"] = own["head.weight"]
    pairs = {"ln_1": "norm1", "ln_2": "norm2", "attn.c_attn": "attention.qkv", "attn.c_proj": "attention.out"}
    pairs |= {"mlp.c_fc": "up", "mlp.c_proj": "down"}
    for layer in range(2):
        for a, b in pairs.items():
            weight = own[f"blocks.{layer}.{b}.weight"]  # GPT-2's Conv1D stores it transposed
            weights[f"transformer.h.{layer}.{a}.weight"] = weight.T if weight.dim() == 2 else weight
            weights[f"transformer.h.{layer}.{a}.bias"] = own[f"blocks.{layer}.{b}.bias"]
    theirs.load_state_dict(weights)
    ids = torch.randint(11, (3, 9), generator=generator)
    torch.testing.assert_close(ours(ids), theirs(ids).logits)
    prompt = ids[:, :4]
    everything = torch.ones_like(prompt)
    want = theirs.generate(prompt, attention_mask=everything, max_new_tokens=5, do_sample=False, pad_token_id=0)
    assert torch.equal(gpt.generate(ours, prompt, 5, 0.0), want)


def test_parameter_count_and_initial_loss_are_as_told(gpt, generator):
    vocab, width, layers, longest = 65, 64, 3, 64
    model = gpt.TransformerLM(vocab, width, 4, layers, longest)
    counted = sum(weight.numel() for weight in model.parameters())
    assert counted == 2 * vocab * width + longest * width + layers * (12 * width**2 + 13 * width) + 2 * width == 162_496
    ids = torch.randint(vocab, (8, 64), generator=generator)
    assert gpt.lm_loss(model(ids), ids).item() == pytest.approx(math.log(vocab), abs=0.1)


def test_loss_equals_cross_entropy_with_ignored_targets(gpt, generator):
    logits = torch.randn(3, 6, 7, generator=generator, dtype=torch.float64)
    ids, mask = torch.randint(7, (3, 6), generator=generator), torch.rand(3, 6, generator=generator) < 0.5
    targets = ids.masked_fill(~mask, -100)[:, 1:]
    want = F.cross_entropy(logits[:, :-1].transpose(1, 2), targets)
    torch.testing.assert_close(gpt.lm_loss(logits, ids, mask), want)
    torch.testing.assert_close(
        gpt.lm_loss(logits, ids), F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    )
