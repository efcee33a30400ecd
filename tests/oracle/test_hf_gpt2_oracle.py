"""The hf-gpt2 kata's reference against Hugging Face itself: rows alone, its `generate`, its loss and its seeds."""

from types import ModuleType

import pytest
import torch
from references import reference

transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.oracle

SEQS = [[3, 9, 4, 8, 7, 5, 3, 6, 9], [5, 4, 7, 3], [8, 6, 0, 2, 9, 4]]
IDS = {"bos_id": 1, "eos_id": 2, "pad_id": 0}


@pytest.fixture(scope="module")
def kata() -> ModuleType:
    return reference("hf-gpt2")


@pytest.fixture(scope="module")
def policy(kata):
    """Weights far larger than fresh ones, in float64."""
    policy = kata.GPT2Policy(kata.build_gpt2(10, 32, 12, 2, 3, 0, **IDS).double().eval())
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in policy.parameters():
            weight.add_(0.5 * torch.randn(weight.shape, generator=generator, dtype=torch.float64))
    return policy


def close(got, want):
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-10)


def test_fresh_weights_are_the_librarys(kata):
    model = kata.build_gpt2(10, 32, 12, 2, 3, 7, **IDS)
    torch.manual_seed(7)
    want = transformers.GPT2LMHeadModel(model.config).state_dict()
    assert all(torch.equal(weight, want[name]) for name, weight in model.state_dict().items())
    assert float(model.transformer.h[0].mlp.c_fc.weight.detach().std()) == pytest.approx(0.1, rel=0.1)
    assert (model.config.resid_pdrop, model.config.embd_pdrop, model.config.attn_pdrop) == (0, 0, 0)


def test_padded_rows_equal_the_library_on_each_row_alone(kata, policy):
    ids, mask, positions = kata.left_pad(SEQS, 0)
    with torch.no_grad():
        logits, given = policy(ids, mask), policy.model(ids, attention_mask=mask, position_ids=positions).logits
        for row, seq in enumerate(SEQS):
            alone = policy.model(torch.tensor([seq])).logits[0]
            close(logits[row, -len(seq) :], alone)
            close(given[row, -len(seq) :], alone)


def test_mask_or_positions_alone_do_not_suffice(kata, policy):
    """What the debrief says of GPT-2: why both are passed."""
    ids, mask, positions = kata.left_pad(SEQS, 0)
    with torch.no_grad():
        alone = policy.model(torch.tensor(SEQS[1:2])).logits[0]
        for told in ({"attention_mask": mask}, {"position_ids": positions}):
            assert (policy.model(ids, **told).logits[1, -4:] - alone).abs().max() > 0.05


def test_padding_holds_anything(kata, policy):
    ids, mask, _ = kata.left_pad(SEQS, 0)
    with torch.no_grad():
        close(policy(ids.masked_fill(mask == 0, 7), mask)[mask.bool()], policy(ids, mask)[mask.bool()])


def test_logprobs_are_the_librarys_loss(policy):
    """`labels=` gives the mean negative log-probability of all tokens but the first."""
    for seq in SEQS:
        ids = torch.tensor([seq])
        logps = policy.token_logprobs(ids, torch.ones_like(ids), 1)
        loss = policy.model(ids, labels=ids).loss  # which the library computes in float32
        torch.testing.assert_close(-logps.mean().float(), loss, rtol=1e-5, atol=1e-6)


def test_logprobs_equal_a_categorical_distribution(kata, policy):
    ids, mask, _ = kata.left_pad(SEQS, 0)
    got = policy.token_logprobs(ids, mask, 6, temperature=0.6)
    for row, seq in enumerate(SEQS):
        logits = policy.model(torch.tensor([seq])).logits[0, :-1] / 0.6
        want = torch.distributions.Categorical(logits=logits).log_prob(torch.tensor(seq[1:]))
        close(got[row], want[-3:])


@pytest.mark.parametrize("eos_id", [pytest.param(None, id="no-eos"), *range(10)])
def test_greedy_tokens_equal_the_librarys_generate(kata, policy, eos_id):
    ids, mask, _ = kata.left_pad(SEQS, 0)
    got, completed = policy.generate(ids, mask, 12, do_sample=False, eos_id=eos_id)
    want = policy.model.generate(
        ids, attention_mask=mask, max_new_tokens=12, do_sample=False, eos_token_id=eos_id, pad_token_id=0
    )
    assert torch.equal(got[:, : want.shape[1]], want)
    for row in range(len(SEQS)):
        new = got[row, ids.shape[1] :].tolist()
        length = new.index(eos_id) + 1 if eos_id in new else 12
        if completed[row].sum() < 12:
            assert length == completed[row].sum()
        assert completed[row].tolist() == [True] * length + [False] * (12 - length)


def test_sampling_is_the_librarys_without_top_k(kata, policy):
    """Its `generate` draws from the global generator as ours does, one multinomial a token."""
    ids, mask, _ = kata.left_pad(SEQS, 0)
    options = {"max_new_tokens": 10, "do_sample": True, "temperature": 0.8, "top_k": 0, "top_p": 1.0}
    torch.manual_seed(3)
    want = policy.model.generate(ids, attention_mask=mask, eos_token_id=None, pad_token_id=0, **options)
    torch.manual_seed(3)
    assert torch.equal(policy.generate(ids, mask, 10, temperature=0.8)[0], want)


def test_sampled_completions_come_with_their_enumerated_probability(policy):
    """All 100 completions of two tokens: their probabilities sum to 1, and 20 000 draws follow them."""
    every = torch.cartesian_prod(torch.arange(10), torch.arange(10))  # (100, 2)
    prompt = torch.tensor([[5, 4, 7]])
    ids = torch.cat([prompt.expand(100, -1), every], dim=1)
    logps = policy.token_logprobs(ids, torch.ones_like(ids), 3, temperature=1.7).sum(dim=1).detach()
    close(logps.exp().sum(), torch.tensor(1.0, dtype=torch.float64))
    many = prompt.expand(20_000, -1)
    out, _ = policy.generate(
        many, torch.ones_like(many), 2, temperature=1.7, generator=torch.Generator().manual_seed(4)
    )
    counts = torch.bincount(out[:, 3] * 10 + out[:, 4], minlength=100)
    deviation = (counts / 20_000 - logps.exp()).abs() / (logps.exp() * (1 - logps.exp()) / 20_000).sqrt()
    assert deviation.max() < 5


def test_files_are_read_by_the_library(kata, policy, tmp_path):
    kata.save_policy(policy, str(tmp_path / "new" / "folder"))
    read = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "new" / "folder")
    assert all(torch.equal(weight, read.state_dict()[name]) for name, weight in policy.model.state_dict().items())
    assert next(kata.load_policy(str(tmp_path / "new" / "folder")).parameters()).dtype == torch.float64
