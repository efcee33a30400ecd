"""The REINFORCE kata's reference against difflib, trl's log-softmax and entropy, and exact policy gradients."""

import itertools
from difflib import SequenceMatcher
from types import ModuleType

import numpy as np
import pytest
import torch
from references import reference

pytestmark = pytest.mark.oracle

F64 = torch.float64


@pytest.fixture(scope="module")
def reinforce() -> ModuleType:
    return reference("reinforce")


@pytest.fixture(scope="module")
def trl_utils() -> ModuleType:
    return pytest.importorskip("trl.trainer.utils")


class Tabular(torch.nn.Module):
    """Logits by place and token."""

    def __init__(self, table: torch.Tensor) -> None:
        super().__init__()
        self.table = torch.nn.Parameter(table)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.table[torch.arange(ids.shape[1]), ids]


def draws(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def every_completion(vocab: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A prompt of one token 0 before each completion (V^T, 1 + T), and a mask that counts all of it."""
    ids = torch.tensor([[0, *rest] for rest in itertools.product(range(vocab), repeat=length)])
    return ids, torch.ones(len(ids), length, dtype=torch.bool)


def log_probability(table: torch.Tensor, ids: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    """log π of each completion, token by token, without the kata's code. -> (N,)"""
    steps = [torch.log_softmax(table[t, ids[:, t]] / temperature, dim=-1) for t in range(ids.shape[1] - 1)]
    return sum(step[torch.arange(len(ids)), ids[:, t + 1]] for t, step in enumerate(steps))


def test_reward_is_difflibs_longest_match(reinforce):
    rng = np.random.default_rng(0)
    for _ in range(500):
        n, m, high = rng.integers(0, 30), rng.integers(1, 30), rng.integers(2, 6)
        one, other = (rng.integers(0, high, size).tolist() for size in (n, m))
        match = SequenceMatcher(None, one, other, autojunk=False).find_longest_match()
        assert reinforce.substring_reward(one, other, None) == match.size / m


def test_reward_is_the_longest_of_all_substrings(reinforce):
    rng = np.random.default_rng(1)
    for _ in range(200):
        one, other = (rng.integers(0, 4, rng.integers(1, 12)).tolist() for _ in range(2))
        kept = one[: one.index(0)] if 0 in one else one
        runs = [kept[i:j] for i in range(len(kept)) for j in range(i + 1, len(kept) + 1)]
        targets = [other[i:j] for i in range(len(other)) for j in range(i + 1, len(other) + 1)]
        longest = max((len(run) for run in runs if run in targets), default=0)
        assert reinforce.substring_reward(one, other, 0) == longest / len(other)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
def test_loss_equals_trl(reinforce, trl_utils, temperature):
    logits, advantages = draws(5, 9, 11, seed=2), draws(5, seed=3)
    ids = torch.randint(11, (5, 9), generator=torch.Generator().manual_seed(4))
    mask = torch.arange(6) < torch.tensor([6, 1, 3, 5, 2]).unsqueeze(1)
    settings = {"entropy_coef": 0.3, "temperature": temperature}
    loss, stats = reinforce.reinforce_loss(logits, ids, mask, advantages, 3, **settings)
    logps = trl_utils.selective_log_softmax(logits[:, 2:-1], ids[:, 3:], temperature=temperature)
    entropies = trl_utils.entropy_from_logits(logits[:, 2:-1] / temperature)
    policy_loss = -(advantages.unsqueeze(1) * logps * mask).sum() / mask.sum()
    entropy = (entropies * mask).sum() / mask.sum()
    assert stats["policy_loss"] == pytest.approx(policy_loss.item(), rel=1e-12)
    assert stats["entropy"] == pytest.approx(entropy.item(), rel=1e-12)
    torch.testing.assert_close(loss, policy_loss - 0.3 * entropy, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("baseline", [0.0, 0.7, -3.0])
@pytest.mark.parametrize("temperature", [0.6, 1.0])
def test_loss_has_the_exact_policy_gradient(reinforce, baseline, temperature):
    """Weighted with π(y) over all completions y, the loss's gradient is −∇E[R]/T, with any constant baseline."""
    model, (ids, mask) = Tabular(draws(3, 3, 3, seed=5)), every_completion(3, 2)
    rewards = draws(9, seed=6)
    logp = log_probability(model.table, ids, temperature)
    (exact,) = torch.autograd.grad((logp.exp() * rewards).sum(), model.table)
    weights = logp.detach().exp() * (rewards - baseline) * len(ids)  # the loss means over rows, and over 2 tokens
    loss, _ = reinforce.reinforce_loss(model(ids), ids, mask, weights, 1, temperature=temperature)
    (got,) = torch.autograd.grad(loss, model.table)
    torch.testing.assert_close(got, -exact / 2, rtol=1e-12, atol=1e-14)


def test_group_baseline_rescales_the_gradient(reinforce):
    """Over all groups of two: (G − 1)/G of the gradient, since the mean holds the reward itself."""
    model, (ids, mask) = Tabular(draws(3, 3, 3, seed=7)), every_completion(3, 2)
    rewards = draws(9, seed=8)
    logp = log_probability(model.table, ids)
    (exact,) = torch.autograd.grad((logp.exp() * rewards).sum(), model.table, retain_graph=True)
    total = torch.zeros_like(exact)
    for i, j in itertools.product(range(9), repeat=2):
        pair = torch.tensor([i, j])
        advantages = reinforce.group_advantages(rewards[pair], 2)
        loss, _ = reinforce.reinforce_loss(model(ids[pair]), ids[pair], mask[pair], advantages, 1)
        total += logp[pair].sum().exp().detach() * torch.autograd.grad(loss, model.table)[0]
    torch.testing.assert_close(total, -exact / 2 * (1 / 2), rtol=1e-12, atol=1e-14)


def test_entropy_bonus_is_the_gradient_of_the_entropy(reinforce):
    """As torch.distributions has it."""
    logits, ids = draws(4, 3, 6, seed=9).requires_grad_(), torch.zeros(4, 3, dtype=torch.long)
    mask = torch.ones(4, 2, dtype=torch.bool)
    loss, stats = reinforce.reinforce_loss(logits, ids, mask, torch.zeros(4, dtype=F64), 1, entropy_coef=0.25)
    entropy = torch.distributions.Categorical(logits=logits[:, :-1]).entropy().mean()
    assert stats["entropy"] == pytest.approx(entropy.item(), rel=1e-12)
    got, want = (torch.autograd.grad(value, logits)[0] for value in (loss, -0.25 * entropy))
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-14)


def test_normalised_advantages_are_z_scores(reinforce):
    rewards = draws(24, seed=10)
    groups = rewards.view(4, 6).numpy()
    want = (groups - groups.mean(1, keepdims=True)) / (groups.std(1, ddof=1, keepdims=True) + 1e-4)
    got = reinforce.group_advantages(rewards, 6, normalize=True)
    np.testing.assert_allclose(got.numpy(), want.ravel(), rtol=1e-12)


def test_rollouts_have_the_probabilities_of_enumeration(reinforce):
    """Whole completions with an early end, over 40,000 rows: within 5 standard errors of π(y)."""
    torch.manual_seed(11)
    model, rows = Tabular(draws(4, 3, 3, seed=12)), 40_000
    settings = {"temperature": 0.7, "eos_id": 1, "pad_id": 1, "generator": torch.Generator().manual_seed(13)}
    ids, mask = reinforce.sample_rollouts(model, torch.zeros(1, 1, dtype=torch.long), rows, 3, **settings)
    every, _ = every_completion(3, 3)
    probability: dict[tuple[int, ...], float] = {}
    for row, chance in zip(every[:, 1:].tolist(), log_probability(model.table, every, 0.7).exp().tolist(), strict=True):
        kept = tuple(row[: row.index(1) + 1] if 1 in row else row)
        probability[kept] = probability.get(kept, 0.0) + chance
    drawn: dict[tuple[int, ...], int] = {}
    for row, length in zip(ids[:, 1:].tolist(), mask.sum(1).tolist(), strict=True):
        drawn[tuple(row[:length])] = drawn.get(tuple(row[:length]), 0) + 1
    assert drawn.keys() <= probability.keys()
    for kept, chance in probability.items():
        error = (chance * (1 - chance) / rows) ** 0.5
        assert abs(drawn.get(kept, 0) / rows - chance) < 5 * error


def test_resumed_run_is_the_same_to_the_bit(reinforce, tmp_path):
    cfg = reinforce.TrainConfig(prompts=3, group_size=4, total_steps=8, dropout=0.2)
    whole = reinforce.make_state(cfg, 1)
    history = reinforce.train(whole, cfg, 8)
    parted = reinforce.make_state(cfg, 1)
    reinforce.train(parted, cfg, 3)
    reinforce.save_checkpoint(str(tmp_path / "run.pt"), parted)
    resumed = reinforce.make_state(cfg, 2)
    reinforce.load_checkpoint(str(tmp_path / "run.pt"), resumed)
    assert reinforce.train(resumed, cfg, 5) == history[3:]
    for one, other in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(one, other)
