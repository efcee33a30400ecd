"""Hidden checks of `value-head`: exact values, edges and gradients; exact training steps; what training ends in."""

from copy import deepcopy

import torch

from grader.checking import (
    assert_close,
    assert_equal,
    assert_inputs_unchanged,
    assert_raises,
    assert_true,
    check,
    cpu_seconds,
    gradients,
    keep,
)

F32, F64 = torch.float32, torch.float64
CLOSE = {F64: {"rtol": 1e-9, "atol": 1e-11}, F32: {"rtol": 1e-5, "atol": 2e-6}}
STEPPED, GARBAGE = {"rtol": 1e-6, "atol": 1e-6}, (torch.nan, torch.inf, -torch.inf)
SIZES, WALK, TOY = {"vocab": 7, "length": 12, "dim": 8}, {"vocab": 7, "length": 6}, {"vocab": 5, "length": 5}
PLAIN = {"updates": 3, "epochs": 3, "lr": 3e-3}
OTHER = {"gamma": 0.9, "lam": 0.6, "clip": 0.05, "value_clip": 0.1, "value_coef": 0.8, "entropy_coef": 0.2}
NARROW = {"clip": 0.1, "value_clip": 0.5, "value_coef": 0.7, "entropy_coef": 0.3}
WIDE = {"clip": 0.4, "value_clip": None, "value_coef": 1.5, "entropy_coef": -0.2}
CLOSED = {"clip": 0, "value_clip": 0, "value_coef": 0.0, "entropy_coef": 0.0}
CRITIC, LEARN = ("values", "old_values", "returns"), ("logps", "entropy", "values")
CONSTANT = ("old_logps", "advantages", "old_values", "returns")


def ragged(*lengths, steps=None):
    """A mask (N, T): in each row so many ones, then zeros."""
    return torch.arange(steps or max(lengths)) < torch.tensor(lengths).unsqueeze(-1)


def some(rng, *shape, chance=0.3):
    return torch.from_numpy(rng.random(shape) < chance)


def patchy(rng, rows, steps):
    """A mask with holes. The number of its ones is a power of two: shares of them are exact in float32 too."""
    ones = 1 << (2 * rows * steps // 3).bit_length() - 1
    order = torch.from_numpy(rng.random(rows * steps)).argsort()
    return (order < ones).view(rows, steps)


def columns(x):
    return x.transpose(0, 1).contiguous().transpose(0, 1)


def hide(kwargs, names, index=0):
    """The same inputs, not contiguous, with garbage in these where the mask is 0."""
    return kwargs | {name: columns(kwargs[name].masked_fill(~kwargs["mask"].bool(), GARBAGE[index])) for name in names}


def odd(rng, *shape, dtype=F64):
    """Odd multiples of 1/64 up to 2: their differences and squares are exact in float32 too."""
    return torch.from_numpy(2 * rng.integers(-64, 64, size=shape) + 1).to(dtype) / 64


def random_ids(rng, *shape):
    return torch.from_numpy(rng.integers(0, SIZES["vocab"], size=shape))


def seed_of(rng):
    return int(rng.integers(2**31))


def closeness(kwargs):
    return CLOSE[F32 if any(getattr(x, "dtype", None) == F32 for x in kwargs.values()) else F64]


def agree(attempt, reference, name, constant=0, **kwargs):
    """The attempt's function returns what the reference's does and modifies no input; so many results have no graph."""
    got = assert_inputs_unchanged(getattr(attempt, name), **kwargs)
    assert_close(got, getattr(reference, name)(**kwargs), **closeness(kwargs))
    for result in got[len(got) - constant :]:
        assert_true(not result.requires_grad, "the result carries a graph: detach it", expected=False, got=True)


def gradients_agree(attempt, reference, name, kwargs, rng, wrt, constant=()):
    """Value and gradients are the same; those of `constant` are none."""
    (got, grads), (want, wanted) = (
        gradients(getattr(side, name), kwargs, wrt=(*wrt, *constant), upstream=draws)
        for side, draws in ((attempt, deepcopy(rng)), (reference, rng))
    )
    pairs = ((result, {key: found[key] for key in wrt}) for result, found in ((got, grads), (want, wanted)))
    assert_close(*pairs, **closeness(kwargs), label="(value, gradients)")
    for key in constant:
        silent = grads[key] is None or not grads[key].any()
        assert_true(silent, f"a gradient reaches {key}, which is a constant", expected="none", got=grads[key])


def keeps_nothing(attempt, reference, name, first, second):
    """Other numbers in the same tensors give other results, and leave the results from before as they were."""
    want = tuple(getattr(reference, name)(**kwargs) for kwargs in (second, first))
    assert_close(attempt.run("overwritten", name, first, second), want, **CLOSE[F64], label="(second, first result)")


def drawn(side, seed, dtype=F64, prepare="", **sizes):
    return side.run("drawn", SIZES | sizes, seed, dtype, prepare)


@check("model", points=5)
def test_forward_has_logits_and_values_at_every_position(attempt, reference, rng):
    """model(ids) is (logits [N, L, V], values [N, L]), from one pass of the trunk; the values of a new model are 0"""
    for dtype, shape, dim in ((F64, (3, 5), 8), (F32, (1, 12), 8), (F64, (4, 1), 6), (F64, (7, 8), 8)):
        seed, ids, calls = seed_of(rng), random_ids(rng, *shape), []
        mine, right = (drawn(side, seed, dtype, dim=dim) for side in (attempt, reference))
        assert_close(assert_inputs_unchanged(mine, ids), right(ids), **CLOSE[dtype], label="(logits, values)")
        attempt.run("counted", mine, ids, calls.append)
        assert_equal(len(calls), 1, label="calls of policy.hidden")
    assert_equal(attempt.ActorCritic(**SIZES)(ids)[1], torch.zeros(7, 8), label="values of a new model")


@check("model", points=6)
def test_actions_are_judged_before_they_are_taken(attempt, reference, rng):
    """log-probability, entropy and value of token t come from position P + t − 1, whatever P and T are"""
    for rows, prompt, steps, dtype in ((3, 4, 5, F64), (2, 1, 6, F64), (4, 3, 1, F64), (1, 1, 1, F64), (3, 2, 10, F32)):
        seed, ids = seed_of(rng), columns(random_ids(rng, rows, prompt + steps))
        prompts, completions = ids[:, :prompt], ids[:, prompt:]
        model = drawn(attempt, seed, dtype).train(rows > 2)
        got = assert_inputs_unchanged(attempt.evaluate_actions, model, prompts, completions)
        want = reference.evaluate_actions(drawn(reference, seed, dtype), prompts, completions)
        assert_close(got, want, **CLOSE[dtype], label="(logps, entropy, values)")
        assert_equal(model.get("training"), rows > 2, label="model.training afterwards")


@check("model", points=3, needs="test_actions_are_judged_before_they_are_taken")
def test_actions_are_exact_at_extreme_logits(attempt, reference, rng):
    """all three and their gradients in all parameters are right, and for logits of ±10⁴ too"""
    for output, prepare in ((0, ""), (1, ""), (2, ""), (0, "steep"), (1, "steep")):
        kwargs = {"prompts": random_ids(rng, 3, 2), "completions": random_ids(rng, 3, 5)}
        how, results = {"wrt": ("model.parameters",), "output": output}, []
        for side, draws in ((attempt, deepcopy(rng)), (reference, deepcopy(rng))):
            inputs = {"model": drawn(side, 0, prepare=prepare), **kwargs}
            results.append(gradients(side.evaluate_actions, inputs, **how, upstream=draws))
        assert_close(*results, rtol=1e-7, atol=1e-8, label="(result, gradients)")


def gae_inputs(rng, mask, dtype=F64, gamma=0.9, lam=0.7, **more):
    rewards, values = rng.tensor(2, *mask.shape, dtype=dtype)
    return {"rewards": rewards, "values": values, "mask": mask, "gamma": gamma, "lam": lam} | more


@check("gae", points=6)
def test_gae_is_the_discounted_sum_of_deltas(attempt, reference, rng):
    """A sums γλ-discounted errors δ, and returns are A + V, for full rows and every γ and λ"""
    for gamma, lam in ((0.9, 0.7), (1.0, 1.0), (1.0, 0.0), (0.0, 0.5), (0.99, 0.95), (1, 1)):
        for shape, dtype in (((3, 5), F64), ((4, 4), F64), ((1, 6), F64), ((2, 1), F64), ((2, 3), F32)):
            mask = torch.ones(shape, dtype=torch.bool)
            agree(attempt, reference, "compute_gae", **gae_inputs(rng, mask, dtype, gamma, lam))


@check("gae", points=6, needs="test_gae_is_the_discounted_sum_of_deltas")
def test_gae_ends_with_each_row(attempt, reference, rng):
    """the value after a row's last unmasked token is 0, results are 0 behind it, a row may be empty; inputs stay"""
    for mask in (ragged(4, 1, 6, 3), ragged(2, 0, 3), ragged(0, 0, steps=4), ragged(1, 2, steps=5), ragged(0, steps=1)):
        for same, dtype in ((mask, F64), (mask.long(), F64), (mask.to(torch.uint8), F32)):
            agree(attempt, reference, "compute_gae", **gae_inputs(rng, same, dtype))


@check("gae", points=5, needs="test_gae_ends_with_each_row")
def test_gae_bootstraps_each_row_after_its_last_token(attempt, reference, rng):
    """bootstrap follows the last unmasked token of its own row, not the last column, and only inside δ"""
    for mask in (ragged(5, 5, 5), ragged(4, 1, 6), ragged(2, 3, steps=5), ragged(1, steps=1), ragged(3, 3, 2)):
        for gamma, lam, dtype in ((0.9, 0.7, F64), (1.0, 0.0, F64), (0.8, 1.0, F32)):
            bootstrap = 3 * rng.tensor(len(mask), dtype=dtype)
            agree(attempt, reference, "compute_gae", **gae_inputs(rng, mask, dtype, gamma, lam, bootstrap=bootstrap))


@check("gae", points=3, needs="test_gae_ends_with_each_row")
def test_gae_ignores_what_is_masked(attempt, reference, rng):
    """NaN or ±inf in masked rewards and values, or in the bootstrap of an empty row, reaches no result"""
    for index, unused in enumerate(GARBAGE):
        kwargs = hide(gae_inputs(rng, columns(ragged(4, 0, 6, 1))), ("rewards", "values"), index)
        for after in (rng.tensor(4, dtype=F64).masked_fill(torch.arange(4) == 1, unused), None):
            agree(attempt, reference, "compute_gae", **kwargs, bootstrap=after)


@check("gae", points=4, needs="test_gae_is_the_discounted_sum_of_deltas")
def test_gae_gives_constants_and_refuses_what_does_not_fit(attempt, reference, rng):
    """no graph, nothing kept between calls; ValueError for other shapes and a mask with a hole"""
    kwargs = gae_inputs(rng, ragged(3, 4), bootstrap=rng.tensor(2, dtype=F64))
    keeps_nothing(attempt, reference, "compute_gae", kwargs, gae_inputs(rng, ragged(4, 2)) | {"bootstrap": odd(rng, 2)})
    grown = {name: kwargs[name].clone().requires_grad_() for name in ("rewards", "values", "bootstrap")}
    agree(attempt, reference, "compute_gae", 2, **kwargs | grown)
    holes = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 1]]), torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1]])
    for mask in (*holes, holes[0].bool(), holes[0].to(torch.uint8), ragged(3, 4, 1), ragged(3, 3), ragged(4)):
        assert_raises(ValueError, attempt.compute_gae, **kwargs | {"mask": mask})
    others = [("values", (2, 5)), ("values", (2, 1)), ("rewards", (1, 4)), ("values", (3, 4)), ("rewards", (2, 3))]
    for name, shape in (*others, *(("bootstrap", shape) for shape in ((), (1,), (2, 1), (1, 2), (4,)))):
        assert_raises(ValueError, attempt.compute_gae, **kwargs | {name: rng.tensor(*shape, dtype=F64)})


@check("gae", points=2, needs="test_gae_ends_with_each_row")
def test_gae_does_not_loop_over_rows(attempt, reference, rng):
    """256 rows of 256 tokens take no more than 12 times the CPU time of a loop over time alone"""
    cases = [gae_inputs(rng, ragged(*rng.integers(1, 257, size=256), steps=256)) for _ in range(3)]
    agree(attempt, reference, "compute_gae", **cases[0])
    timed = [keep(side.compute_gae) for side in (attempt, reference.confined())]
    mine, right = (min(cpu_seconds(function, **kwargs) for kwargs in cases) for function in timed)
    assert_true(mine <= 12 * right, "too slow: loop over time only", expected="≤ 12×", got=f"{mine / right:.1f}×")


def critic_inputs(rng, mask, dtype=F64, **clip):
    """Values that lie on no edge of the clip, and errors without ties."""
    return {x: odd(rng, *mask.shape, dtype=dtype) + (x == "values") / 64 for x in CRITIC} | {"mask": mask} | clip


@check("value", points=5)
def test_value_loss_takes_the_larger_error(attempt, reference, rng):
    """half the mean of the larger squared error, clipped and not; clip=None does not clip, a negative one is refused"""
    for clip in (0.25, 0.5, 1.0, 0, None):
        for mask, dtype in ((patchy(rng, 3, 5), F64), (patchy(rng, 4, 2).long(), F64), (patchy(rng, 2, 6), F32)):
            kwargs = critic_inputs(rng, mask, dtype, clip=clip)
            loss = assert_inputs_unchanged(attempt.clipped_value_loss, **kwargs)[0]
            assert_close(loss, reference.clipped_value_loss(**kwargs)[0], **CLOSE[dtype], label="loss")
    assert_raises(ValueError, attempt.clipped_value_loss, **kwargs | {"clip": -0.25})


@check("value", points=5, needs="test_value_loss_takes_the_larger_error")
def test_value_clipping_stops_the_gradient(attempt, reference, rng):
    """values alone get a gradient, 0 where the clipped error is larger; clipfrac counts these, and has no graph"""
    for clip, dtype in ((0.25, F64), (1.0, F64), (None, F64), (0.25, F32)):
        kwargs = critic_inputs(rng, patchy(rng, 5, 6).to(torch.int32), dtype, clip=clip)
        kwargs["values"].requires_grad_()
        agree(attempt, reference, "clipped_value_loss", 1, **kwargs)
        gradients_agree(attempt, reference, "clipped_value_loss", kwargs, rng, CRITIC[:1], CRITIC[1:])


@check("value", points=4)
def test_value_loss_ignores_what_is_masked(attempt, reference, rng):
    """masked NaN or ±inf reaches neither value nor gradient; with everything masked both are 0; nothing is kept"""
    for index, mask in enumerate((patchy(rng, 3, 5), patchy(rng, 4, 3).long(), some(rng, 2, 3, chance=0))):
        kwargs = hide(critic_inputs(rng, mask, clip=(0.25, None)[index == 1]), CRITIC, index)
        agree(attempt, reference, "clipped_value_loss", **kwargs)
        gradients_agree(attempt, reference, "clipped_value_loss", kwargs, rng, CRITIC[:1])
    pair = (critic_inputs(rng, patchy(rng, 3, 4), clip=0.5) for _ in range(2))
    keeps_nothing(attempt, reference, "clipped_value_loss", *pair)


def loss_inputs(rng, mask, dtype=F64, drift=0.3):
    """What ppo_loss takes, with ratios around 1 and advantages of both signs, some of them 0."""
    noise, (advantages, entropy) = rng.tensor(2, *mask.shape, dtype=dtype), rng.tensor(2, *mask.shape, dtype=dtype)
    kwargs = {"logps": -2 + 0.5 * noise[0], "old_logps": -2 + 0.5 * noise[0] + drift * noise[1]}
    kwargs |= {"advantages": advantages * (advantages.abs() > 0.1), "entropy": entropy.abs()}
    return kwargs | critic_inputs(rng, mask, dtype)


@check("loss", points=6)
def test_loss_adds_policy_value_and_entropy(attempt, reference, rng):
    """policy + value_coef · value − entropy_coef · entropy; stats are floats, before coefficients; clips are ≥ 0"""
    for settings in (NARROW, CLOSED, WIDE, {}):
        for mask, dtype in ((patchy(rng, 3, 5), F64), (patchy(rng, 2, 7).long(), F64), (patchy(rng, 5, 2), F32)):
            kwargs = loss_inputs(rng, mask, dtype) | settings
            kwargs["logps"].requires_grad_()
            got, want = assert_inputs_unchanged(attempt.ppo_loss, **kwargs), reference.ppo_loss(**kwargs)
            assert_close(got, want, **CLOSE[dtype], exact_type=True, label="(loss, stats)")
    for name in ("clip", "value_clip"):
        assert_raises(ValueError, attempt.ppo_loss, **kwargs | {name: -0.125})


@check("loss", points=4, needs="test_loss_adds_policy_value_and_entropy")
def test_loss_gradient_stops_where_clipping_pays(attempt, reference, rng):
    """logps get a gradient unless the clipped term is larger, for both signs of A; what is old or given gets none"""
    for settings, drift in ((NARROW, 0.3), (WIDE, 0.6), ({}, 2.5), ({}, 0.0)):
        kwargs = loss_inputs(rng, patchy(rng, 4, 6), drift=drift) | settings
        gradients_agree(attempt, reference, "ppo_loss", kwargs, rng, LEARN, CONSTANT)


@check("loss", points=4)
def test_loss_ignores_what_is_masked(attempt, reference, rng):
    """masked NaN or ±inf in any input reaches neither value nor gradient; with everything masked the loss is 0"""
    for index, mask in enumerate((patchy(rng, 3, 5), patchy(rng, 4, 3).long(), some(rng, 2, 3, chance=0))):
        kwargs = hide(loss_inputs(rng, mask), LEARN + CONSTANT, index)
        agree(attempt, reference, "ppo_loss", **kwargs)
        gradients_agree(attempt, reference, "ppo_loss", kwargs, rng, LEARN)
    keeps_nothing(attempt, reference, "ppo_loss", *(loss_inputs(rng, patchy(rng, 3, 4)) for _ in range(2)))


def repeats(prompts, completions):
    """A third for each token that repeats the prompt's letter, up to the first EOS."""
    return ((completions == prompts[:, 1:]) & ((completions == 1).cumsum(1) == 0)).float() / 3


@check("train", points=4, trained=True)
def test_training_makes_the_policy_good(attempt, reference, rng):
    """the trained policy earns at least 0.4 of 1 on fresh rollouts; untrained it earns 0.1 to 0.2"""
    model, toy = attempt.run("fresh", TOY, seed_of(rng)), {"rows": 48, "letters": 3, "steps": 3}
    weights = attempt.run("trained", model, toy | {"seed": seed_of(rng)}, repeats, PLAIN | {"updates": 15, "lr": 1e-2})
    judged = reference.run("loaded", TOY, weights)
    prompts, completions, *_ = reference.run("sampled", judged, toy | {"rows": 512, "seed": seed_of(rng)})
    reward = float(repeats(prompts, completions).sum(1).mean())
    assert_true(reward >= 0.4, "the policy does not earn enough", expected="≥ 0.4", got=round(reward, 3))


@check("train", points=4, trained=True)
def test_training_makes_the_critic_true(attempt, reference, rng):
    """with the policy frozen, the critic comes to explain 0.6 of the true values, with a bias below 0.75"""
    *batches, fresh = (reference.run("walk", seed_of(rng), rows) for rows in [64] * 20 + [512])
    model = attempt.run("fresh", WALK, seed_of(rng), True)
    weights = attempt.run("trained_on", model, batches, {"updates": 20, "epochs": 3, "lr": 5e-2}, len)[1]
    judged, mask = reference.run("loaded", WALK, weights), fresh["mask"]
    values = reference.evaluate_actions(judged, fresh["prompts"], fresh["completions"])[2][mask]
    ahead = torch.tensor([sum(0.75**k for k in range(1, 5 - t)) for t in range(5)])  # tokens to come, worth ½ each
    true = (fresh["rewards"] + 0.5 * ahead)[mask]
    explained, bias = 1 - float((values - true).var() / true.var()), float((values - true).mean())
    good, told = explained >= 0.6 and abs(bias) <= 0.75, f"{explained:.2f} explained, bias {bias:+.2f}"
    assert_true(good, "the critic is off", expected="≥ 0.6 explained, |bias| ≤ 0.75", got=told)


def train_both(attempt, reference, rng, settings, *, prepare="", mode=True, tell=len, **sizes):
    """What trained_on returns for the attempt and for the reference, after the same weights; and the rollouts."""
    seed, results, shapes = seed_of(rng), [], ((5, 3, 4), (7, 2, 6), (4, 1, 3))
    batches = [reference.run("scripted", seed_of(rng), *shape, prepare == "flat") for shape in shapes]
    for side, told in ((attempt, tell), (reference, len)):
        model = drawn(side, seed, F64, prepare, **sizes).train(mode)
        results.append(side.run("trained_on", model, batches, settings, told))
    assert_close(results[0][1], results[1][1], **STEPPED, label=f"the weights{prepare and f' ({prepare})'}")
    return *results, batches


@check("train", points=8)
def test_training_steps_are_exact(attempt, reference, rng):
    """after scripted updates the weights are those of PPO as pinned, with every setting of the config"""
    for settings in (PLAIN, PLAIN | OTHER, PLAIN | OTHER | {"value_clip": None, "max_grad_norm": 0.05, "epochs": 1}):
        train_both(attempt, reference, rng, settings)
    train_both(attempt, reference, rng, PLAIN, prepare="flat")


@check("train", points=3, needs="test_training_steps_are_exact")
def test_training_reports_each_update(attempt, reference, rng):
    """history has the mean summed reward and the last epoch's stats; sample and reward_fn are asked once an update"""
    for settings in (PLAIN, PLAIN | OTHER | {"updates": 2, "epochs": 2}):
        told = []
        got, want, _ = train_both(attempt, reference, rng, settings, prepare="raised", tell=told.append)
        assert_close(got[0], want[0], **STEPPED, exact_type=True, label="history")
        assert_equal(told, ["sample in eval mode", "reward"] * settings["updates"], label="what was asked")
    assert_equal(attempt.run("trained_on", attempt.ActorCritic(**SIZES), [], {"updates": 0}, len)[0], [])


@check("train", points=3, needs="test_training_steps_are_exact")
def test_training_leaves_no_traces(attempt, reference, rng):
    """no dropout, the old mode restored, old gradients discarded, frozen weights and rollouts as they were"""
    for prepare, mode, dropout in (("", True, 0.5), ("with gradients", False, 0.0), ("frozen", False, 0.5)):
        got, _, batches = train_both(attempt, reference, rng, PLAIN, prepare=prepare, mode=mode, dropout=dropout)
        assert_equal(got[2], (mode, True), label="(model.training, global generator untouched)")
        assert_equal(got[3], batches, label="the rollouts and rewards afterwards")


def episodes(rng, terminated, truncated, dtype=F64, gamma=0.9, lam=0.7):
    rewards, final_values, *_ = noise = rng.tensor(3, *terminated.shape, dtype=dtype)
    values = torch.cat([noise[2], rng.tensor(1, terminated.shape[1], dtype=dtype)])
    ends = {"terminated": terminated, "truncated": truncated, "final_values": 2 * final_values}
    return {"rewards": rewards, "values": values} | ends | {"gamma": gamma, "lam": lam}


@check("episodes", points=4)
def test_episodes_end_without_the_next_one(attempt, reference, rng):
    """a termination is worth 0 afterwards and cuts the sum; otherwise the next row of values follows"""
    for shape in ((7, 3), (4, 4), (1, 5), (6, 1)):
        for chance, dtype in ((0.3, F64), (0.0, F64), (0.5, F32), (1.0, F64)):
            ends = some(rng, *shape, chance=chance)
            kwargs = episodes(rng, ends, torch.zeros_like(ends), dtype, gamma=1 - 0.2 * chance)
            agree(attempt, reference, "gae_episodes", **kwargs)


@check("episodes", points=4, needs="test_episodes_end_without_the_next_one")
def test_episodes_cut_off_go_on_in_their_final_value(attempt, reference, rng):
    """a truncation takes final_values and cuts the sum; termination wins; unused NaN, shapes and graphs as pinned"""
    for shape, lam in (((8, 4), 0.7), ((5, 5), 1.0), ((1, 3), 0.5), ((6, 1), 0.0)):
        terminated, truncated = some(rng, *shape), some(rng, *shape, chance=0.5)
        terminated[0, 0] = truncated[0, 0] = truncated[-1, -1] = True
        kwargs = episodes(rng, terminated, truncated, lam=lam)
        agree(attempt, reference, "gae_episodes", **kwargs)
        kwargs["final_values"][~truncated | terminated] = torch.nan
        kwargs["values"][-1, truncated[-1] | terminated[-1]] = torch.inf
        kwargs |= {name: columns(kwargs[name]).requires_grad_() for name in ("rewards", "values", "final_values")}
        agree(attempt, reference, "gae_episodes", 2, **kwargs)
    first, second = (episodes(rng, some(rng, 5, 3), some(rng, 5, 3)) for _ in range(2))
    keeps_nothing(attempt, reference, "gae_episodes", first, second)
    few = {name: first[name][:1] for name in ("rewards", "terminated", "truncated", "final_values", "values")}
    for name, x in (*few.items(), ("values", first["values"][:5]), ("values", first["values"][:, :1])):
        assert_raises(ValueError, attempt.gae_episodes, **first | {name: x})


@check("variance", points=2)
def test_explained_variance_compares_two_spreads(attempt, reference, rng):
    """1 − Var(R − V)/Var(R) over the unmasked tokens; NaN where these returns are all equal, or there are none"""
    most, one = (torch.arange(8).view(2, 4) < count for count in (7, 1))
    for mask, dtype in ((patchy(rng, 3, 5), F64), (patchy(rng, 6, 4).long(), F32), (most, F64)):
        returns, noise = rng.tensor(2, *mask.shape, dtype=dtype)
        kwargs = hide({"values": 5 + 0.5 * returns + noise, "returns": returns, "mask": mask}, ("values", "returns"))
        got = assert_inputs_unchanged(attempt.explained_variance, **kwargs)
        assert_close(got, reference.explained_variance(**kwargs), rtol=1e-4, atol=1e-5, exact_type=True)
    for changed in ({"returns": torch.full((2, 4), 0.1, dtype=F64)}, {"mask": one}, {"mask": one & ~one}):
        assert_equal(attempt.explained_variance(**kwargs | changed), float("nan"), exact_type=True, label="no variance")
