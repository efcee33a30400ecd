"""The DPO kata's reference against trl 1.16: the own loss methods of its trainers, with stand-ins around them."""

from collections import defaultdict
from types import ModuleType, SimpleNamespace

import pytest
import torch
from references import reference

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.filterwarnings("ignore"),  # trl and what it imports warn at import
]

TRL = "1.16"
BETA = 0.1
PAIRS, LENGTH = 3, 9
SAME = {"rtol": 1e-12, "atol": 1e-12}


@pytest.fixture(scope="module")
def dpo() -> ModuleType:
    return reference("dpo")


@pytest.fixture(scope="module")
def trl() -> ModuleType:
    module = pytest.importorskip("trl")
    if not module.__version__.startswith(TRL):
        pytest.skip(f"the stand-ins fit trl {TRL}, not {module.__version__}")
    return module


class Accelerator:
    """What the losses ask of accelerate.Accelerator, for one process."""

    device = torch.device("cpu")
    num_processes = 1

    def gather_for_metrics(self, values):
        return values

    gather = unwrap_model = gather_for_metrics

    def reduce(self, values, reduction):
        assert reduction in ("sum", "mean")
        return values


class Scripted:
    """A model whose log-probabilities (rows, L-1) are given; `mismatched` ones answer for KTO's second forward pass."""

    training = True
    is_gradient_checkpointing = False

    def __init__(self, logps, mismatched=None):
        self.logps, self.mismatched = logps, mismatched

    def __call__(self, input_ids, labels, **_):
        counted = labels[:, 1:] != -100
        logps = (self.mismatched if bool((input_ids == 7).all()) else self.logps) * counted
        zero = torch.zeros_like(logps)
        return SimpleNamespace(log_probs=logps, entropy=zero, mean_logits=zero, is_top1=counted, log_sum_sq_probs=zero)


def trainer(policy, reference, **fields):
    """Stands in for `self` of a trl trainer."""
    common = {
        "model": policy,
        "ref_model": reference,
        "accelerator": Accelerator(),
        "args": SimpleNamespace(gradient_checkpointing_kwargs=None, discopop_tau=0.05),
        "aux_loss_enabled": False,
        "precompute_ref_logps": False,
        "beta": BETA,
        "_total_train_tokens": 0,
        "_tp_size": 1,
        "_metrics": {"train": defaultdict(list)},
    }
    return SimpleNamespace(**common, **fields)


def trl_dpo(trl, batch, kind, label_smoothing=0.0):
    """(loss, metrics) of trl; the chosen rows come first in `batch`."""
    policy = Scripted(batch.policy)
    self = trainer(
        policy,
        Scripted(batch.reference),
        ld_alpha=None,
        f_divergence_type="reverse_kl",
        loss_types=[kind],
        loss_weights=[1.0],
        label_smoothing=label_smoothing,
        use_weighting=False,
    )
    ones = torch.ones_like(batch.mask)
    inputs = {"input_ids": ones, "attention_mask": ones, "completion_mask": batch.mask}
    return trl.DPOTrainer._compute_loss(self, policy, inputs, False), self._metrics["train"]


def trl_kto(trl, batch, desirable, mismatched, weights):
    """(loss, metrics) of trl for single completions with their mismatched pairs."""
    policy = Scripted(batch.policy, mismatched.policy)
    self = trainer(
        policy,
        Scripted(batch.reference, mismatched.reference),
        calculate_KL=True,
        loss_type="kto",
        desirable_weight=weights[0],
        undesirable_weight=weights[1],
    )
    self._compute_kl_logps = lambda *args: trl.KTOTrainer._compute_kl_logps(self, *args)
    ones = torch.ones_like(batch.mask)
    inputs = {"input_ids": ones, "attention_mask": ones, "completion_mask": batch.mask, "label": desirable}
    inputs |= {"KL_input_ids": 7 * ones, "KL_attention_mask": ones, "KL_completion_mask": mismatched.mask}
    return trl.KTOTrainer._compute_loss(self, policy, inputs, False), self._metrics["train"]


def token_batch(seed):
    """Per-token log-probabilities of 2 · PAIRS rows under both models, with completions of two to five tokens."""
    generator = torch.Generator().manual_seed(seed)
    policy, reference = -2 * torch.rand(2, 2 * PAIRS, LENGTH - 1, generator=generator, dtype=torch.float64)
    mask = torch.zeros(2 * PAIRS, LENGTH, dtype=torch.long)
    for row in range(2 * PAIRS):
        mask[row, 3 : 5 + row % 4] = 1
    return SimpleNamespace(policy=policy.requires_grad_(), reference=reference, mask=mask)


def sequences(batch, average=False):
    """(policy, reference) log-probabilities of the rows, summed or averaged."""
    counted = batch.mask[:, 1:]
    sums = (batch.policy * counted).sum(1), (batch.reference * counted).sum(1)
    return tuple(total / counted.sum(1) for total in sums) if average else sums


def pairs(batch, average=False):
    """pc, pr, rc, rr."""
    policy, reference = sequences(batch, average)
    return *policy.chunk(2), *reference.chunk(2)


def swapped(batch):
    """The same batch with chosen and rejected exchanged."""
    return SimpleNamespace(**{name: torch.cat(value.chunk(2)[::-1]) for name, value in vars(batch).items()})


def assert_same_loss(ours, theirs, leaf):
    """Equal values, and equal gradients of every token's log-probability."""
    torch.testing.assert_close(ours, theirs, **SAME)
    for_ours, for_theirs = (torch.autograd.grad(loss, leaf, retain_graph=True)[0] for loss in (ours, theirs))
    torch.testing.assert_close(for_ours, for_theirs, **SAME)


@pytest.mark.usefixtures("trl")
def test_sequence_logprobs_sum_what_trl_selects(dpo):
    utils = pytest.importorskip("trl.trainer.utils")
    generator = torch.Generator().manual_seed(1)
    batch = token_batch(seed=1)
    logits = torch.randn(2 * PAIRS, LENGTH, 11, generator=generator, dtype=torch.float64)
    ids = torch.randint(11, (2 * PAIRS, LENGTH), generator=generator)
    counted = batch.mask[:, 1:]
    want = (utils.selective_log_softmax(logits[:, :-1], ids[:, 1:]) * counted).sum(1)
    torch.testing.assert_close(dpo.sequence_logprobs(logits, ids, batch.mask), want, **SAME)
    averaged = dpo.sequence_logprobs(logits, ids, batch.mask, average=True)
    torch.testing.assert_close(averaged, want / counted.sum(1), **SAME)


def test_dpo_loss_rewards_and_gradient_equal_trl(dpo, trl):
    batch = token_batch(seed=2)
    loss, chosen, rejected = dpo.dpo_loss(*pairs(batch), BETA)
    theirs, metrics = trl_dpo(trl, batch, "sigmoid")
    assert_same_loss(loss, theirs, batch.policy)
    assert metrics["rewards/chosen"] == pytest.approx([chosen.mean().item()])
    assert metrics["rewards/rejected"] == pytest.approx([rejected.mean().item()])
    assert metrics["rewards/margins"] == pytest.approx([(chosen - rejected).mean().item()])
    assert metrics["rewards/accuracies"] == pytest.approx([(chosen > rejected).double().mean().item()])


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.3])
def test_label_smoothing_mixes_the_trl_losses_of_both_orders(dpo, trl, smoothing):
    batch = token_batch(seed=3)
    given, flipped = (trl_dpo(trl, order, "sigmoid")[0] for order in (batch, swapped(batch)))
    ours = dpo.dpo_loss(*pairs(batch), BETA, label_smoothing=smoothing)[0]
    assert_same_loss(ours, (1 - smoothing) * given + smoothing * flipped, batch.policy)


def test_label_smoothing_is_not_the_robust_loss_of_trl(dpo, trl):
    batch = token_batch(seed=3)
    robust, _ = trl_dpo(trl, batch, "robust", label_smoothing=0.2)
    assert abs(dpo.dpo_loss(*pairs(batch), BETA, label_smoothing=0.2)[0] - robust) > 1e-3


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_sigmoid_loss_of_trl_ignores_label_smoothing(trl, smoothing):
    batch = token_batch(seed=3)
    assert trl_dpo(trl, batch, "sigmoid", smoothing)[0] == trl_dpo(trl, batch, "sigmoid")[0]


def test_ipo_loss_on_averages_equals_trl(dpo, trl):
    batch = token_batch(seed=4)
    theirs, _ = trl_dpo(trl, batch, "ipo")
    assert_same_loss(dpo.ipo_loss(*pairs(batch, average=True), BETA), theirs, batch.policy)
    assert abs(dpo.ipo_loss(*pairs(batch), BETA) - theirs) > 0.5


@pytest.mark.parametrize("desirable", [(1, 0, 1, 1, 0, 0), (1,) * 6, (0,) * 6])
@pytest.mark.parametrize("direction", [1, -1])
def test_kto_loss_equals_trl(dpo, trl, desirable, direction):
    """For both classes and for one; for a positive estimate of the KL, and for a negative one, which is clamped."""
    batch, mismatched = token_batch(seed=5), token_batch(seed=6)
    mismatched.policy = mismatched.reference + 0.3 * direction
    flags, weights = torch.tensor(desirable, dtype=torch.bool), (1.3, 0.7)
    theirs, metrics = trl_kto(trl, batch, flags, mismatched, weights)
    ours = dpo.kto_loss(*sequences(batch), flags, *sequences(mismatched), BETA, *weights)
    assert_same_loss(ours, theirs, batch.policy)
    assert (metrics["kl"][0] > 0) == (direction > 0)


def test_safedpo_is_the_trl_loss_with_a_raised_reference(dpo, trl):
    """−log σ(βh − Δ) is DPO whose reference likes the winner Δ/β more."""
    batch, delta = token_batch(seed=7), 1.5
    safe, unsafe = torch.zeros(PAIRS, dtype=torch.bool), torch.ones(PAIRS, dtype=torch.bool)
    ours = dpo.safedpo_loss(*pairs(batch), safe, unsafe, BETA, delta)
    batch.reference = batch.reference.clone()
    batch.reference[:PAIRS, 2] += delta / BETA  # the first token of each winner's completion
    assert_same_loss(ours, trl_dpo(trl, batch, "sigmoid")[0], batch.policy)
