"""The PPO kata's reference against TRL, torch.distributions, loops over numbers and exact enumeration."""

import collections
import math
import types
from types import ModuleType

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 — its usual name
from references import reference
from torch.distributions import Categorical

pytestmark = pytest.mark.oracle

ROWS, WIDTH, VOCAB = 6, 7, 5


@pytest.fixture(scope="module")
def ppo() -> ModuleType:
    return reference("ppo")


def normals(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def holey_mask(seed: int) -> torch.Tensor:
    mask = torch.rand(ROWS, WIDTH, generator=torch.Generator().manual_seed(seed)) < 0.6
    mask[2] = False
    return mask


@pytest.mark.parametrize("temperature", [1.0, 0.6, 2.5])
def test_logprobs_equal_distributions_cross_entropy_and_trl(ppo, temperature):
    utils = pytest.importorskip("trl.trainer.utils")
    logits, ids = normals(ROWS, WIDTH, VOCAB, seed=1), normals(ROWS, WIDTH, VOCAB, seed=2).argmax(-1)
    got = ppo.token_logprobs(logits, ids, temperature)
    tempered, tokens = logits[:, :-1] / temperature, ids[:, 1:]
    torch.testing.assert_close(got, Categorical(logits=tempered).log_prob(tokens))
    torch.testing.assert_close(got, -F.cross_entropy(tempered.transpose(1, 2), tokens, reduction="none"))
    torch.testing.assert_close(got, utils.selective_log_softmax(logits[:, :-1], tokens, temperature))


def test_rewards_and_returns_equal_a_loop_over_tokens(ppo):
    scores, (logp, ref_logp), mask = normals(ROWS, seed=3), normals(2, ROWS, WIDTH, seed=4), holey_mask(5)
    rewards, returns = np.zeros((ROWS, WIDTH)), np.zeros((ROWS, WIDTH))
    for row in range(ROWS):
        columns = [t for t in range(WIDTH) if mask[row, t]]
        for t in columns:
            rewards[row, t] = -0.3 * (logp[row, t] - ref_logp[row, t])
        if columns:
            rewards[row, columns[-1]] += scores[row]
        for t in columns:
            returns[row, t] = sum(rewards[row, s] for s in columns if s >= t)
    got = ppo.shaped_rewards(scores, logp, ref_logp, mask, 0.3)
    torch.testing.assert_close(got, torch.from_numpy(rewards))
    torch.testing.assert_close(ppo.returns_to_go(got, mask), torch.from_numpy(returns))


@pytest.mark.parametrize("shift_mean", [True, False])
def test_whitening_equals_numpy_on_the_list_of_kept_entries(ppo, shift_mean):
    x, mask = 3 + 2 * normals(ROWS, WIDTH, seed=6), holey_mask(7)
    kept = x[mask].numpy()
    white = (kept - kept.mean()) / np.sqrt(kept.var(ddof=1) + 1e-8) + (0 if shift_mean else kept.mean())
    got = ppo.masked_whiten(x, mask, shift_mean)
    torch.testing.assert_close(got[mask], torch.from_numpy(white))
    assert not got[~mask].any()


class OneProcess:
    """What TRL asks of its accelerator."""

    device, num_processes = torch.device("cpu"), 1

    def gather(self, value: torch.Tensor) -> torch.Tensor:
        return value

    gather_for_metrics = gather

    def reduce(self, value: torch.Tensor, **_options: str) -> torch.Tensor:
        return value


def trl_loss(logp, old_logp, adv, mask, clip):
    """TRL's clipped loss as a mean over tokens (DAPO's aggregation), and its share of clipped tokens."""
    trl = pytest.importorskip("trl")
    metrics = collections.defaultdict(list)
    trainer = types.SimpleNamespace(
        model=types.SimpleNamespace(training=True),
        accelerator=OneProcess(),
        args=types.SimpleNamespace(delta=None, use_bias_correction_kl=False, steps_per_generation=1),
        aux_loss_enabled=False,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        importance_sampling_level="token",
        beta=0.0,
        loss_type="dapo",
        epsilon_low=clip,
        epsilon_high=clip,
        use_vllm=False,
        vllm_importance_sampling_correction=False,
        current_gradient_accumulation_steps=1,
        max_completion_length=mask.shape[1],
        _entropy_bonus_enabled=False,
        use_adaptive_entropy=False,
        entropy_coef=0.0,
        _metrics={"train": metrics},
        _get_per_token_logps_and_entropies=lambda *_, **__: (logp, torch.zeros_like(logp), None),
    )
    prompt = torch.zeros(len(mask), 1, dtype=torch.long)
    inputs = {
        "prompt_ids": prompt,
        "prompt_mask": prompt + 1,
        "completion_ids": torch.zeros_like(mask, dtype=torch.long),
        "completion_mask": mask.long(),
        "advantages": adv,
        "old_per_token_logps": old_logp,
        "ref_per_token_logps": None,
        "num_items_in_batch": mask.sum(),
    }
    return trl.GRPOTrainer._compute_loss(trainer, None, inputs), metrics["clip_ratio/region_mean"][0]


@pytest.mark.parametrize("clip", [0.1, 0.2, 0.4])
def test_loss_gradient_and_clipfrac_equal_trl(ppo, clip):
    mask = torch.arange(WIDTH) < torch.tensor([[7], [3], [5], [1], [6], [2]])
    logp, old_logp = (-normals(ROWS, WIDTH, seed=seed).exp() for seed in (8, 9))
    logp = (old_logp + 0.3 * (logp - old_logp)).requires_grad_()
    adv = normals(ROWS, 1, seed=10)  # TRL's advantages are one a row
    loss, stats = ppo.ppo_clip_loss(logp, old_logp, adv.expand(ROWS, WIDTH), mask, clip)
    want, clipped = trl_loss(logp, old_logp, adv.squeeze(1), mask, clip)
    torch.testing.assert_close(loss, want)
    torch.testing.assert_close(*(torch.autograd.grad(value, logp, retain_graph=True)[0] for value in (loss, want)))
    assert stats["clipfrac"] == pytest.approx(float(clipped), rel=1e-6)


def test_loss_equals_a_loop_over_tokens(ppo):
    (logp, adv), mask = normals(2, ROWS, WIDTH, seed=11), holey_mask(12)
    old_logp = logp + 0.3 * normals(ROWS, WIDTH, seed=13)
    costs, clipped, drifts = [], 0, []
    for new, old, advantage in zip(logp[mask].tolist(), old_logp[mask].tolist(), adv[mask].tolist(), strict=True):
        ratio = math.exp(new - old)
        gain, limited = advantage * ratio, advantage * min(max(ratio, 0.8), 1.2)
        costs.append(-min(gain, limited))
        clipped += limited < gain
        drifts.append(ratio - 1 - (new - old))
    loss, stats = ppo.ppo_clip_loss(logp, old_logp, adv, mask)
    assert float(loss) == pytest.approx(sum(costs) / len(costs), rel=1e-12)
    assert stats == pytest.approx({"clipfrac": clipped / len(costs), "approx_kl": sum(drifts) / len(drifts)}, rel=1e-9)


def test_approx_kl_is_kl_of_old_and_new_by_enumeration(ppo):
    """Tokens of the old policy in exact proportion: the statistic is then KL(old‖new)."""
    old = torch.tensor([0.5, 0.25, 0.125, 0.125], dtype=torch.float64)
    new = normals(4, seed=14).softmax(-1)
    tokens = torch.tensor([[0, 0, 0, 0, 1, 1, 2, 3]])
    stats = ppo.ppo_clip_loss(new.log()[tokens], old.log()[tokens], torch.zeros(1, 8), torch.ones(1, 8).bool())[1]
    want = torch.distributions.kl_divergence(Categorical(probs=old), Categorical(probs=new))
    assert stats["approx_kl"] == pytest.approx(float(want), rel=1e-12)


def test_shaped_returns_have_the_gradient_of_the_regularised_objective(ppo):
    """Over all completions of two tokens: E[Σ_t A_t ∇log π_t] = ∇(E[score] − β·KL(π‖π_ref)), A without whitening."""
    vocab, beta = 4, 0.7
    start, anchor, weights = normals(3, vocab, vocab, seed=15)
    pairs = torch.cartesian_prod(torch.arange(vocab), torch.arange(vocab))
    ids = torch.cat([torch.zeros(len(pairs), 1, dtype=torch.long), pairs], dim=1)  # a prompt of one token
    scores, mask = weights[pairs[:, 0], pairs[:, 1]], torch.ones(len(pairs), 2, dtype=torch.bool)
    table = start.clone().requires_grad_()
    logp, ref_logp = (ppo.token_logprobs(model[ids], ids) for model in (table, anchor))
    returns = ppo.returns_to_go(ppo.shaped_rewards(scores, logp, ref_logp, mask, beta), mask)
    probability = logp.sum(1).exp()
    estimate = (probability.detach() * (returns * logp).sum(1)).sum()
    objective = (probability * (scores - beta * (logp - ref_logp).sum(1))).sum()
    torch.testing.assert_close(
        *(torch.autograd.grad(value, table, retain_graph=True)[0] for value in (estimate, objective))
    )


class Bigrams(torch.nn.Module):
    """A model whose next token depends on the last one only."""

    def __init__(self, table: torch.Tensor) -> None:
        super().__init__()
        self.table = torch.nn.Parameter(table.clone())

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.table[ids]


def exact_rollouts(policy: Bigrams, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Single tokens after the token 0, as nearly as possible in their exact proportion."""
    shares = policy.table.detach()[0].softmax(-1).cumsum(-1)
    tokens = torch.searchsorted(shares, (torch.arange(rows, dtype=torch.float64) + 0.5) / rows).clamp(max=VOCAB - 1)
    return torch.stack([torch.zeros_like(tokens), tokens], dim=1), torch.ones(rows, 1, dtype=torch.bool)


def test_training_ends_at_the_enumerated_optimum_and_stays(ppo):
    """π_ref · exp(score/β)/Z, reached from π_ref with on-policy rollouts that have next to no sampling noise."""
    anchor, scores, beta = normals(VOCAB, VOCAB, seed=16), normals(VOCAB, seed=17), 0.8
    optimum = (anchor[0].log_softmax(-1) + scores / beta).softmax(-1)
    policy, ref = Bigrams(anchor), Bigrams(anchor)

    def train(lr: float, updates: int) -> torch.Tensor:
        cfg = ppo.PPOConfig(updates=updates, epochs=1, minibatch=4096)
        optimizer = torch.optim.SGD(policy.parameters(), lr)
        ppo.rlhf_train(
            policy,
            ref,
            lambda ids, _mask: scores[ids[:, 1]],
            lambda model: exact_rollouts(model, 4096),
            optimizer,
            ppo.FixedKL(beta),
            cfg,
            torch.Generator().manual_seed(0),
        )
        return policy.table.detach()[0].softmax(-1)

    for lr in (0.1, 0.03, 0.01, 0.003, 0.001):
        reached = train(lr, 150)
    torch.testing.assert_close(reached, optimum, rtol=0, atol=2e-3)
    policy.table.data[0] = optimum.log()
    torch.testing.assert_close(train(1.0, 1), optimum, rtol=0, atol=1e-6)


def test_controller_equals_numpy_clip(ppo):
    controller, value = ppo.AdaptiveKLController(0.2, 6.0, 1000), 0.2
    for kl, n in ((6.3, 64), (12.0, 32), (1.0, 64), (5.7, 7)):
        controller.update(kl, n)
        value *= 1 + np.clip(kl / 6.0 - 1, -0.2, 0.2) * n / 1000
        assert controller.value == pytest.approx(value, rel=1e-12)
