"""The value-head kata's reference against stable-baselines3, explicit sums, and values by enumeration."""

from itertools import product
from types import ModuleType

import numpy as np
import pytest
import torch
from references import reference

pytestmark = pytest.mark.oracle
gym = pytest.importorskip("gymnasium")
buffers = pytest.importorskip("stable_baselines3.common.buffers")

STEPS, ENVS, GAMMA, LAM = 7, 3, 0.97, 0.9
SINGLE = {"rtol": 1e-5, "atol": 2e-6}  # SB3 computes in float32


@pytest.fixture(scope="module")
def kata() -> ModuleType:
    return reference("value-head")


def numbers(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def ends(*places: tuple[int, int]) -> torch.Tensor:
    flags = torch.zeros(STEPS, ENVS, dtype=torch.bool)
    for place in places:
        flags[place] = True
    return flags


def of_sb3(rewards: torch.Tensor, values: torch.Tensor, done: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Advantages and returns of SB3's buffer; rewards, done (T, N), values (T + 1, N)."""
    steps, envs = rewards.shape
    space, actions = gym.spaces.Box(-1, 1, (1,)), gym.spaces.Discrete(2)
    buffer = buffers.RolloutBuffer(steps, space, actions, device="cpu", gamma=GAMMA, gae_lambda=LAM, n_envs=envs)
    begins = np.vstack([np.zeros((1, envs)), done.numpy()]).astype(np.float32)
    for t in range(steps):
        nothing = np.zeros((envs, 1))
        buffer.add(nothing, nothing, rewards[t].numpy(), begins[t], values[t].float(), torch.zeros(envs))
    buffer.compute_returns_and_advantage(last_values=values[steps].float(), dones=begins[steps])
    return torch.from_numpy(buffer.advantages).double(), torch.from_numpy(buffer.returns).double()


def test_episodes_equal_sb3_where_they_terminate(kata):
    rewards, values = numbers(STEPS, ENVS, seed=0), numbers(STEPS + 1, ENVS, seed=1)
    for terminated in (ends(), ends((2, 0), (4, 1), (6, 2)), ends((0, 0), (1, 0), (6, 0))):
        unused = torch.full_like(rewards, torch.nan)
        got = kata.gae_episodes(rewards, values, terminated, ends(), unused, GAMMA, LAM)
        torch.testing.assert_close(got, of_sb3(rewards, values, terminated), **SINGLE)


def test_truncation_equals_sb3s_recipe(kata):
    """SB3 adds γ·V(final state) to the reward of a truncated step and then treats it as an end.

    Its return contains that bonus like ours. Taking truncation for termination is off by more than 0.1.
    """
    rewards, values, final = (numbers(STEPS + extra, ENVS, seed=seed) for extra, seed in ((0, 2), (1, 3), (0, 4)))
    terminated, truncated = ends((1, 1), (4, 2)), ends((2, 0), (6, 1))
    got = kata.gae_episodes(rewards, values, terminated, truncated, final, GAMMA, LAM)
    augmented = rewards + GAMMA * final * truncated
    torch.testing.assert_close(got, of_sb3(augmented, values, terminated | truncated), **SINGLE)
    assert (got[0] - of_sb3(rewards, values, terminated | truncated)[0]).abs().max() > 0.1


def test_full_rows_equal_sb3(kata):
    rewards, values = numbers(STEPS, ENVS, seed=5), numbers(STEPS + 1, ENVS, seed=6)
    mask = torch.ones(ENVS, STEPS)
    for done in (ends(*((STEPS - 1, env) for env in range(ENVS))), ends()):
        bootstrap = None if done.any() else values[-1]
        got = kata.compute_gae(rewards.T, values[:-1].T, mask, GAMMA, LAM, bootstrap)
        want = of_sb3(rewards, values, done)
        torch.testing.assert_close(tuple(x.T for x in got), want, **SINGLE)


def test_ragged_rows_equal_sb3_row_by_row(kata):
    rewards, values, lengths = numbers(4, STEPS, seed=7), numbers(4, STEPS, seed=8), (7, 3, 1, 5)
    mask = torch.arange(STEPS) < torch.tensor(lengths)[:, None]
    bootstrap = numbers(4, seed=9)
    advantages, returns = kata.compute_gae(rewards, values, mask, GAMMA, LAM, bootstrap)
    for row, length in enumerate(lengths):
        ahead = torch.cat([values[row, :length], bootstrap[row : row + 1]])[:, None]
        want = of_sb3(rewards[row, :length, None], ahead, torch.zeros(length, 1))
        torch.testing.assert_close((advantages[row, :length, None], returns[row, :length, None]), want, **SINGLE)
    assert not advantages[~mask].any()
    assert not returns[~mask].any()


def test_gae_is_the_explicit_double_sum(kata):
    """A_t = Σ_l (γλ)^l δ_{t+l}, written out."""
    rewards, values, bootstrap = numbers(3, STEPS, seed=10), numbers(3, STEPS, seed=11), numbers(3, seed=12)
    lengths = (7, 4, 2)
    mask = torch.arange(STEPS) < torch.tensor(lengths)[:, None]
    got, _ = kata.compute_gae(rewards, values, mask, GAMMA, LAM, bootstrap)
    for row, n in enumerate(lengths):
        state = [*values[row, :n].tolist(), float(bootstrap[row])]
        delta = [float(rewards[row, t]) + GAMMA * state[t + 1] - state[t] for t in range(n)]
        want = [sum((GAMMA * LAM) ** (s - t) * delta[s] for s in range(t, n)) for t in range(n)]
        torch.testing.assert_close(got[row, :n], torch.tensor(want, dtype=torch.float64), rtol=1e-12, atol=1e-12)


def test_lambda_one_is_monte_carlo_and_lambda_zero_one_step(kata):
    rewards, values = numbers(2, 5, seed=13), numbers(2, 5, seed=14)
    mask = torch.ones(2, 5, dtype=torch.bool)
    to_go = rewards.flip(1).cumsum(1).flip(1)
    torch.testing.assert_close(kata.compute_gae(rewards, values, mask, 1.0, 1.0)[1], to_go)
    one_step = rewards + torch.cat([values[:, 1:], torch.zeros(2, 1)], dim=1)
    torch.testing.assert_close(kata.compute_gae(rewards, values, mask, 1.0, 0.0)[1], one_step)


def test_true_values_leave_no_expected_advantage(kata):
    """All 3⁴ completions of a fixed policy: with the true V, E[A_t] = 0 for every λ and E[R_0] = V_0."""
    chances, worth, steps = (0.2, 0.5, 0.3), (0.0, 1.0, -2.0), 4  # token 0 is EOS
    mean = sum(p * w for p, w in zip(chances, worth, strict=True))
    value = [mean * sum((1 - chances[0]) ** k for k in range(steps - t)) for t in range(steps)]
    tokens = torch.tensor(list(product(range(3), repeat=steps)))
    ended = (tokens == 0).cumsum(1) - (tokens == 0).long() > 0
    weight = torch.tensor(chances, dtype=torch.float64)[tokens].prod(1, keepdim=True)
    rewards, values = torch.tensor(worth, dtype=torch.float64)[tokens], torch.tensor(value).double().expand(81, steps)
    for lam in (0.0, 0.6, 1.0):
        advantages, returns = kata.compute_gae(rewards, values, ~ended, 1.0, lam)
        torch.testing.assert_close((weight * advantages).sum(0), torch.zeros(steps).double(), rtol=0, atol=1e-6)
        torch.testing.assert_close((weight * returns).sum(0)[0], values[0, 0], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("target", "loss", "gradient"),
    [pytest.param(1.0, 0.32, 0.0, id="towards"), pytest.param(-1.0, 1.125, 1.5, id="away")],
)
def test_value_clip_table(kata, target, loss, gradient):
    """Old 0, new 0.5, clip 0.2: too far towards its target it gets no gradient, away from it the full one."""
    value = torch.tensor([[0.5]], dtype=torch.float64, requires_grad=True)
    full = torch.ones(1, 1, dtype=torch.float64)
    got, _ = kata.clipped_value_loss(value, 0 * full, target * full, full, 0.2)
    got.backward()
    assert got.item() == pytest.approx(loss)
    assert value.grad.item() == pytest.approx(gradient)


def test_explained_variance_equals_sb3(kata):
    utils = pytest.importorskip("stable_baselines3.common.utils")
    values, returns = numbers(4, 6, seed=15), numbers(4, 6, seed=16) + 3
    mask = numbers(4, 6, seed=17) > -0.5
    want = utils.explained_variance(values[mask].numpy(), returns[mask].numpy())
    assert kata.explained_variance(values, returns, mask) == pytest.approx(float(want), rel=1e-12)
