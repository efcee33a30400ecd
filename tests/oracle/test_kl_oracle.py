"""The KL kata's reference against torch.distributions, F.kl_div, exact enumeration and the published figures."""

import math
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 — its usual name
from references import reference
from torch.distributions import Categorical, Normal, kl_divergence

pytestmark = pytest.mark.oracle

KINDS = ("k1", "k2", "k3")


@pytest.fixture(scope="module")
def kl() -> ModuleType:
    return reference("kl")


def log_probs(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(*shape, generator=generator, dtype=torch.float64)).log_softmax(-1)


def test_categorical_equals_torch_distributions(kl):
    logp, logq = log_probs(4, 3, 6, seed=1), log_probs(4, 3, 6, seed=2)
    want = kl_divergence(Categorical(logits=logp), Categorical(logits=logq))
    torch.testing.assert_close(kl.kl_categorical(logp, logq), want, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(kl.kl_from_probs(logp.exp(), logq.exp()), want, rtol=1e-13, atol=1e-13)


def test_zeros_equal_torch_distributions_in_both_directions(kl):
    p = torch.tensor([[0.5, 0.5, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]], dtype=torch.float64)
    q = torch.tensor([[0.5, 0.25, 0.25, 0.0], [0.25, 0.5, 0.25, 0.0]], dtype=torch.float64)
    for a, b in ((p, q), (q, p)):
        want = kl_divergence(Categorical(probs=a), Categorical(probs=b))
        torch.testing.assert_close(kl.kl_from_probs(a, b), want)
        torch.testing.assert_close(kl.kl_categorical(a.log(), b.log()), want)
    assert kl.kl_from_probs(q, p).isinf().all()


def test_categorical_is_kl_div_with_the_arguments_exchanged(kl):
    logp, logq = log_probs(5, 6, seed=3), log_probs(5, 6, seed=4)
    pointwise = F.kl_div(logq, logp, log_target=True, reduction="none")
    torch.testing.assert_close(kl.kl_categorical(logp, logq), pointwise.sum(-1))
    batchmean = F.kl_div(logq, logp, log_target=True, reduction="batchmean")
    torch.testing.assert_close(kl.kl_categorical(logp, logq).mean(), batchmean)
    torch.testing.assert_close(batchmean / pointwise.mean(), torch.tensor(6.0, dtype=torch.float64))


def test_directions_equal_torch_distributions(kl):
    target, model = log_probs(5, 7, seed=5), log_probs(5, 7, seed=6)
    forward = kl_divergence(Categorical(logits=target), Categorical(logits=model))
    reverse = kl_divergence(Categorical(logits=model), Categorical(logits=target))
    torch.testing.assert_close(kl.forward_kl(target, model), forward)
    torch.testing.assert_close(kl.reverse_kl(target, model), reverse)
    torch.testing.assert_close(kl.symmetric_kl(target, model), forward + reverse)


def test_gaussian_equals_torch_distributions(kl):
    mu1, std1, mu2, std2 = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    want = kl_divergence(Normal(mu1, std1.exp()), Normal(mu2, std2.exp()))
    torch.testing.assert_close(kl.kl_gaussian(mu1, std1.exp(), mu2, std2.exp()), want, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("shift", "kind", "bias", "deviation"),
    [
        pytest.param(0.1, "k1", 0.0, 20.0, id="near-k1"),
        pytest.param(0.1, "k2", 0.0025, 1.42, id="near-k2"),
        pytest.param(0.1, "k3", 0.0, 1.42, id="near-k3"),
        pytest.param(1.0, "k1", 0.0, 2.0, id="far-k1"),
        pytest.param(1.0, "k2", 0.25, 1.73, id="far-k2"),
        pytest.param(1.0, "k3", 0.0, 1.7, id="far-k3"),
    ],
)
def test_bias_and_deviation_are_schulmans(kl, shift, kind, bias, deviation):
    """x ~ N(0, 1) against N(shift, 1), by quadrature; both figures in units of the true KL, shift²/2.

    The published table prints .002 for the bias that is exactly .0025; the rest agree as printed.
    """
    x = torch.linspace(-14, 14, 28_001, dtype=torch.float64)
    ours, other = Normal(torch.zeros_like(x), 1.0), Normal(torch.full_like(x, shift), 1.0)
    weight = ours.log_prob(x).exp() * (x[1] - x[0])
    k = kl.kl_estimate(ours.log_prob(x), other.log_prob(x), kind)
    mean = (weight * k).sum()
    spread = (weight * (k - mean) ** 2).sum().sqrt()
    true = shift**2 / 2
    assert (mean - true) / true == pytest.approx(bias, abs=1e-6)
    assert spread / true == pytest.approx(deviation, abs=0.006)


def test_estimators_by_enumeration(kl):
    """k1 and k3 have the KL as their mean exactly; k2 has not, and k3 with its ratio inverted has χ² − KL."""
    logp, logq = log_probs(6, seed=8), log_probs(6, seed=9)
    true = kl_divergence(Categorical(logits=logp), Categorical(logits=logq))
    mean = {kind: (logp.exp() * kl.kl_estimate(logp, logq, kind)).sum() for kind in KINDS}
    torch.testing.assert_close(mean["k1"], true)
    torch.testing.assert_close(mean["k3"], true)
    assert (mean["k2"] - true).abs() > 0.01
    inverted = kl.kl_estimate(logq, logp, "k3")
    chi_squared = (2 * logp - logq).exp().sum() - 1
    torch.testing.assert_close((logp.exp() * inverted).sum(), chi_squared - true)


def test_k3_keeps_its_digits_where_the_series_is_exact(kl):
    d = torch.tensor([1e-6, -1e-6, 1e-4, -1e-4], dtype=torch.float64)
    series = d**2 / 2 - d**3 / 6 + d**4 / 24
    torch.testing.assert_close(kl.kl_estimate(d, torch.zeros_like(d), "k3"), series, rtol=1e-9, atol=0)


def test_expected_gradients_by_enumeration(kl):
    """E[∇k1] = 0, E[∇k2] = ∇KL(π‖ref), E[∇k3] = ∇KL(ref‖π); k1 as a reward has ∇KL(π‖ref) too, k3 has not."""
    theta, ref = log_probs(6, seed=10).requires_grad_(), log_probs(6, seed=11)
    logp = theta.log_softmax(-1)
    p = logp.detach().exp()
    policy, reference = Categorical(logits=logp), Categorical(logits=ref)

    def gradient(loss: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad(loss, theta, retain_graph=True)[0]

    reverse, forward = gradient(kl_divergence(policy, reference)), gradient(kl_divergence(reference, policy))
    in_loss = {kind: gradient((p * kl.kl_estimate(logp, ref, kind)).sum()) for kind in KINDS}
    in_reward = {kind: gradient((p * kl.kl_estimate(logp, ref, kind).detach() * logp).sum()) for kind in KINDS}
    torch.testing.assert_close(in_loss["k1"], torch.zeros_like(theta))
    torch.testing.assert_close(in_loss["k2"], reverse)
    torch.testing.assert_close(in_loss["k3"], forward)
    torch.testing.assert_close(in_reward["k1"], reverse)
    assert (in_reward["k3"] - reverse).abs().max() > 0.01


@pytest.mark.parametrize(
    ("kind", "place", "optimum"),
    [
        pytest.param("k1", "reward", (0.1584, 0.7024, 0.0866, 0.0526), id="k1-reward"),
        pytest.param("k2", "loss", (0.1584, 0.7024, 0.0866, 0.0526), id="k2-loss"),
        pytest.param("k3", "loss", (0.2045, 0.6740, 0.0813, 0.0402), id="k3-loss"),
        pytest.param("k1", "loss", (0.0, 1.0, 0.0, 0.0), id="k1-loss"),
    ],
)
def test_fixed_points_are_the_figures_of_the_debrief(kl, kind, place, optimum):
    ref = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64).log()
    reward = torch.tensor([0.0, 1.0, 0.3, 0.6], dtype=torch.float64)
    got = kl.kl_grad_experiment(ref, ref, reward, 0.5, kind, place, lr=2.0, steps=1500)
    torch.testing.assert_close(got, torch.tensor(optimum, dtype=torch.float64), rtol=0, atol=6e-4)


def test_fixed_points_maximise_their_objective(kl):
    """No distribution on a grid of step 1/50 beats the two optima on E[R] − β·KL, each in its own direction."""
    ref = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64).log()
    reward, beta = torch.tensor([0.0, 1.0, 0.3], dtype=torch.float64), 0.5
    grid = torch.tensor([(i, j, 50 - i - j) for i in range(51) for j in range(51 - i)], dtype=torch.float64) / 50
    for kind, place, reverse in (("k1", "reward", True), ("k3", "loss", False)):
        got = kl.kl_grad_experiment(ref, ref, reward, beta, kind, place, lr=3.0, steps=400)
        candidates = torch.cat([got[None], grid])  # (1 + 1326, 3)
        policy, reference = Categorical(probs=candidates), Categorical(logits=ref.expand(len(candidates), 3))
        penalty = kl_divergence(policy, reference) if reverse else kl_divergence(reference, policy)
        assert (candidates @ reward - beta * penalty).argmax() == 0


def test_masked_sequence_equals_a_loop_over_tokens(kl):
    generator = torch.Generator().manual_seed(12)
    logp, ref = -torch.rand(4, 7, generator=generator, dtype=torch.float64), -torch.rand(4, 7, generator=generator)
    ref = ref.double()
    mask = torch.rand(4, 7, generator=generator) < 0.6
    mask[2] = False
    rows = [
        [math.exp(r - p) - 1 - (r - p) for p, r, m in zip(*row, strict=True) if m]
        for row in zip(logp.tolist(), ref.tolist(), mask.tolist(), strict=True)
    ]
    tokens = [k for row in rows for k in row]
    sequence, token = (kl.masked_sequence_kl(logp, ref, mask, "k3", reduce) for reduce in ("sequence", "token"))
    assert float(sequence) == pytest.approx(sum(map(sum, rows)) / 4, rel=1e-12)
    assert float(token) == pytest.approx(sum(tokens) / len(tokens), rel=1e-12)


def test_ppo_statistic_has_the_mean_kl_old_new(kl):
    """Actions of the old policy in exact proportion: the statistic is then KL(old‖new)."""
    old = torch.tensor([0.5, 0.25, 0.125, 0.125], dtype=torch.float64)
    new = log_probs(4, seed=13)
    actions = torch.tensor([0, 0, 0, 0, 1, 1, 2, 3])
    want = kl_divergence(Categorical(probs=old), Categorical(logits=new))
    torch.testing.assert_close(kl.ppo_approx_kl(new[actions], old.log()[actions]), want)


def test_dpo_kl_equals_torch_distributions_and_expected_reward_over_beta(kl):
    ref, reward, beta = log_probs(3, 6, seed=14), log_probs(3, 6, seed=15), 0.3
    weights = ref.exp() * (reward / beta).exp()
    optimum = weights / weights.sum(-1, keepdim=True)
    got = kl.dpo_implicit_kl(ref, reward, beta)
    torch.testing.assert_close(got, kl_divergence(Categorical(probs=optimum), Categorical(logits=ref)))
    torch.testing.assert_close(got, (optimum * reward).sum(-1) / beta - weights.sum(-1).log())
