"""The GRPO kata's reference against TRL's trainer, enumeration of small vocabularies, and hand counts."""

from collections import defaultdict
from itertools import combinations, product
from types import ModuleType, SimpleNamespace

import pytest
import torch
from references import reference
from torch.distributions import Categorical, kl_divergence

pytestmark = pytest.mark.oracle


@pytest.fixture(scope="module")
def grpo() -> ModuleType:
    return reference("grpo")


@pytest.fixture(scope="module")
def trl() -> ModuleType:
    return pytest.importorskip("trl")


class OneProcess:
    """What the trainer asks of its accelerator, for a single process."""

    device = torch.device("cpu")
    num_processes = 1

    def gather(self, values):
        return values

    gather_for_metrics = gather

    def reduce(self, values, **_):
        return values


def batch(rows: int = 6, length: int = 7) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    logp = -torch.rand(rows, length, generator=generator, dtype=torch.float64) * 3
    old, ref = logp + 0.4 * normal(rows, length), logp + 0.4 * normal(rows, length)
    lengths = torch.tensor([7, 3, 5, 1, 6, 2])[:rows]
    return logp.requires_grad_(), old, ref, normal(rows), torch.arange(length) < lengths.unsqueeze(1)


def trl_loss(trl, logp, old, ref, advantages, mask, *, loss_type, low=0.2, high=0.2, beta=0.0, delta=None, longest=7):
    """GRPOTrainer's own loss, called on log-probabilities that are known. -> loss, its metrics"""
    metrics = {"train": defaultdict(list)}
    trainer = SimpleNamespace(
        model=SimpleNamespace(training=True),
        accelerator=OneProcess(),
        aux_loss_enabled=False,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        importance_sampling_level="token",
        beta=beta,
        loss_type=loss_type,
        epsilon_low=low,
        epsilon_high=high,
        args=SimpleNamespace(delta=delta, use_bias_correction_kl=False, steps_per_generation=1),
        use_vllm=False,
        vllm_importance_sampling_correction=False,
        current_gradient_accumulation_steps=1,
        max_completion_length=longest,
        _entropy_bonus_enabled=False,
        use_adaptive_entropy=False,
        entropy_coef=0.0,
        _metrics=metrics,
        _get_per_token_logps_and_entropies=lambda *_, **__: (logp, torch.zeros(logp.shape), None),
    )
    one = torch.ones(len(mask), 1, dtype=torch.long)
    inputs = {
        "prompt_ids": one,
        "prompt_mask": one,
        "completion_ids": torch.zeros(mask.shape, dtype=torch.long),
        "completion_mask": mask.long(),
        "advantages": advantages,
        "old_per_token_logps": old,
        "ref_per_token_logps": ref,
        "num_items_in_batch": mask.sum(),
    }
    return trl.GRPOTrainer._compute_loss(trainer, None, inputs), metrics["train"]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        pytest.param({}, {"loss_type": "grpo"}, id="grpo"),
        pytest.param({"beta": 0.04}, {"loss_type": "grpo", "beta": 0.04}, id="grpo-kl"),
        pytest.param({"beta": 1.5, "aggregation": "dapo"}, {"loss_type": "bnpo", "beta": 1.5}, id="bnpo-kl"),
        pytest.param(
            {"clip_low": 0.1, "clip_high": 0.28, "aggregation": "dapo"},
            {"loss_type": "dapo", "low": 0.1, "high": 0.28},
            id="dapo",
        ),
        pytest.param({"aggregation": "dr_grpo"}, {"loss_type": "dr_grpo"}, id="dr-grpo"),
        pytest.param(
            {"aggregation": "dr_grpo", "max_len": 10, "beta": 0.5},
            {"loss_type": "dr_grpo", "longest": 10, "beta": 0.5},
            id="dr-grpo-max-len",
        ),
        pytest.param({"delta": 1.4}, {"loss_type": "grpo", "delta": 1.4}, id="delta"),
    ],
)
def test_loss_gradient_and_stats_equal_trl(grpo, trl, ours, theirs):
    logp, old, ref, advantages, mask = batch()
    loss, stats = grpo.grpo_loss(logp, old, ref, advantages, mask, **ours)
    want, metrics = trl_loss(trl, logp, old, ref, advantages, mask, **theirs)
    torch.testing.assert_close(loss, want, rtol=1e-12, atol=1e-12)
    gradients = [torch.autograd.grad(value, logp)[0] for value in (loss, want)]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)
    assert stats["clip_low"] == pytest.approx(metrics["clip_ratio/low_mean"][0], abs=1e-7)
    assert stats["clip_high"] == pytest.approx(metrics["clip_ratio/high_mean"][0], abs=1e-7)
    if "beta" in ours:
        assert stats["kl"] == pytest.approx(metrics["kl"][0], rel=1e-12)


def test_advantages_equal_trls_deviations(grpo):
    """TRL divides by its own nanstd plus 1e-4: of the group, or of all rewards as they are."""
    nanstd = pytest.importorskip("trl.trainer.utils").nanstd
    rewards = torch.randn(5, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    centred = rewards - rewards.mean(dim=1, keepdim=True)
    group = centred / (nanstd(rewards, dim=1, keepdim=True) + 1e-4)
    torch.testing.assert_close(grpo.group_relative_advantages(rewards), group)
    whole = centred / (nanstd(rewards.flatten()) + 1e-4)
    torch.testing.assert_close(grpo.group_relative_advantages(rewards, scale="batch"), whole)
    torch.testing.assert_close(grpo.group_relative_advantages(rewards, scale="none"), centred)


def test_figures_of_the_debrief_on_eps(grpo):
    close = torch.tensor([[0.5, 0.5, 0.501, 0.501]], dtype=torch.float64)
    inside = (close - close.mean()) / (close.var() + 1e-4).sqrt()
    assert float((grpo.group_relative_advantages(close) / inside).mean()) == pytest.approx(15, abs=0.5)
    assert not grpo.group_relative_advantages(torch.full((1, 7), 0.1)).any()


def test_k3_by_enumeration(grpo):
    """Its mean under π is KL(π‖π_ref), its mean gradient that of KL(π_ref‖π); upside down the mean is χ² − KL."""
    generator = torch.Generator().manual_seed(2)
    theta, ref = (torch.randn(6, generator=generator, dtype=torch.float64) for _ in range(2))
    theta.requires_grad_()
    logp, ref_logp = theta.log_softmax(0), ref.log_softmax(0)
    p = logp.detach().exp()
    policy, anchor = Categorical(logits=logp), Categorical(logits=ref_logp)
    torch.testing.assert_close((p * grpo.k3_kl(logp, ref_logp)).sum(), kl_divergence(policy, anchor))
    upside_down = (p * grpo.k3_kl(ref_logp, logp.detach())).sum()
    chi = (p**2 / ref_logp.exp()).sum() - 1
    torch.testing.assert_close(upside_down, chi - kl_divergence(policy, anchor).detach())
    (gradient,) = torch.autograd.grad((p * grpo.k3_kl(logp, ref_logp)).sum(), theta, retain_graph=True)
    (forward,) = torch.autograd.grad(kl_divergence(anchor, policy), theta)
    torch.testing.assert_close(gradient, forward)


def test_first_epoch_is_the_policy_gradient_by_enumeration(grpo):
    """Over all pairs of completions of one token, each as likely as π says: ∇E[loss] = −(1 − 1/G)·∇E[reward]."""
    theta = torch.tensor([0.3, -0.8, 1.1], dtype=torch.float64, requires_grad=True)
    reward = torch.tensor([0.0, 1.0, 0.25], dtype=torch.float64)
    logp = theta.log_softmax(0)
    expected = torch.zeros(())
    for group in product(range(3), repeat=2):
        chosen = logp[list(group)].unsqueeze(1)
        advantages = grpo.group_relative_advantages(reward[list(group)].unsqueeze(0), scale="none").flatten()
        mask = torch.ones(2, 1, dtype=torch.bool)
        loss, _ = grpo.grpo_loss(chosen, chosen.detach(), None, advantages, mask)
        expected = expected + chosen.detach().sum().exp() * loss
    (gradient,) = torch.autograd.grad(expected, theta, retain_graph=True)
    (wanted,) = torch.autograd.grad(-0.5 * (logp.exp() * reward).sum(), theta)
    torch.testing.assert_close(gradient, wanted)


@pytest.mark.parametrize("n", [1, 4, 6])
def test_pass_at_k_by_enumeration(grpo, n):
    for c, k in product(range(n + 1), range(1, n + 1)):
        draws = list(combinations(range(n), k))
        hits = sum(min(draw) < c for draw in draws)
        assert grpo.pass_at_k(n, c, k) == pytest.approx(hits / len(draws), abs=1e-14)


def test_pass_at_k_is_the_figure_of_the_debrief(grpo):
    assert grpo.pass_at_k(10, 3, 3) == pytest.approx(0.7083, abs=1e-4)
    with_replacement = 1 - (1 - 3 / 10) ** 3
    assert with_replacement == pytest.approx(0.657)


def test_warm_up_is_cross_entropy_with_ignored_labels(grpo):
    """One step's loss, against F.cross_entropy on shifted labels that are −100 on prompt and padding."""
    model = torch.nn.Embedding(6, 6)
    prompts = torch.tensor([[0, 1], [2, 3]])
    completions, labels = torch.tensor([[4, 5, 5], [1, 2, 3]]), torch.tensor([[4, 5, -100], [1, 2, 3]])
    logits = model(torch.cat([prompts, completions], dim=1))[:, 1:-1]
    want = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100).item()
    assert grpo.sft_warmup(model, prompts, completions, 5, 1, 2, 0.1) == pytest.approx([want], rel=1e-6)
