"""The MoE kata's reference against transformers' Mixtral and Switch, and against plain loops."""

import math
import sys
from types import ModuleType

import pytest
import torch
from references import reference

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.filterwarnings("ignore"),  # transformers and what it imports warn at import
]

E, D, F = 6, 16, 24
EXACT = {"rtol": 1e-10, "atol": 1e-12}


@pytest.fixture(scope="module")
def moe() -> ModuleType:
    return reference("moe")


@pytest.fixture(scope="module")
def mixtral() -> ModuleType:
    return pytest.importorskip("transformers.models.mixtral.modeling_mixtral")


@pytest.fixture(scope="module")
def switch() -> ModuleType:
    return pytest.importorskip("transformers.models.switch_transformers.modeling_switch_transformers")


def config(mixtral: ModuleType, k: int = 2) -> object:
    return mixtral.MixtralConfig(
        vocab_size=61,
        hidden_size=D,
        intermediate_size=F,
        num_local_experts=E,
        num_experts_per_tok=k,
        num_hidden_layers=2,
        num_attention_heads=1,
        num_key_value_heads=1,
        head_dim=D,
        sliding_window=4,
        rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        router_jitter_noise=0.0,
        attn_implementation="eager",
        experts_implementation="eager",
        pad_token_id=0,
    )


def randomised(module: torch.nn.Module, seed: int) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.double().parameters():
            parameter.copy_(0.4 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return module


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def load_experts(layer: torch.nn.Module, block: torch.nn.Module) -> None:
    names = {"w_router": "gate.weight", "w_in": "experts.gate_up_proj", "w_out": "experts.down_proj"}
    theirs = dict(block.named_parameters())
    layer.double().load_state_dict({mine: theirs[name].detach() for mine, name in names.items()})


@pytest.mark.parametrize("k", [1, 2, E])
@pytest.mark.parametrize("method", ["forward", "grouped"])
def test_layer_and_gradients_equal_mixtrals(moe, mixtral, k, method):
    block = randomised(mixtral.MixtralSparseMoeBlock(config(mixtral, k)), seed=k)
    layer = moe.MoE(D, F, E, k)
    load_experts(layer, block)
    x, upstream = normal(2, 7, D, seed=10), normal(2, 7, D, seed=11)
    xs = [x.clone().requires_grad_(), x.clone().requires_grad_()]
    # Mixtral rounds the router's softmax to float32.
    near = {"rtol": 1e-5, "atol": 1e-6}
    want, got = block(xs[0]), getattr(layer, method)(xs[1])
    want = want[0] if isinstance(want, tuple) else want
    torch.testing.assert_close(got, want, **near)
    (want * upstream).sum().backward()
    (got * upstream).sum().backward()
    torch.testing.assert_close(xs[1].grad, xs[0].grad, **near)
    for mine, theirs in zip(layer.parameters(), block.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-5)


def test_model_equals_mixtral_with_its_window(moe, mixtral):
    model = randomised(mixtral.MixtralForCausalLM(config(mixtral)), seed=3).eval()
    state = model.state_dict()
    given = sys.modules["moe_model"]
    ours = given.WindowedModel(61, D, [moe.Block(D, F, E, 2) for _ in range(2)]).double()
    weights = {"embed": "model.embed_tokens", "norm": "model.norm", "head": "lm_head"}
    loaded = {f"{mine}.weight": state[f"{name}.weight"] for mine, name in weights.items()}
    for index, layer in enumerate(model.model.layers):
        here, there = f"blocks.{index}", f"model.layers.{index}"
        projections = [state[f"{there}.self_attn.{name}_proj.weight"] for name in "qkv"]
        loaded |= {
            f"{here}.attention.qkv.weight": torch.cat(projections),
            f"{here}.attention.out.weight": state[f"{there}.self_attn.o_proj.weight"],
            f"{here}.norm_attention.weight": state[f"{there}.input_layernorm.weight"],
            f"{here}.norm_moe.weight": state[f"{there}.post_attention_layernorm.weight"],
        }
        block = next(child for child in layer.children() if isinstance(child, mixtral.MixtralSparseMoeBlock))
        load_experts(ours.blocks[index].moe, block)
    missing, unexpected = ours.load_state_dict(loaded, strict=False)
    assert not unexpected
    assert all(".moe." in name for name in missing)
    ids = torch.randint(0, 61, (2, 13), generator=torch.Generator().manual_seed(4))
    back = torch.arange(13)[:, None] - torch.arange(13)
    context = given.Context((back >= 0) & (back < 4), rotation(13), lambda keys, values: (keys, values))
    with torch.no_grad():
        torch.testing.assert_close(ours(ids, [context] * 2), model(ids).logits, rtol=1e-4, atol=1e-5)


def rotation(length: int) -> torch.Tensor:
    """Mixtral's rotation of the two halves of a head, as a matrix a position."""
    speed = 10000.0 ** (-torch.arange(0, D, 2, dtype=torch.float64) / D)
    angle = torch.arange(length, dtype=torch.float64)[:, None] * speed  # (T, D/2)
    cos, sin = torch.diag_embed(angle.cos()), torch.diag_embed(angle.sin())
    return torch.cat([torch.cat([cos, -sin], dim=-1), torch.cat([sin, cos], dim=-1)], dim=-2)


@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("padded", [False, True])
def test_balancing_loss_times_k_equals_transformers(moe, mixtral, k, padded):
    logits, w_router = normal(12, E, seed=5), torch.eye(E, dtype=torch.float64)
    mask = (torch.arange(12) % 4 < 3) if padded else None
    _, indices, probs = moe.route(logits, w_router, k)
    attention_mask = None if mask is None else mask.view(3, 4).long()
    want = mixtral.load_balancing_loss_func((logits,), E, k, attention_mask)
    got = moe.load_balancing_loss(probs, indices, E, mask)
    torch.testing.assert_close(k * got, want.double(), rtol=1e-6, atol=0)


def test_losses_equal_switch_transformers(moe, switch):
    logits = normal(3, 8, E, seed=6)
    probs = logits.softmax(-1)
    indices = probs.argmax(-1)
    for row in range(3):
        want = switch.load_balancing_loss_func(probs[row : row + 1], indices[row : row + 1, :, None])
        got = moe.load_balancing_loss(probs[row], indices[row, :, None], E)
        torch.testing.assert_close(got, want.double(), rtol=1e-6, atol=0)
    torch.testing.assert_close(moe.router_z_loss(logits.view(-1, E)), switch.router_z_loss_func(logits), **EXACT)


def test_route_equals_topk_without_ties(moe):
    x, w_router = normal(50, D, seed=7), normal(E, D, seed=8)
    probs = (x @ w_router.T).softmax(-1)
    for k in (1, 3, E):
        chosen, indices = probs.topk(k, dim=-1)
        weights, got, all_probs = moe.route(x, w_router, k)
        assert torch.equal(got, indices)
        torch.testing.assert_close(weights, chosen / chosen.sum(-1, keepdim=True), **EXACT)
        torch.testing.assert_close(moe.route(x, w_router, k, renormalise=False)[0], chosen, **EXACT)
        torch.testing.assert_close(all_probs, probs, **EXACT)


@pytest.mark.parametrize("factor", [0.25, 0.5, 1.0, 1.25, 3.0])
def test_capacity_equals_a_walk_through_the_tokens(moe, factor):
    indices = normal(20, E, seed=9).argsort(dim=-1)[:, :3]
    room = dict.fromkeys(range(E), math.ceil(factor * 20 * 3 / E))
    want = torch.zeros(20, 3, dtype=torch.bool)
    for token, row in enumerate(indices.tolist()):
        for slot, expert in enumerate(row):
            want[token, slot], room[expert] = room[expert] > 0, room[expert] - 1
    assert torch.equal(moe.keep_within_capacity(indices, E, factor), want)


def test_limited_equals_every_expert_on_every_token(moe):
    layer = randomised(moe.MoE(D, F, E, 2), seed=12)
    x = normal(3, 5, D, seed=13)
    flat = x.view(15, D)
    weights, indices, _ = moe.route(flat, layer.w_router, 2)
    keep = moe.keep_within_capacity(indices, E, 0.75)
    gates = torch.zeros(15, E, dtype=torch.float64).scatter(1, indices, weights * keep)
    gate, up = torch.einsum("nd,efd->nef", flat, layer.w_in).chunk(2, dim=-1)
    dense = torch.einsum("nef,edf->ned", torch.nn.functional.silu(gate) * up, layer.w_out)
    y, dropped = layer.limited(x, 0.75)
    torch.testing.assert_close(y, torch.einsum("ne,ned->nd", gates, dense).view(x.shape), **EXACT)
    assert dropped == pytest.approx(1 - keep.double().mean().item(), abs=1e-15)
    assert dropped > 0


def test_one_renormalised_expert_teaches_the_router_nothing(moe):
    for renormalise in (True, False):
        layer = randomised(moe.MoE(D, F, E, 1, renormalise), seed=14)
        layer(normal(2, 7, D, seed=15)).square().sum().backward()
        assert bool(layer.w_router.grad.any()) is not renormalise
