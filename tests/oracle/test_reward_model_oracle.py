"""The reward-model kata's reference against GPT-2's sequence classifier, TRL's reward trainer and known optima."""

from collections import defaultdict
from types import ModuleType, SimpleNamespace

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 — its usual name
from references import reference

pytestmark = pytest.mark.oracle

TRL = "1.16"
F64 = torch.float64
VOCAB, LENGTH, DIM, HEADS, LAYERS = 11, 9, 12, 3, 2
PAD = 0


@pytest.fixture(scope="module")
def kata() -> ModuleType:
    return reference("reward-model")


def drawn_model(kata: ModuleType, seed: int = 0) -> torch.nn.Module:
    """A RewardModel whose every parameter is drawn, in eval mode and float64."""
    model = kata.RewardModel(VOCAB, LENGTH, DIM, HEADS, LAYERS).double().eval()
    generator = torch.Generator().manual_seed(seed)
    for _, weight in sorted(model.named_parameters()):
        torch.nn.init.normal_(weight, std=0.5, generator=generator)
    torch.nn.init.zeros_(model.head.bias)  # GPT-2's score has none
    return model


def as_gpt2(model: torch.nn.Module, pad_id: int | None = PAD) -> torch.nn.Module:
    """The same weights in transformers' GPT-2 with its own attention, masks and pooling."""
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        vocab_size=VOCAB,
        n_positions=LENGTH,
        n_embd=DIM,
        n_layer=LAYERS,
        n_head=HEADS,
        activation_function="gelu",
        pad_token_id=pad_id,
        num_labels=1,
    )
    other = transformers.GPT2ForSequenceClassification(config).double().eval()
    ours = model.state_dict()
    weights = {
        "transformer.wte.weight": ours["embed.weight"],
        "transformer.wpe.weight": ours["positions.weight"],
        "transformer.ln_f.weight": ours["norm.weight"],
        "transformer.ln_f.bias": ours["norm.bias"],
        "score.weight": ours["head.weight"],
    }
    names = {"attn.c_attn.": "self_attn.in_proj_", "attn.c_proj.": "self_attn.out_proj."}
    names |= {"mlp.c_fc.": "linear1.", "mlp.c_proj.": "linear2.", "ln_1.": "norm1.", "ln_2.": "norm2."}
    for layer in range(LAYERS):
        for theirs, name in names.items():
            for kind in ("weight", "bias"):
                value = ours[f"blocks.{layer}.{name}{kind}"]
                weights[f"transformer.h.{layer}.{theirs}{kind}"] = value.T if value.dim() == 2 else value
    missing = other.load_state_dict(weights, strict=False)
    assert not missing.unexpected_keys
    assert all("attn.bias" in name or "masked_bias" in name for name in missing.missing_keys)
    return other


def texts(lengths: tuple[int, ...], seed: int = 1) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(1, VOCAB, (length,), generator=generator).tolist() for length in lengths]


def gpt2_scores(model: torch.nn.Module, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    return model(ids, attention_mask=mask.long(), position_ids=positions).logits.squeeze(1)


@torch.no_grad()
def test_left_padded_scores_equal_gpt2s_with_position_ids(kata):
    model = drawn_model(kata)
    ids, mask = kata.encode_left(texts((9, 4, 6, 1, 9)), PAD)
    torch.testing.assert_close(model(ids, mask), gpt2_scores(as_gpt2(model), ids, mask), rtol=1e-10, atol=1e-10)


@torch.no_grad()
def test_left_padded_scores_equal_gpt2s_of_each_row_alone(kata):
    model = drawn_model(kata, seed=2)
    seqs = texts((9, 4, 6, 1, 2), seed=3)
    other = as_gpt2(model)
    alone = torch.cat([other(torch.tensor([seq])).logits[0] for seq in seqs])
    torch.testing.assert_close(model(*kata.encode_left(seqs, PAD)), alone, rtol=1e-10, atol=1e-10)


@torch.no_grad()
def test_gpt2_without_position_ids_is_off(kata):
    """What the prompt says of positions: a padding mask alone does not move them."""
    model = drawn_model(kata)
    ids, mask = kata.encode_left(texts((9, 4, 6)), PAD)
    off = (as_gpt2(model)(ids, attention_mask=mask.long()).logits.squeeze(1) - model(ids, mask)).abs()
    assert off[0] < 1e-10
    assert off[1:].min() > 1e-2


@torch.no_grad()
def test_gpt2_pools_one_token_early_where_the_eos_is_the_pad(kata):
    """What the debrief says of pad = EOS; ours is GPT-2's without a pad id, which reads the last column."""
    model = drawn_model(kata)
    seq = [5, 6, 7, PAD]
    ours = model(*kata.encode_left([seq], PAD))
    torch.testing.assert_close(ours, as_gpt2(model, pad_id=None)(torch.tensor([seq])).logits[0])
    early = as_gpt2(model)(torch.tensor([seq])).logits[0]
    torch.testing.assert_close(model(*kata.encode_left([seq[:-1]], PAD)), early)
    assert (early - ours).abs() > 1e-2


def test_gradients_equal_gpt2s(kata):
    model = drawn_model(kata)
    other = as_gpt2(model)
    ids, mask = kata.encode_left(texts((5, 2, 7, 3)), PAD)
    upstream = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=F64)
    (model(ids, mask) * upstream).sum().backward()
    (gpt2_scores(other, ids, mask) * upstream).sum().backward()
    torch.testing.assert_close(model.embed.weight.grad, other.transformer.wte.weight.grad, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(model.positions.weight.grad, other.transformer.wpe.weight.grad, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(
        model.blocks[0].self_attn.in_proj_weight.grad, other.transformer.h[0].attn.c_attn.weight.grad.T
    )


@torch.no_grad()
@pytest.mark.parametrize("training", [True, False])
def test_scores_do_not_depend_on_padding(kata, training):
    """Each row alone, in a batch, under more padding, and with anything under the mask."""
    model = drawn_model(kata, seed=4).train(training)
    seqs = texts((3, 9, 1, 6), seed=5)
    alone = torch.cat([model(*kata.encode_left([seq], PAD)) for seq in seqs])
    ids, mask = kata.encode_left(seqs, PAD)
    for extra in (0, 1, 20):
        for fill in (PAD, 7, -100, 10**9):
            wide = F.pad(ids, (extra, 0)).masked_fill(~F.pad(mask, (extra, 0)), fill)
            torch.testing.assert_close(model(wide, F.pad(mask, (extra, 0))), alone, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("margin", [True, False])
@pytest.mark.parametrize("center", [None, 0.01, 0.5])
def test_loss_and_accuracy_equal_trls_reward_trainer(kata, margin, center):
    trl = pytest.importorskip("trl")
    if not trl.__version__.startswith(TRL):
        pytest.skip(f"the stand-ins fit trl {TRL}, not {trl.__version__}")
    generator = torch.Generator().manual_seed(6)
    logits = torch.randn(14, 1, generator=generator, dtype=F64, requires_grad=True)
    margins = torch.rand(7, generator=generator, dtype=F64)
    same = SimpleNamespace(gather=lambda x: x, gather_for_metrics=lambda x: x)
    bare = SimpleNamespace(
        model=SimpleNamespace(training=True),
        args=SimpleNamespace(center_rewards_coefficient=center),
        accelerator=same,
        _total_train_tokens=0,
        _tp_size=1,
        _metrics={"train": defaultdict(list)},
    )
    ones = torch.ones(14, 3, dtype=torch.long)
    inputs = {"input_ids": ones, "attention_mask": ones} | ({"margin": margins.clone()} if margin else {})
    theirs = trl.RewardTrainer.compute_loss(bare, lambda **_: SimpleNamespace(logits=logits), inputs)
    (want,) = torch.autograd.grad(theirs, logits)
    r_pos, r_neg = logits.squeeze(1).chunk(2)
    ours = kata.bt_loss(r_pos, r_neg, margins if margin else None, center or 0.0)
    (got,) = torch.autograd.grad(ours, logits)
    torch.testing.assert_close(ours, theirs, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(got, want, rtol=1e-13, atol=1e-13)
    assert kata.pairwise_accuracy(r_pos, r_neg) == pytest.approx(bare._metrics["train"]["accuracy"][0], abs=1e-7)


def test_likelihood_is_greatest_at_the_log_strengths(kata):
    """i beats j in s_i of s_i + s_j contests: the gradient of the loss vanishes at r = log s, and at no other gaps."""
    strengths = torch.tensor([1.0, 2.0, 3.0, 5.0], dtype=F64)
    wins = [(i, j) for i in range(4) for j in range(4) if i != j for _ in range(int(strengths[i]))]
    chosen, rejected = torch.tensor(wins).T
    for scale, stationary in ((1.0, True), (2.0, False), (0.5, False)):
        r = (scale * strengths.log()).requires_grad_()
        (grad,) = torch.autograd.grad(kata.bt_loss(r[chosen], r[rejected]), r)
        assert bool(grad.abs().max() < 1e-12) == stationary


@pytest.mark.parametrize("epsilon", [0.01, 0.1, 0.4])
def test_smoothed_optimum_is_the_logit_of_one_minus_epsilon(kata, epsilon):
    r = torch.logit(torch.tensor([1 - epsilon], dtype=F64)).requires_grad_()
    margin = torch.tensor([0.7], dtype=F64)
    (grad,) = torch.autograd.grad(kata.bt_loss(r + margin, 0 * r, margin, label_smoothing=epsilon), r)
    assert abs(grad.item()) < 1e-12


def test_loss_of_far_scores_is_exact(kata):
    """Where −log σ and log(1 + exp) overflow: the loss is the distance itself, or 0."""
    for dtype in (torch.float32, F64):
        z = torch.tensor([-1e4, -200.0, 200.0, 1e4], dtype=dtype)
        losses = [kata.bt_loss(part, torch.zeros_like(part)).item() for part in z.split(1)]
        assert losses[:2] == [1e4, 200.0]
        assert losses[2] < 1e-80
        assert losses[3] == 0.0


def test_training_equals_full_steps_of_adam_on_the_trl_loss(kata):
    """The weights after three steps, with the loss written as binary cross-entropy on rows encoded one by one."""
    batches = [
        [(a, b) for a, b in zip(texts((3, 9, 2), seed), texts((6, 1, 4), seed + 50), strict=True)] for seed in (7, 8, 9)
    ]
    ours, other = drawn_model(kata), drawn_model(kata)
    history = kata.train_rm(ours, batches, lr=0.01, pad_id=PAD, center=0.02)
    optimizer = torch.optim.Adam(other.parameters(), lr=0.01)
    for pairs, reported in zip(batches, history, strict=True):
        scores = [[other(*kata.encode_left([seq], PAD)) for seq in pair] for pair in pairs]
        gap = torch.cat([a - b for a, b in scores])
        loss = F.binary_cross_entropy_with_logits(gap, torch.ones_like(gap))
        loss = loss + 0.02 * torch.cat([a + b for a, b in scores]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert reported == {"loss": pytest.approx(loss.item(), rel=1e-9), "accuracy": (gap > 0).double().mean().item()}
    for name, weight in ours.state_dict().items():
        torch.testing.assert_close(weight, other.state_dict()[name], rtol=1e-6, atol=1e-8, msg=name)
    assert not ours.training


@torch.no_grad()
def test_calibrated_scores_have_the_mean_zero(kata):
    model = drawn_model(kata)
    seqs = texts((3, 9, 2, 5, 1, 8, 4), seed=10)
    before = gpt2_scores(as_gpt2(model), *kata.encode_left(seqs, PAD))
    assert kata.calibrate(model, seqs, PAD, batch_size=3) == pytest.approx(before.mean().item(), rel=1e-10)
    torch.testing.assert_close(model(*kata.encode_left(seqs, PAD)), before - before.mean(), rtol=1e-9, atol=1e-9)
