"""The kv-cache kata's reference against transformers' GPT-2: logits, caches, greedy generation, left padding."""

from types import ModuleType
from typing import Any

import pytest
import torch
from references import reference

pytestmark = pytest.mark.oracle

LAYERS, HEADS, WIDTH, VOCAB, POSITIONS = 3, 4, 48, 97, 40
CLOSE = {"rtol": 1e-10, "atol": 1e-10}


@pytest.fixture(scope="module")
def kv() -> ModuleType:
    return reference("kv-cache")


@pytest.fixture(scope="module")
def hf() -> Any:
    """A small GPT-2 of transformers with random weights, in float64."""
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        vocab_size=VOCAB, n_positions=POSITIONS, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS,
        resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, bos_token_id=0, eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.GPT2LMHeadModel(config).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


@pytest.fixture(scope="module")
def gpt(kv: ModuleType, hf: Any) -> Any:
    """Ours with the same weights; a Conv1D of transformers is a transposed Linear."""
    theirs = hf.transformer.state_dict()
    ours = {name: theirs[name] for name in ("wte.weight", "wpe.weight", "ln_f.weight", "ln_f.bias")}
    names = {"attn.c_attn": "attn.c_attn", "attn.c_proj": "attn.c_proj", "c_fc": "mlp.c_fc", "c_proj": "mlp.c_proj"}
    for layer in range(LAYERS):
        for kind in ("weight", "bias"):
            for norm in ("ln_1", "ln_2"):
                ours[f"blocks.{layer}.{norm}.{kind}"] = theirs[f"h.{layer}.{norm}.{kind}"]
            for mine, other in names.items():
                ours[f"blocks.{layer}.{mine}.{kind}"] = _transposed(theirs[f"h.{layer}.{other}.{kind}"])
    model = kv.GPT(VOCAB, POSITIONS, WIDTH, HEADS, LAYERS).double()
    model.load_state_dict({name: weight.contiguous() for name, weight in ours.items()})
    return model


def _transposed(weight: torch.Tensor) -> torch.Tensor:
    return weight.mT if weight.ndim == 2 else weight


@pytest.fixture
def ids() -> torch.Tensor:
    return torch.randint(0, VOCAB, (2, 11), generator=torch.Generator().manual_seed(1))


def static_cache(kv: ModuleType, rows: int) -> list[Any]:
    return [kv.StaticKV(rows, HEADS, POSITIONS, WIDTH // HEADS, torch.float64) for _ in range(LAYERS)]


def test_logits_and_cache_equal_transformers(gpt, hf, ids):
    logits, cache = gpt(ids)
    theirs = hf(ids, use_cache=True)
    torch.testing.assert_close(logits, theirs.logits, **CLOSE)
    for (keys, values), layer in zip(cache, theirs.past_key_values.layers, strict=True):
        torch.testing.assert_close(keys, layer.keys, **CLOSE)
        torch.testing.assert_close(values, layer.values, **CLOSE)


@pytest.mark.parametrize("sizes", [[4, 1, 6], [1] * 11, [10, 1], [2, 9]], ids=str)
@pytest.mark.parametrize("kind", ["pairs", "static"])
def test_chunks_with_a_cache_equal_transformers_in_one_call(kv, gpt, hf, ids, sizes, kind):
    cache = static_cache(kv, 2) if kind == "static" else None
    pieces = []
    for piece in ids.split(sizes, dim=1):
        logits, cache = gpt(piece, cache)
        pieces.append(logits)
    torch.testing.assert_close(torch.cat(pieces, dim=1), hf(ids).logits, **CLOSE)


def test_parameter_gradients_equal_transformers(gpt, hf, ids):
    upstream = torch.randn(2, 11, VOCAB, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    for model, logits in ((gpt, gpt(ids)[0]), (hf, hf(ids).logits)):
        model.zero_grad()
        (logits * upstream).sum().backward()
    torch.testing.assert_close(gpt.wte.weight.grad, hf.transformer.wte.weight.grad, **CLOSE)
    torch.testing.assert_close(gpt.wpe.weight.grad, hf.transformer.wpe.weight.grad, **CLOSE)
    torch.testing.assert_close(
        gpt.blocks[0].attn.c_attn.weight.grad, hf.transformer.h[0].attn.c_attn.weight.grad.mT, **CLOSE
    )


@pytest.mark.parametrize("use_cache", [True, False], ids=["cached", "uncached"])
def test_greedy_tokens_equal_transformers(kv, gpt, hf, ids, use_cache):
    theirs = hf.generate(ids, max_new_tokens=25, do_sample=False, attention_mask=torch.ones_like(ids))
    assert torch.equal(kv.generate(gpt, ids, 25, use_cache=use_cache), theirs)


def test_rows_end_as_in_transformers(kv, gpt, hf, ids):
    """With the end token as its own filling, as in most decoder-only models without a padding token."""
    free = kv.generate(gpt, ids, 25)[:, ids.shape[1] :]
    eos = int(free[0, 3])
    settings = {"eos_token_id": eos, "pad_token_id": eos, "do_sample": False, "max_new_tokens": 25}
    theirs = hf.generate(ids, attention_mask=torch.ones_like(ids), **settings)
    assert torch.equal(kv.generate(gpt, ids, 25, eos_id=eos), theirs)


@pytest.mark.parametrize("use_cache", [True, False], ids=["cached", "uncached"])
def test_left_padding_equals_transformers(kv, gpt, hf, ids, use_cache):
    pad = torch.tensor([4, 0])
    mask = (torch.arange(11) >= pad[:, None]).long()
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    real = mask.bool()
    theirs = hf(ids, attention_mask=mask, position_ids=positions).logits
    torch.testing.assert_close(gpt(ids, pad=pad)[0][real], theirs[real], **CLOSE)
    generated = hf.generate(ids, max_new_tokens=15, do_sample=False, attention_mask=mask)
    assert torch.equal(kv.generate(gpt, ids, 15, use_cache=use_cache, pad=pad), generated)


def test_bytes_equal_those_of_transformers_cache(kv, hf, ids):
    layers = hf(ids, use_cache=True).past_key_values.layers
    held = sum(tensor.nbytes for layer in layers for tensor in (layer.keys, layer.values))
    assert kv.kv_cache_bytes(LAYERS, 2, HEADS, 11, WIDTH // HEADS, torch.float64) == held


def test_filtered_probabilities_are_those_of_the_temperature_warper(kv):
    warpers = pytest.importorskip("transformers.generation.logits_process")
    logits = torch.randn(1, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

    class Constant(torch.nn.Module):
        def forward(self, ids, cache, _pad):
            return logits.expand(len(ids), ids.shape[1], 5), cache

    prompt = torch.zeros(200_000, 1, dtype=torch.int64)
    tokens = kv.generate(Constant(), prompt, 1, temperature=0.6, generator=torch.Generator().manual_seed(4))[:, 1]
    want = warpers.TemperatureLogitsWarper(0.6)(None, logits).softmax(dim=-1)[0]
    got = torch.bincount(tokens, minlength=5) / len(tokens)
    torch.testing.assert_close(got.double(), want, rtol=0, atol=0.005)
