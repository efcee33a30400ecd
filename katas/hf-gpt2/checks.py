"""The hidden checks. Policies are made by a probe, with weights far larger than those of training."""

from itertools import cycle

import torch

from grader.checking import (
    assert_close,
    assert_distribution,
    assert_equal,
    assert_inputs_unchanged,
    assert_raises,
    assert_true,
    check,
    cpu_seconds,
    fail,
    keep,
)

F32, F64 = torch.float32, torch.float64
TOLERANCE = {F64: {"rtol": 1e-8, "atol": 1e-9}, F32: {"rtol": 1e-4, "atol": 2e-5}}
EXACT = TOLERANCE[F64]
SIZES = {"vocab_size": 13, "n_positions": 20, "n_embd": 12, "n_layer": 2, "n_head": 3}
IDS = {"bos_id": 1, "eos_id": 2, "pad_id": 0}
SETTINGS = (*SIZES, "initializer_range", "tie_word_embeddings", "resid_pdrop", "embd_pdrop", "attn_pdrop")
SETTINGS += ("bos_token_id", "eos_token_id", "pad_token_id")
GREEDY = {"do_sample": False}
WHOLE = "(ids, completion_mask)"


def seed_of(rng):
    return int(rng.integers(2**31))


def policy_of(side, rng, dtype=F64, seed=None, scale=0.5, **config):
    return side.run("policy_of", seed_of(rng) if seed is None else seed, dtype, config, scale)


def twins(attempt, reference, rng, dtype=F64, seed=None, **options):
    """The attempt's and the reference's policy with equal weights."""
    seed = seed_of(rng) if seed is None else seed
    return [policy_of(side, rng, dtype, seed, **options) for side in (attempt, reference)]


def both(attempt, reference, probe, policies, *args):
    """What the probe says of the attempt's and of the reference's policy."""
    return [side.run(probe, policy, *args) for side, policy in zip((attempt, reference), policies, strict=True)]


def spans(starts, ends, width):
    """A mask with the tokens of each row from its start to its end."""
    rows = zip(starts, ends, strict=True)
    return torch.tensor([[int(start <= column < end) for column in range(width)] for start, end in rows])


def random_ids(rng, rows, width, high=11):
    """Not contiguous, where both are above 1."""
    return torch.from_numpy(rng.integers(0, high, size=(width, rows))).T


def prompts(rng, starts, width, high=11):
    """Ids, which are random on padding too, and the mask of rows that begin at `starts`."""
    return random_ids(rng, len(starts), width, high), spans(starts, [width] * len(starts), width)


@check("build", points=3)
def test_config(attempt, reference):
    """the config has the sizes and ids that came in, initializer_range 0.1, no dropout, and tied embeddings"""
    cases = (SIZES, IDS), (SIZES | {"n_layer": 1, "n_positions": 7}, {"bos_id": None, "eos_id": 5, "pad_id": 5})
    for sizes, ids in cases:
        models = [side.build_gpt2(**sizes, seed=3, **ids) for side in (attempt, reference)]
        assert_equal(models[0].type_name, "GPT2LMHeadModel", label="the type of the model")
        assert_equal(*both(attempt, reference, "settings", models, SETTINGS), label="the config")
        spread = attempt.run("state", models[0])["weights"]["transformer.wte.weight"].std().item()
        assert_true(0.07 < spread < 0.13, "the spread of the embedding's weights", expected="0.1", got=f"{spread:.3f}")


@check("build", points=7)
def test_weights_come_from_the_seed(attempt, reference, rng):
    """the weights are those that the seed gives, each time, and torch's global generator is afterwards as before"""
    seed = seed_of(rng)
    for one in (seed, seed + 1, seed):
        models = [side.build_gpt2(**SIZES, seed=one, **IDS) for side in (attempt, reference)]
        got, want = both(attempt, reference, "state", models)
        assert_close(got["weights"], want["weights"], rtol=1e-6, atol=1e-7)
        assert_equal(got["trainable"], want["trainable"], label="which weights require a gradient")
    same = attempt.run("leaves_global_generator", None, "build_gpt2", (), SIZES | IDS | {"seed": seed + 2})
    assert_equal(same, True, label="the global generator is in the state it was in before")


RAGGED = [[4, 9, 9], [7], [0, 3, 5, 3, 8], [3, 3, 3, 3]]


@check("left-pad", points=10)
def test_rows_are_padded_at_the_left(attempt, reference):
    """pad_id in front; a mask that is 1 on tokens, also those equal to pad_id; positions from 0; no empty rows"""
    for seqs, pad_id in ((RAGGED, 6), (RAGGED[::-1], 0), (RAGGED[:1], 4), ([[2], [5]], 1), (RAGGED, 3)):
        got = assert_inputs_unchanged(attempt.left_pad, seqs, pad_id)
        assert_equal(got, reference.left_pad(seqs, pad_id), label="(ids, attention_mask, position_ids)")
    for seqs in ([], [[]], [[1, 2], []]):
        assert_raises(ValueError, attempt.left_pad, seqs, 0)


@check("policy", points=10)
def test_padding_is_invisible(attempt, reference, rng):
    """a row's logits [B, L, V] are those of the row alone, whatever stands on the padding; no mask: all are tokens"""
    cases = (
        ((0, 0, 0), 5, F64),
        ((0,), 1, F64),
        ((0, 0), 24, F32),
        ((2, 0, 4), 6, F64),
        ((7,), 8, F64),
        ((0, 5), 9, F32),
    )
    for starts, width, dtype in cases:
        (mine, theirs), (ids, mask) = twins(attempt, reference, rng, dtype), prompts(rng, starts, width)
        alone = [theirs(ids[row : row + 1, start:])[0] for row, start in enumerate(starts)]
        for one in (mask, mask.bool()) if sum(starts) else (mask, None):
            got = assert_inputs_unchanged(mine, ids, one)
            assert_equal(tuple(got.shape), (len(starts), width, 11), label="the shape of the logits")
            assert_true(bool(got.isfinite().all()), "the logits are not finite")
            for row, start in enumerate(starts):
                label = f"the logits of a row behind {start} columns of padding"
                assert_close(got[row, start:], alone[row], **TOLERANCE[dtype], label=label)


LOGPROB_CASES = (  # where the tokens of each row begin and end, columns, prompt_len, temperature
    ((0, 0), (7, 7), 7, 3, 1.0),
    ((0, 2, 1), (8, 8, 8), 8, 5, 0.7),
    ((1, 0), (6, 6), 6, 2, 2.5),
    ((0, 0, 0), (4, 4, 4), 4, 1, 1.5),
    ((2,), (5,), 5, 5, 1.0),
)
ENDED_CASES = (((2, 0, 1), (9, 6, 5), 9, 5, 1.0), ((0, 3), (4, 8), 8, 4, 0.7))


def agree_on_logprobs(attempt, reference, rng, cases, dtypes=(F64, F32), scale=0.5):
    for (starts, ends, width, prompt_len, temperature), dtype in zip(cases, cycle(dtypes), strict=False):
        mine, theirs = twins(attempt, reference, rng, dtype, scale=scale)
        ids, mask = random_ids(rng, len(starts), width), spans(starts, ends, width)
        want = theirs.token_logprobs(ids, mask, prompt_len, temperature)
        for one in (mask, mask.bool()):
            got = assert_inputs_unchanged(mine.token_logprobs, ids, one, prompt_len, temperature)
            assert_close(got, want, **TOLERANCE[dtype])


@check("policy", points=8)
def test_logprobs_of_the_completion(attempt, reference, rng):
    """a completion token is looked up in the column before it, with logits, of ±1e4 too, divided by the temperature"""
    agree_on_logprobs(attempt, reference, rng, LOGPROB_CASES)
    agree_on_logprobs(attempt, reference, rng, LOGPROB_CASES[1:3], dtypes=(F64,), scale=30.0)


@check("policy", points=3, needs="test_logprobs_of_the_completion")
def test_logprobs_behind_the_end(attempt, reference, rng):
    """where a completion has ended its log-probabilities are 0; those of other columns do not notice"""
    agree_on_logprobs(attempt, reference, rng, ENDED_CASES)


@check("policy", points=3, needs="test_logprobs_of_the_completion")
def test_gradients_reach_the_model(attempt, reference, rng):
    """gradients flow through token_logprobs to every weight, in train mode as in eval mode, which stays as it is"""
    for starts, ends, width, prompt_len, temperature in (LOGPROB_CASES[1], ENDED_CASES[0]):
        for training in (True, False):
            policies = [one.train(training) for one in twins(attempt, reference, rng)]
            ids, mask = random_ids(rng, len(starts), width), spans(starts, ends, width)
            args = rng.tensor(len(starts), width - prompt_len, dtype=F64), (ids, mask, prompt_len, temperature)
            assert_close(*both(attempt, reference, "logprob_gradients", policies, *args), **EXACT)
            noisy = policy_of(attempt, rng, resid_pdrop=0.5).train(training)
            first, second = (noisy.token_logprobs(ids, mask, prompt_len) for _ in range(2))
            assert_true(torch.equal(first, second) != training, "dropout: two calls agree in train or differ in eval")
            keep(policies[0])(ids, mask)
            modes = set(attempt.run("state", policies[0])["training"].values())
            assert_equal(modes, {training}, label="train mode afterwards")


@check("policy", points=3, needs="test_logprobs_of_the_completion")
def test_logprobs_follow_the_weights(attempt, reference, rng):
    """two policies side by side, and one whose weights change, are asked the same and answer anew each time"""
    pairs, (ids, mask) = [twins(attempt, reference, rng) for _ in range(2)], prompts(rng, (0, 2), 6)
    for _ in range(2):
        for mine, theirs in pairs:
            assert_close(mine.token_logprobs(ids, mask, 3), theirs.token_logprobs(ids, mask, 3), **EXACT)
            assert_close(mine(ids, mask)[:, 2:], theirs(ids, mask)[:, 2:], **EXACT)
        both(attempt, reference, "change_weights", [one.get("model") for one in pairs[0]], seed_of(rng))


@check("policy", points=2)
def test_bad_prompt_lengths(attempt, rng):
    """prompt_len = L gives no column; below 1, beyond L, or with a temperature of 0 or less a ValueError is raised"""
    policy, (ids, mask) = policy_of(attempt, rng), prompts(rng, (1, 0), 4)
    assert_equal(tuple(policy.token_logprobs(ids, mask, 4).shape), (2, 0), label="the shape")
    for prompt_len, temperature in ((0, 1.0), (5, 1.0), (-1, 1.0), (2, 0.0), (2, -1.0)):
        assert_raises(ValueError, policy.token_logprobs, ids, mask, prompt_len, temperature)


def agree_on_tokens(mine, theirs, ids, mask, count, **options):
    got = assert_inputs_unchanged(mine.generate, ids, mask, count, **options)
    assert_equal(got, theirs.generate(ids, mask, count, **options), label=WHOLE)


@check("generate", points=7)
def test_greedy_tokens(attempt, reference, rng):
    """with do_sample=False each new token is that of the largest logit after the tokens of its row alone"""
    for starts, width, count in (((2, 0, 4), 6, 5), ((0, 0), 3, 4), ((3,), 20, 4), ((9, 0), 10, 6), ((1, 0), 2, 1)):
        policies, (ids, mask) = twins(attempt, reference, rng, pad_token_id=None), prompts(rng, starts, width)
        want = policies[1].generate(ids, mask, count, **GREEDY)
        for one, temperature in ((mask, 1.0), (mask.bool(), 0.0)):
            options = GREEDY | {"temperature": temperature}
            assert_equal(assert_inputs_unchanged(policies[0].generate, ids, one, count, **options), want, label=WHOLE)


@check("generate", points=3, needs="test_greedy_tokens")
def test_cost_of_long_completions(attempt, reference, rng):
    """25 new tokens for 16 prompts of 100 cost about what one pass a token with a cache costs"""
    config = {"vocab_size": 32, "n_positions": 125, "n_embd": 48, "n_layer": 1}
    policies, (ids, mask) = twins(attempt, reference.confined(), rng, **config), prompts(rng, [0, 30] * 8, 100, high=32)
    assert_equal(*(policy.generate(ids, mask, 3, **GREEDY) for policy in policies), label=WHOLE)
    for _ in range(2):
        mine, ours = (cpu_seconds(one.generate, ids, mask, 25, **GREEDY) for one in policies)
        if mine < 2.5 * ours:
            return
    fail("too slow, is the cache used?", expected="< 2.5 times ours", got=f"{mine / ours:.1f} times ours")


@check("generate", points=4, needs="test_greedy_tokens")
def test_what_is_fed(attempt, reference, rng):
    """first the prompts, then single columns; the last new token is never fed, nor any once all rows have ended"""
    for starts, width, count in (((2, 0), 5, 6), ((0,), 1, 4), ((1, 3, 0), 4, 1), ((1,), 5, 9), ((0,), 3, 9)):
        policies, (ids, mask) = twins(attempt, reference, rng, n_layer=1), prompts(rng, starts, width)
        eos_id = int(policies[1].generate(ids, mask, count, **GREEDY)[0][0, -1]) if count == 9 else None
        seen = both(attempt, reference, "watched", policies, (ids, mask, count), GREEDY | {"eos_id": eos_id})
        assert_equal(*(one[:2] for one in seen), label=f"({WHOLE}, columns fed to each forward pass)")


def most_varied_end(tokens):
    """At how many different steps the token ends rows that does so at most of them, and the token."""
    steps = {token: {int((row == token).nonzero()[0]) for row in tokens if token in row} for token in range(11)}
    return max((len(found), token) for token, found in steps.items())


@check("generate", points=5, needs="test_greedy_tokens")
def test_rows_end_one_by_one(attempt, reference, rng):
    """completion_mask is True up to a row's first eos_id and on it; behind it come pads, while other rows go on"""
    mask, seeds = spans((2, 0, 4, 1, 0, 3) * 2, [11] * 12, 11), [seed_of(rng) for _ in range(3)]
    ids = torch.stack([torch.from_numpy(rng.permutation(11)) for _ in range(12)])  # each token is in a prompt
    ours = [policy_of(reference, rng, seed=seed, n_layer=1).generate(ids, mask, 9, **GREEDY)[0] for seed in seeds]
    (_, eos_id), seed = max((most_varied_end(out[:, 11:]), seed) for out, seed in zip(ours, seeds, strict=True))
    for pad_id in (eos_id, (eos_id + 3) % 11):
        ends = {"pad_token_id": pad_id, "eos_token_id": eos_id}
        policies = twins(attempt, reference, rng, seed=seed, n_layer=1, **ends)
        for one in (eos_id, None):  # without it no row ends, whatever the config says
            agree_on_tokens(*policies, ids, mask, 9, eos_id=one, **GREEDY)


@check("generate", points=5)
def test_sampled_distribution(attempt, reference, rng):
    """new tokens come with softmax(logits / temperature), each row's on its own, over the whole vocabulary"""
    for vocab, temperature in ((3, 0.4), (64, 2.0)):
        mine, theirs = twins(attempt, reference, rng, F32, scale=0.5 if vocab == 3 else 0.2, vocab_size=vocab)
        ids, mask = (one.repeat_interleave(1200, dim=0) for one in prompts(rng, (2, 0), 5, high=vocab))
        out = mine.generate(ids, mask, 2, temperature=temperature, generator=rng.torch())[0]
        assert_equal(out[:, :5], ids, label="the prompts")
        for start, group in zip((2, 0), out.clamp(0, vocab).split(1200), strict=True):
            for column in (5, 6):
                rows = group[group[:, column - 1] == group[0, column - 1]]  # alike up to here
                chances = (theirs(rows[:1, start:column])[0, -1] / temperature).softmax(dim=-1).detach()
                counts = torch.bincount(rows[:, column], minlength=vocab).numpy()
                assert_distribution(counts, chances.numpy(), label=f"V = {vocab}, temperature = {temperature}")


@check("generate", points=3)
def test_generators(attempt, rng):
    """all draws come from the generator, from the global one if it is None; greedy draws nothing"""
    policy = policy_of(attempt, rng, scale=0.1)
    (ids, mask), generator = prompts(rng, (1, 0, 2), 5), rng.torch()
    start = generator.get_state()
    policy.generate(ids, mask, 4, generator=generator, **GREEDY)
    assert_equal(generator.get_state(), start, label="the generator's state after a greedy call")
    first, later = (policy.generate(ids, mask, 8, generator=generator)[0] for _ in range(2))
    assert_equal(first[:, :5], ids, label="the prompts")
    assert_true(not torch.equal(first, later), "the generator stays where it was: tokens repeat in a second call")
    generator.set_state(start)
    assert_equal(policy.generate(ids, mask, 8, generator=generator)[0], first, label="ids of an equal generator")
    for options, still in ((GREEDY, True), ({"generator": generator}, True), ({}, False)):
        got = attempt.run("leaves_global_generator", policy, "generate", (ids, mask, 4), options)
        assert_equal(got, still, label=f"the global generator stays where it is, with {sorted(options)}")


@check("generate", points=4)
def test_modes(attempt, reference, rng):
    """it runs in eval mode and without a graph; every module is afterwards in the mode it came in, errors included"""
    for training in (True, False):
        policies = twins(attempt, reference, rng, resid_pdrop=0.5, embd_pdrop=0.5, attn_pdrop=0.5)
        mine, theirs = (one.train(training) for one in policies)
        ids, mask = prompts(rng, (2, 0), 5)
        before = attempt.run("state", mine)
        agree_on_tokens(mine, theirs, ids, mask, 6, **GREEDY)
        modes = attempt.run("watched", mine, (ids, mask, 3), {})[2]
        assert_equal(modes, [(False, False)], label="(train mode, builds a graph) of the forward passes")
        assert_raises(ValueError, mine.generate, ids, mask, 20)
        assert_equal(attempt.run("state", mine), before, label="weights, gradients and modes afterwards")


@check("generate", points=2, needs="test_greedy_tokens")
def test_batches_do_not_meet(attempt, reference, rng):
    """a batch, another one, another policy or other weights in between: each call starts anew"""
    pairs = [twins(attempt, reference, rng, n_layer=1) for _ in range(2)]
    batches = [prompts(rng, starts, width) for starts, width in (((1, 0), 5), ((0, 3), 5), ((0, 0), 4))]
    for batch in (0, 1, 2, 0, 0):
        for policies in pairs:
            agree_on_tokens(*policies, *batches[batch], 3, **GREEDY)
        both(attempt, reference, "change_weights", [one.get("model") for one in pairs[0]], seed_of(rng))


@check("generate", points=2)
def test_bad_requests(attempt, rng):
    """0 new tokens: the prompts; below 0, beyond n_positions, right padding, temperature ≤ 0: ValueError, mode kept"""
    policy, (ids, mask) = policy_of(attempt, rng), prompts(rng, (1, 2), 4)
    before = attempt.run("state", policy.train())
    assert_equal(policy.generate(ids, mask, 0), (ids, torch.zeros(2, 0, dtype=torch.bool)), label=WHOLE)
    assert_equal(tuple(policy.generate(ids, mask, 20)[0].shape), (2, 24), label="the shape of ids")
    right = spans((0, 0), (4, 3), 4)
    for one, count, temperature in ((mask, -1, 1.0), (mask, 21, 1.0), (right, 2, 1.0), (mask, 2, 0.0), (mask, 2, -1.0)):
        got = attempt.run("refused", policy, (ids, one, count), {"temperature": temperature})
        assert_equal(got, (True, 0), label="(is it a ValueError, forward passes before it)")
    assert_equal(attempt.run("state", policy), before, label="weights, gradients and modes afterwards")


@check("frozen", points=3)
def test_copy_is_independent(attempt, reference, rng):
    """the copy goes on saying what the policy said, in eval mode, whatever becomes of the policy's weights"""
    ids, mask = prompts(rng, (2, 0), 6)
    for dtype in (F64, F32):
        mine, theirs = twins(attempt, reference, rng, dtype, resid_pdrop=0.5)
        copy, want = attempt.frozen_copy(mine), theirs.eval().token_logprobs(ids, mask, 3).detach()
        for _ in range(2):
            assert_close(copy.token_logprobs(ids, mask, 3), want, **TOLERANCE[dtype])
            attempt.run("change_weights", mine.get("model"), seed_of(rng))
        before = attempt.run("state", mine)
        attempt.run("change_weights", copy.get("model"), seed_of(rng))
        assert_equal(attempt.run("state", mine), before, label="the policy, when the copy's weights change")


@check("frozen", points=3)
def test_copy_is_frozen(attempt, rng):
    """the copy is a GPT2Policy in eval mode without gradients; the policy stays as it is, gradients included"""
    for training in (True, False):
        policy, (ids, mask) = policy_of(attempt, rng).train(training), prompts(rng, (1, 0), 5)
        attempt.run("logprob_gradients", policy, rng.tensor(2, 3, dtype=F64), (ids, mask, 2))
        before = attempt.run("state", policy)
        copy = attempt.frozen_copy(policy)
        assert_equal(copy.type_name, "GPT2Policy", label="the type of the copy")
        assert_equal(attempt.run("state", policy), before, label="the policy afterwards")
        nothing = ("gradients", None), ("trainable", False), ("training", False)
        want = before | {key: dict.fromkeys(before[key], value) for key, value in nothing}
        assert_equal(attempt.run("state", copy), want, label="the copy")


LETTERS, GROUP, NEW = 4, 8, 2
TOY = {"vocab_size": 3 + LETTERS, "n_positions": 8, "n_embd": 32, "n_layer": 1, "n_head": 2}


def drawn(rng, count):
    """Prompts of one to three letters behind a BOS."""
    return [[1, *rng.integers(3, 3 + LETTERS, rng.integers(1, 4)).tolist()] for _ in range(count)]


@check("pipeline", points=5, trained=True)
def test_reinforce_trains_the_policy(attempt, reference, rng):
    """in the loop of `reinforce`, its trained weights answer 256 new prompts with a mean reward of 0.8 or more"""
    model, generator = attempt.build_gpt2(**TOY, seed=seed_of(rng), **IDS), rng.torch()
    steps = [drawn(rng, 12) for _ in range(36)]
    weights = attempt.run("trained", model, steps, GROUP, NEW, 5e-3, generator)
    judged = reference.build_gpt2(**TOY, seed=0, **IDS)
    reference.run("load_weights", judged, weights)
    score = reference.run("rewards", reference.GPT2Policy(judged), drawn(rng, 256), 1, NEW, generator).mean().item()
    assert_true(score >= 0.8, "mean reward of the trained policy", expected=">= 0.8", got=f"{score:.2f}")


@check("save", points=5)
def test_a_later_process_loads_it(attempt, reference, rng):
    """what save_policy wrote, over older files too, a new process loads, as does the library; from nowhere: OSError"""
    config = {"pad_token_id": 3, "initializer_range": 0.3}
    small, large = (twins(attempt, reference, rng, dtype, **config) for dtype in (F32, F64))
    for (mine, theirs), name in ((large, "one"), (small, "one"), (large, "two")):
        attempt.save_policy(mine, attempt.path(name))
        got = attempt.run("state", attempt.load_policy(attempt.path(name)))
        assert_equal(got, reference.run("state", theirs.eval()), label="what was loaded where it was just saved")
    fresh = attempt.restart()
    for (_, theirs), name in ((small, "one"), (large, "two")):
        loaded, want = fresh.load_policy(fresh.path(name)), reference.run("state", theirs.eval())
        assert_equal(fresh.run("state", loaded), want, label="what was loaded")
        models = [one.get("model") for one in (loaded, theirs)]
        assert_equal(*both(fresh, reference, "settings", models, SETTINGS), label="the config")
        read = fresh.run("library_reads", fresh.path(name))
        assert_equal(read, want["weights"], label="what GPT2LMHeadModel.from_pretrained reads")
    assert_raises(OSError, fresh.load_policy, fresh.path("nowhere"))
