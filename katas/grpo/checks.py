"""Hidden checks of `grpo`: exact values, edges and gradients of the formulas, exact steps, and a policy trained."""

from copy import deepcopy
from functools import partial
from itertools import product

import torch

from grader.checking import assert_close, assert_inputs_unchanged, assert_raises, assert_true, check, gradients

F32, F64 = torch.float32, torch.float64
CLOSE = {F64: {"rtol": 1e-9, "atol": 1e-12}, F32: {"rtol": 2e-5, "atol": 1e-6}}
# Adam divides by small numbers: what cancels in a group but for its rounding comes back enlarged.
STEPPED = {"rtol": 1e-6, "atol": 1e-6}
GARBAGE = (torch.nan, torch.inf, -torch.inf, 1e4, -1e4)
CONSTANTS = ("old_logp", "ref_logp", "advantages")
AGGREGATIONS = ("grpo", "dapo", "dr_grpo")
assert_same = partial(assert_close, rtol=0, atol=0)


def random_ids(rng, *shape, high):
    return torch.from_numpy(rng.integers(high, size=shape))


def patchy_mask(rng, rows, length):
    """Rows of different length with holes, each with a token."""
    mask = torch.from_numpy(rng.random((rows, length)) < 0.7)
    mask[torch.arange(rows), torch.from_numpy(rng.integers(length, size=rows))] = True
    return mask


def loss_inputs(rng, rows=6, length=7, dtype=F64, mask=None, spread=0.4):
    """Tokens whose ratios lie on both sides of the usual clips, and advantages of both signs."""
    logp = -3 * torch.from_numpy(rng.random((rows, length))) - 1
    old_logp, ref_logp = (logp + spread * rng.tensor(rows, length, dtype=F64) for _ in range(2))
    signs = (-1.0) ** torch.arange(rows)
    tensors = {"logp": logp, "old_logp": old_logp, "ref_logp": ref_logp}
    tensors["advantages"] = signs * torch.from_numpy(0.3 + rng.random(rows))
    mask = patchy_mask(rng, rows, length) if mask is None else mask
    return {name: tensor.to(dtype) for name, tensor in tensors.items()} | {"mask": mask}


def assert_loss(attempt, reference, rng, kwargs):
    """Loss and gradient are those of the reference."""
    dtype = kwargs["logp"].dtype
    close, upstream = CLOSE[dtype], torch.tensor(rng.uniform(-2, -1), dtype=dtype)
    got, grads = gradients(attempt.grpo_loss, kwargs, wrt=("logp",), upstream=upstream)
    want, wanted = gradients(reference.grpo_loss, kwargs, wrt=("logp",), upstream=upstream)
    assert_close(got, want, **close, label="the loss")
    assert_close(grads, wanted, **close, label="the gradient")


def assert_stats(attempt, reference, kwargs):
    """Loss and stats, which are floats, are those of the reference; no input is modified."""
    got, want = assert_inputs_unchanged(attempt.grpo_loss, **kwargs), reference.grpo_loss(**kwargs)
    close = CLOSE[want[0].dtype]
    assert_close(got, want, exact_type=True, **close | {"rtol": max(1e-7, close["rtol"])})  # counts/counts is float32
    assert_close((got[0], got[1]["kl"]), (want[0], want[1]["kl"]), **close, label="(loss, kl)")


def assert_silent(grads, names):
    for name in names:
        silent = grads[name] is None or not grads[name].any()
        assert_true(silent, f"a gradient reaches {name}, which is a constant", expected="none", got=grads[name])


def assert_advantages(attempt, reference, rewards, **options):
    """They are those of the reference, and the rewards are not modified. -> both"""
    got = assert_inputs_unchanged(attempt.group_relative_advantages, rewards, **options)
    want = reference.group_relative_advantages(rewards, **options)
    assert_close(got, want, **CLOSE[want.dtype])
    return got, want


@check("advantages", points=5)
def test_advantages_are_standardised_in_each_group(attempt, reference, rng):
    """each row less its mean, divided by its sample standard deviation plus eps"""
    for shape, dtype, eps in (((4, 6), F64, 1e-4), ((3, 2), F64, 0.5), ((1, 5), F32, 1e-4), ((5, 3), F64, 0.0)):
        rewards = 3 * rng.tensor(*shape, dtype=dtype) + torch.arange(shape[0], dtype=dtype).unsqueeze(-1)
        for same in (rewards, rewards.t().contiguous().t()):
            assert_advantages(attempt, reference, same, eps=eps)
    one, other = rng.tensor(3, 4, dtype=F64), rng.tensor(3, 4, dtype=F64)
    assert_close(attempt.run("twice", one, other), reference.run("twice", one, other), **CLOSE[F64])


@check("advantages", points=3)
def test_eps_stands_outside_the_root(attempt, reference, rng):
    """rewards that hardly differ, or differ by 10⁴, are divided by std + eps, not by √(var + eps)"""
    signs = torch.tensor([1.0, 1.0, -1.0, -1.0], dtype=F64)[torch.from_numpy(rng.permutation(4))]
    rewards = torch.stack([0.5 + 0.0005 * signs, 1e4 * signs, 1e-30 * signs, 1e-6 * rng.tensor(4, dtype=F64)])
    for eps in (1e-4, 1e-6):
        want = reference.group_relative_advantages(rewards, eps)
        assert_close(attempt.group_relative_advantages(rewards, eps), want, rtol=1e-9, atol=1e-40)


@check("advantages", points=4)
def test_equal_rewards_give_exactly_zero(attempt, reference, rng):
    """a row of equal rewards, or of a single one, gives exactly 0 with every scale; its neighbours keep theirs"""
    for (dtype, value), scale in product(((F32, 0.1), (F64, 0.3), (F32, -100.0)), ("group", "batch", "none")):
        rewards = rng.tensor(3, 7, dtype=dtype)
        rewards[1] = value
        got, want = assert_advantages(attempt, reference, rewards, scale=scale)
        assert_same(got[1], want[1], label="the row of equal rewards")
        for single in (rewards[:, :1], rewards[:1, :1]):
            assert_same(attempt.group_relative_advantages(single, scale=scale), 0 * single, label="rows of one reward")


@check("advantages", points=3)
def test_scale_of_the_batch_or_none(attempt, reference, rng):
    """scale "batch" divides by the deviation of all rewards, "none" not at all; another one is a ValueError"""
    for shape, eps in (((4, 3), 1e-4), ((2, 5), 0.25)):
        rewards = rng.tensor(*shape, dtype=F64) + 2 * torch.arange(shape[0]).unsqueeze(-1)
        for scale, same in product(("batch", "none"), (rewards, rewards.t().contiguous().t())):
            assert_advantages(attempt, reference, same, eps=eps, scale=scale)
    for scale in ("std", "", None, "Group"):
        assert_raises(ValueError, attempt.group_relative_advantages, rewards, scale=scale)


@check("advantages", points=2)
def test_advantages_are_constants_of_any_dtype(attempt, reference, rng):
    """no graph, even where the rewards require a gradient; integer and bool rewards count as float32"""
    whole = random_ids(rng, 3, 4, high=50)
    for scale in ("group", "batch", "none"):
        rewards = rng.tensor(3, 4, dtype=F64).requires_grad_()
        for given in (rewards, whole, whole % 2 == 0, whole.int()):
            got, _ = assert_advantages(attempt, reference, given, scale=scale)
            assert_true(not got.requires_grad, "the advantages carry a graph: detach them", expected=False, got=True)


@check("k3", points=4)
def test_k3_is_of_the_reference_over_the_policy(attempt, reference, rng):
    """e^u − 1 − u with u = ref_logp − logp, in any shape; its gradient reaches logp only"""
    for shape, dtype in (((3, 4), F64), ((), F64), ((2, 1, 3), F64), ((5,), F32), ((0, 2), F32)):
        kwargs = {"logp": rng.tensor(*shape, dtype=dtype), "ref_logp": rng.tensor(*shape, dtype=dtype)}
        twin = deepcopy(rng)
        got, grads = gradients(attempt.k3_kl, kwargs, wrt=("logp", "ref_logp"), upstream=rng)
        want, wanted = gradients(reference.k3_kl, kwargs, wrt=("logp",), upstream=twin)
        assert_close(got, want, **CLOSE[dtype])
        assert_close(grads["logp"], wanted["logp"], **CLOSE[dtype], label="the gradient of logp")
        assert_silent(grads, ["ref_logp"])
        assert_inputs_unchanged(attempt.k3_kl, **kwargs)


@check("k3", points=3, needs="test_k3_is_of_the_reference_over_the_policy")
def test_k3_keeps_its_digits(attempt, reference, rng):
    """tiny log-ratios keep six digits, those of −10⁴ and 30 are not clamped"""
    u = torch.from_numpy(rng.uniform(1, 2, 6)) * torch.tensor([1e-6, -1e-6, 1e-4, -1e-5, 20.0, -6e3], dtype=F64)
    for logp in (torch.zeros(6, dtype=F64), -u):
        assert_close(attempt.k3_kl(logp, logp + u), reference.k3_kl(logp, logp + u), rtol=1e-5, atol=0)
    far = u[4:].float()
    assert_close(attempt.k3_kl(-far, 0 * far), reference.k3_kl(-far, 0 * far), **CLOSE[F32])


@check("loss", points=5)
def test_loss_is_the_clipped_surrogate(attempt, reference, rng):
    """the mean over rows of the mean over their tokens of −min(ρA, clip(ρ)A), and its gradient"""
    for rows, length, dtype in ((6, 7, F64), (1, 1, F64), (1, 5, F64), (4, 1, F64), (5, 3, F32)):
        kwargs = loss_inputs(rng, rows, length, dtype)
        assert_loss(attempt, reference, rng, kwargs | {"ref_logp": None})
        assert_loss(attempt, reference, rng, kwargs | {"mask": kwargs["mask"].long()})
        assert_loss(attempt, reference, rng, {name: x.t().contiguous().t() for name, x in kwargs.items()})
    assert_loss(attempt, reference, rng, loss_inputs(rng) | {"advantages": torch.zeros(6, dtype=F64)})
    assert_loss(attempt, reference, rng, loss_inputs(rng, spread=8.0))
    assert_loss(attempt, reference, rng, kwargs | {"old_logp": kwargs["logp"] - 40})


@check("loss", points=6)
def test_each_bound_holds_on_its_side(attempt, reference, rng):
    """clip_low bounds ρ from below, clip_high from above, and delta caps the ρ that is not clipped"""
    for low, high in ((0.2, 0.28), (0.5, 0.125), (0.0, 0.4), (0.9, 3.0)):
        assert_loss(attempt, reference, rng, loss_inputs(rng, 4, 9) | {"clip_low": low, "clip_high": high})
    for delta, options in ((1.4, {}), (2.0, {"clip_high": 0.5, "beta": 0.25}), (3.5, {"aggregation": "dapo"})):
        kwargs = loss_inputs(rng, 6, 8, spread=1.5) | {"delta": delta} | options
        assert_loss(attempt, reference, rng, kwargs)
        assert_stats(attempt, reference, kwargs)


@check("loss", points=4, needs="test_loss_is_the_clipped_surrogate")
def test_penalty_is_added_to_each_token(attempt, reference, rng):
    """beta·k3 is part of each token's loss, so it is clipped by nothing, even at ±35, and aggregated like the rest"""
    for aggregation, (beta, dtype) in product(AGGREGATIONS, ((0.04, F64), (-1.75, F64), (0.5, F32))):
        kwargs = loss_inputs(rng, dtype=dtype) | {"beta": beta, "aggregation": aggregation}
        assert_loss(attempt, reference, rng, kwargs)
        for far in (-35, 35):
            assert_loss(attempt, reference, rng, kwargs | {"ref_logp": kwargs["ref_logp"] + far})


@check("loss", points=4, needs="test_loss_is_the_clipped_surrogate")
def test_aggregations(attempt, reference, rng):
    """aggregation "dapo" averages over tokens, "dr_grpo" divides by N·max_len; another one is a ValueError"""
    for options in ({"aggregation": "dapo"}, {"aggregation": "dr_grpo"}, {"aggregation": "dr_grpo", "max_len": 5}):
        for rows, length in ((6, 7), (1, 3), (3, 1)):
            assert_loss(attempt, reference, rng, loss_inputs(rng, rows, length) | options)
    kwargs = loss_inputs(rng)
    for aggregation in ("mean", "GRPO", "", None):
        assert_raises(ValueError, attempt.grpo_loss, **kwargs, aggregation=aggregation)
    for beta in (0.5, 1e-6, -0.5):
        assert_raises(ValueError, attempt.grpo_loss, **kwargs | {"ref_logp": None}, beta=beta)


@check("loss", points=5)
def test_stats_count_where_clipping_binds(attempt, reference, rng):
    """kl, clip_low and clip_high are floats over all tokens on the mask; a clip counts by the sign of A"""
    narrow = {"clip_low": 0.1, "clip_high": 0.3, "aggregation": "dr_grpo", "max_len": 12}
    for dtype, options in ((F64, {}), (F64, narrow), (F64, {"beta": 0.5, "aggregation": "dapo"}), (F32, {"beta": 0.5})):
        kwargs = loss_inputs(rng, 5, 9, dtype) | options
        kwargs["advantages"][3] = 0.0
        assert_stats(attempt, reference, kwargs)
    kwargs["logp"].requires_grad_()
    assert_stats(attempt, reference, kwargs)
    kwargs = loss_inputs(rng)
    assert_stats(attempt, reference, kwargs | {"ref_logp": None})
    for drift in (1e-6, -35.0):  # small or large, it is the k3 of k3_kl
        near = kwargs | {
            "ref_logp": kwargs["logp"] + drift * torch.from_numpy(rng.uniform(1, 1.2, kwargs["logp"].shape))
        }
        (_, got), (_, want) = attempt.grpo_loss(**near), reference.grpo_loss(**near)
        assert_close(got["kl"], want["kl"], rtol=1e-5, atol=0, label="kl")


@check("loss", points=5, needs="test_loss_is_the_clipped_surrogate")
def test_nothing_off_the_mask_counts(attempt, reference, rng):
    """NaN or inf off the mask reach no value and no gradient; rows without tokens count as 0, and count"""
    for number, (aggregation, empty) in enumerate(product(AGGREGATIONS, ([], [0, 3], range(5)))):
        mask = patchy_mask(rng, 5, 6) & (torch.arange(6) != 2)
        mask[list(empty)] = False
        dtype = (F64, F32)[number % 2]
        kwargs = loss_inputs(rng, 5, 6, dtype, mask) | {"beta": 0.5, "aggregation": aggregation, "delta": 3.0}
        for name in ("logp", *CONSTANTS[:2]):
            fill = torch.tensor(rng.permutation(GARBAGE), dtype=dtype).repeat(6).view(6, 5).t()
            kwargs[name] = torch.where(mask, kwargs[name], fill)
        assert_loss(attempt, reference, rng, kwargs)
        assert_stats(attempt, reference, kwargs)
        assert_loss(attempt, reference, rng, kwargs | {"ref_logp": None, "beta": 0.0})


@check("loss", points=4, needs="test_loss_is_the_clipped_surrogate")
def test_gradient_reaches_the_policy_only(attempt, reference, rng):
    """old_logp, ref_logp and advantages are constants: even where old_logp is logp itself, the gradient is that of ρ"""
    kwargs = loss_inputs(rng) | {"beta": 0.5}
    got, grads = gradients(attempt.grpo_loss, kwargs, wrt=("logp", *CONSTANTS), upstream=rng)
    assert_close(got, reference.grpo_loss(**kwargs)[0], **CLOSE[F64])
    assert_silent(grads, CONSTANTS)
    same = [kwargs[name] for name in ("logp", "ref_logp", "advantages", "mask")]
    assert_close(attempt.run("on_policy_loss", *same), reference.run("on_policy_loss", *same), **CLOSE[F64])


@check("sft", points=3)
def test_mask_ends_with_the_first_eos(attempt, reference, rng):
    """the mask holds the first EOS and nothing after it, also where padding is EOS or there is none"""
    for (*shape, high), eos_id in product(((30, 6, 3), (4, 1, 2), (1, 5, 4), (3, 4, 1)), (0, 2, 7)):
        completions = random_ids(rng, *shape, high=high)
        got = assert_inputs_unchanged(attempt.completion_mask, completions, eos_id)
        assert_same(got, reference.completion_mask(completions, eos_id))


def bigram(rng):
    """Weights of a bigram model over seven tokens."""
    return rng.tensor(7, 7, dtype=F64), rng.tensor(7, dtype=F64)


def assert_warmed(attempt, reference, rng, steps, batch_size, rows=5, lr=0.05, training=True):
    """A bigram model ends alike, with the same losses, in the mode it came in. -> the attempt's passes"""
    completions = random_ids(rng, rows, 4, high=7).clamp(max=5)
    completions[0] = torch.tensor([1, 5, 5, 3])
    demos, options = (random_ids(rng, rows, 2, high=7), completions), {"eos_id": 5, "steps": steps, "lr": lr}
    given = bigram(rng), demos, options | {"batch_size": batch_size}
    (want, _), (got, passes) = (side.run("warmed_on", *given, training) for side in (reference, attempt))
    assert_close(got, want, exact_type=True, **STEPPED)
    return passes


@check("sft", points=8)
def test_warmup_takes_adam_steps_on_completions(attempt, reference, rng):
    """each step: one of Adam on its rows' completion tokens, EOS included, in train mode; losses are floats"""
    for steps, batch_size in ((1, 5), (1, 2), (4, 2), (3, 3), (2, 7), (5, 1), (0, 3)):
        for training in (True, False):
            passes = assert_warmed(attempt, reference, rng, steps, batch_size, training=training)
            assert_true(all(mode for _, mode, _ in passes), "a pass was in eval mode", expected="train mode")
    assert_warmed(attempt, reference, rng, 3, 1, rows=1, lr=0.5)


BASE = {"steps": 1, "prompts_per_step": 2, "group_size": 3, "epochs": 1, "lr": 0.05, "beta": 0.0}


def scripted(rng, prompts, config, lengths, flat=()):
    """Of each step the prompts' rows, (ids, mask), and the rewards: nothing that depends on what is learned.

    In the steps `flat` all rewards are equal; where there are such steps, those of the first prompt are in all others.
    """
    size, group = config["prompts_per_step"], config["group_size"]
    for step in range(config["steps"]):
        rows = [(step * size + i) % len(prompts) for i in range(size) for _ in range(group)]
        length = lengths[step % len(lengths)]
        mask = torch.arange(length) < torch.from_numpy(rng.integers(1, length + 1, (len(rows), 1)))
        ids = torch.cat([prompts[rows], random_ids(rng, len(rows), length, high=7)], dim=1)
        rewards = 10 * rng.tensor(len(rows), dtype=F64)
        if flat:
            rewards[: len(rows) if step in flat else group] = 0.1
        yield prompts[rows], (ids, mask), rewards


def assert_trained(attempt, reference, rng, lengths=(4,), dropout=0.0, training=True, calls=1, flat=(), **options):
    """A bigram model ends alike, in the mode it came in. -> the script, and what the attempt's callbacks were told"""
    config, prompts, start = BASE | options, random_ids(rng, 5, 2, high=7), bigram(rng)
    script = list(scripted(rng, prompts, config, lengths, flat))
    given = start, prompts, [answer for _, *answer in script], config
    want, _ = reference.run("trained_on", *given, 0.0, training, calls)
    got, told = attempt.run("trained_on", *given, dropout, training, calls)
    assert_close(got, want, exact_type=True, **STEPPED, label=f"{calls} calls with {options}")
    return script, told


@check("train", points=5)
def test_step_is_one_of_adam_on_the_grpo_loss(attempt, reference, rng):
    """one step of one epoch: the gradient of the loss on this rollout alone, one update of Adam, its report"""
    for options in ({}, {"lr": 0.5}, {"temperature": 0.5}, {"prompts_per_step": 7}, {"group_size": 1, "beta": 0.5}):
        assert_trained(attempt, reference, rng, **options)


@check("train", points=6, needs="test_step_is_one_of_adam_on_the_grpo_loss")
def test_epochs_share_one_rollout_and_the_reference_stays(attempt, reference, rng):
    """old log-probabilities stay for all epochs, the reference and Adam for all steps; settings take effect"""
    steep = {"steps": 4, "epochs": 3, "lr": 0.2}
    clips = {"clip_low": 0.1, "clip_high": 0.4, "scale": "batch"}
    for options in (
        {"epochs": 3, "lr": 0.2, "calls": 2},
        steep | {"beta": 0.5, "aggregation": "dapo", "flat": (1, 3)},
        steep | {"temperature": 1.7, "beta": 1.5} | clips,
        steep | {"aggregation": "dapo", "scale": "none", "delta": 1.21, "prompts_per_step": 4},
        {"steps": 3, "epochs": 2, "beta": 0.25, "aggregation": "dr_grpo", "max_len": 11, "prompts_per_step": 3},
    ):
        assert_trained(attempt, reference, rng, (4, 3, 5), **options)


@check("train", points=3, needs="test_step_is_one_of_adam_on_the_grpo_loss")
def test_rollouts_are_asked_prompt_by_prompt(attempt, reference, rng):
    """sample gets the policy, each prompt's rows in a row and the temperature; reward_fn what came back; once a step"""
    for options in ({"steps": 3}, {"steps": 2, "prompts_per_step": 6, "group_size": 2, "temperature": 0.75}):
        script, told = assert_trained(attempt, reference, rng, beta=0.5, **options)
        want = [(prompts, options.get("temperature", 1.0), True, False) for prompts, *_ in script]
        assert_same(told["sampled"], want, label="prompts, temperature, is it the policy, in train mode")
        assert_same(told["rewarded"], [rollout for _, rollout, _ in script], label="arguments of reward_fn")


@check("train", points=4, needs="test_step_is_one_of_adam_on_the_grpo_loss")
def test_passes_are_in_eval_mode_and_few(attempt, reference, rng):
    """no dropout in any pass, a graph in the epochs' passes only, and the model comes back in the mode it came in"""
    for training, options in ((True, {"steps": 2, "epochs": 3}), (False, {"steps": 1, "epochs": 2, "beta": 0.5})):
        script, told = assert_trained(attempt, reference, rng, dropout=0.5, training=training, **options)
        rows, limit = sum(len(prompts) for prompts, *_ in script), 2 + options["epochs"]
        counts, modes, graphs = zip(*told["passes"], strict=True)
        assert_true(not any(modes), "a pass was in train mode", expected="eval mode")
        with_graph = sum(count for count, graph in zip(counts, graphs, strict=True) if graph)
        assert_same(with_graph, options["epochs"] * rows, label="rows that went through a model with a graph")
        assert_true(sum(counts) <= limit * rows, "rows through models", expected=limit * rows, got=sum(counts))


def moved(reference, before, after):
    """The share of reversals before and after, and KL(after‖before), all of them exact means over the prompts."""
    (old, rewards), (new, _) = (reference.run("chances", state) for state in (before, after))
    shares = [float((logps.exp() * rewards).sum(dim=1).mean()) for logps in (old, new)]
    return *shares, float((new.exp() * (new - old)).sum(dim=1).mean())


@check("train", points=3, needs="test_step_is_one_of_adam_on_the_grpo_loss", trained=True)
def test_warmup_and_training_learn_to_reverse(attempt, reference, rng):
    """after a warm-up on half reversals, half copies, 20 steps with beta = 0.02 make 85 % reversals"""
    seed = int(rng.integers(2**31))
    policy = attempt.run("warmed", seed)
    before = policy.state_dict()
    attempt.run("trained_to_reverse", policy, seed, {"steps": 20, "lr": 6e-3})
    first, last, _ = moved(reference, before, policy.state_dict())
    assert_true(0.3 < first < 0.8, "the share of reversals after the warm-up", expected="about a half", got=first)
    assert_true(last > 0.85, "the share of reversals after training", expected="> 0.85", got=last)


@check("train", points=3, needs="test_step_is_one_of_adam_on_the_grpo_loss", trained=True)
def test_a_large_beta_holds_the_policy_near_the_reference(attempt, reference, rng):
    """30 steps with beta = 2 move a policy that was warmed up, but less than 0.3 nats from where it was"""
    seed = int(rng.integers(2**31))
    before = reference.run("warmed", seed).state_dict()
    policy = attempt.run("tiny_policy", 0, before)
    attempt.run("trained_to_reverse", policy, seed, {"steps": 30, "group_size": 16, "beta": 2.0})
    _, _, kl = moved(reference, before, policy.state_dict())
    assert_true(0.01 < kl < 0.3, "KL(trained‖reference) of a completion", expected="0.01 to 0.3", got=kl)


@check("evaluate", points=4)
def test_pass_at_k_counts_choices(attempt, reference, rng):
    """1 − C(n − c, k) / C(n, k), for n up to 1000; ValueError for numbers that cannot be"""
    cases = [(4, 1, 2), (10, 3, 1), (10, 3, 8), (10, 0, 3), (10, 10, 3), (1, 1, 1), (1, 0, 1), (1000, 1, 500)]
    for n, c, k in [*cases, (1000, 20, 100), (1000, 500, 3), *rng.integers(1, [[200, 20, 20]] * 5, (5, 3)).tolist()]:
        n = max(n, c, k)
        assert_close(attempt.pass_at_k(n, c, k), reference.pass_at_k(n, c, k), exact_type=True, **CLOSE[F64])
    for n, c, k in ((4, 1, 5), (4, 5, 2), (4, -1, 2), (4, 1, 0), (4, 0, 5), (0, 0, 1), (3, 3, -1)):
        assert_raises(ValueError, attempt.pass_at_k, n, c, k)


def too_early(*_):
    raise RuntimeError("sample or reward_fn was called with an n and k to be refused before that")


@check("evaluate", points=4)
def test_evaluate_means_reward_and_pass_at_k(attempt, reference, rng):
    """n samples of each prompt, in one call and in eval mode; 1 or more is correct; both means are over everything"""
    for rows, n, k, temperature, training in ((4, 5, 2, 1.0, True), (3, 3, 3, 0.5, False), (1, 6, 1, 1.0, True)):
        rewards = torch.from_numpy(rng.choice([0.0, 0.5, 1 - 1e-9, 1.0, 1.0, 2.0], rows * n))
        rollout = random_ids(rng, rows * n, 5, high=7), torch.ones(rows * n, 3, dtype=torch.bool)
        given = bigram(rng), random_ids(rng, rows, 2, high=7), (rollout, rewards)
        options = {"n": n, "k": k, "temperature": temperature}
        want = reference.run("evaluated_on", *given, options, training)
        assert_close(attempt.run("evaluated_on", *given, options, training), want, exact_type=True, **CLOSE[F64])
        for wrong in ({"k": n + 1}, {"k": 0}, {"n": 0}):
            model = attempt.run("tiny_policy", 0)
            assert_raises(ValueError, attempt.evaluate, model, given[1], too_early, too_early, **options | wrong)
