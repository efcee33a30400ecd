"""Hidden checks of `reinforce`: tables as policies, whose rollouts, losses and updates are known exactly."""

import itertools
from copy import deepcopy

import torch

from grader.checking import (
    assert_close,
    assert_distribution,
    assert_equal,
    assert_inputs_unchanged,
    assert_raises,
    assert_true,
    check,
    gradients,
    keep,
)

F32, F64 = torch.float32, torch.float64
EXACT, SINGLE = {"rtol": 1e-9, "atol": 1e-12}, {"rtol": 1e-5, "atol": 1e-6}
BOS, EOS, PAD, LETTER = 0, 1, 2, 3


def tokens(rng, *shape, high=7, low=0):
    return torch.from_numpy(rng.integers(low, high, size=shape))


def agree(attempt, reference, name, *cases, **close):
    for case in cases:
        got = assert_inputs_unchanged(getattr(attempt, name), *case)
        assert_close(got, getattr(reference, name)(*case), **(close or EXACT), exact_type=True)


@check("reward", points=6)
def test_reward_is_the_longest_common_run(attempt, reference, rng):
    """the reward is the longest run of neighbouring tokens common to both, as a fraction of the target's length"""
    sizes = [(5, 5), (9, 4), (4, 9), (12, 12), (1, 3), (3, 1), (30, 7), (300, 230)]
    drawn = [[tokens(rng, size, low=3, high=high).tolist() for size in pair] for pair in sizes for high in (5, 9)]
    drawn[-1][0][100:140] = drawn[-1][1][:40]
    target = [int(token) for token in rng.permutation(range(40, 46))]
    gaps = [token for pair in zip(target, range(30, 36), strict=True) for token in pair]
    digits = [int(f"{a}{b}") for a, b in itertools.pairwise(target)]  # equal as digits, not as tokens
    made = [[one, target] for one in (gaps, target[::-1], target[3:] + target[:3], target, digits)]
    made.append([[50257, 128000, 2_000_000], [128000, 2_000_000, 7]])
    agree(attempt, reference, "substring_reward", *((*pair, 1) for pair in drawn + made))


@check("reward", points=5)
def test_reward_ends_at_the_first_eos(attempt, reference, rng):
    """the completion's first EOS and all after it are dropped; what is left may be empty, the target may not"""
    for eos in (1, 0, 5000):
        t = tokens(rng, 6, low=3, high=9).tolist()
        completions = [*t[:2], eos, *t], [t[0], eos, *t[1:4], eos], [eos, *t], [*t, eos, 2, 2], [*t[:3], eos, t[4]]
        cases = [(one, target) for one in (*completions, [], [20]) for target in (t, [*t[:3], eos, t[4]])]
        agree(attempt, reference, "substring_reward", *((*case, end) for case in cases for end in (eos, None)))
        for one in (t, [], [eos]):
            assert_raises(ValueError, attempt.substring_reward, one, [], eos)


def successors():
    """A table in which n + 1 is the only token that can follow n."""
    return torch.full((20, 20), -torch.inf, dtype=F64).fill_diagonal_(0).roll(1, dims=1)


def rollouts(side, policy, prompts, group_size, count, tell=None, training=True, **kwargs):
    """What sample_rollouts returns, for a policy of (table, what it reads), and the model."""
    settings = {"temperature": 0, "eos_id": None, "pad_id": 0, "generator": torch.Generator()} | kwargs
    model = side.run("policy", *policy, tell, training)
    return assert_inputs_unchanged(side.sample_rollouts, model, prompts, group_size, count, **settings), model


def agree_on_rollouts(attempt, reference, *args, **kwargs):
    assert_equal(*(rollouts(side, *args, **kwargs)[0] for side in (attempt, reference)))


@check("rollouts", points=5)
def test_rollouts_of_a_prompt_stand_together(attempt, reference, rng):
    """each prompt stands in G neighbouring rows, followed by T tokens, each chosen after all those before it"""
    sure = successors(), "token"
    for rows, length, group_size, count in ((3, 4, 2, 5), (1, 1, 1, 1), (2, 1, 3, 4), (4, 5, 1, 2), (1, 3, 4, 3)):
        prompts, policy = tokens(rng, rows, length), (1e-12 * rng.tensor(13, 7, dtype=F64), "all")  # near ties
        agree_on_rollouts(attempt, reference, policy, prompts, group_size, count)
        agree_on_rollouts(attempt, reference, sure, prompts.T.contiguous().T, group_size, count, temperature=1.5)


@check("rollouts", points=5)
def test_tokens_follow_the_tempered_policy(attempt, rng):
    """above temperature 0 every row draws on its own from softmax(logits / temperature), token after token"""
    prompts = torch.tensor([[2, 0], [0, 1]])
    for temperature in (0.5, 1.0, 2.5):
        far = torch.from_numpy(rng.permutation([-1e4, -1e4, 1e4, 1e4])).unsqueeze(-1)  # changes no distribution
        table = rng.tensor(4, 4, dtype=F64) + far
        table[:, 3] = -torch.inf  # banned
        kwargs = {"temperature": temperature, "generator": rng.torch()}
        ids, mask = rollouts(attempt, (table, "token"), prompts, 1200, 2, **kwargs)[0]
        assert_equal((ids[:, :2], mask), (prompts.repeat_interleave(1200, dim=0), torch.ones(2400, 2) > 0))
        chances = (table / temperature).softmax(dim=-1)
        for prompt, (first, second) in enumerate(drawn.T for drawn in ids[:, 2:].split(1200)):
            pairs = (chances[prompt].unsqueeze(-1) * chances).flatten()
            assert_distribution((4 * first + second).bincount(minlength=16).numpy(), pairs.numpy())


@check("rollouts", points=6)
def test_rows_end_with_their_eos(attempt, reference, rng):
    """the mask covers all tokens up to a row's first generated EOS, that one included; pads follow, of any id"""
    sure, prompts = (successors(), "token"), torch.tensor([[8, 2], [5, 7], [3, 0], [8, 8]])[rng.permutation(4)]
    for pad, temperature in itertools.product((0, 8, 7, 4), (0, 1.0)):  # 8 is the EOS
        kwargs = {"eos_id": 8, "pad_id": pad, "temperature": temperature}
        agree_on_rollouts(attempt, reference, sure, prompts, 3, 6, **kwargs)
        agree_on_rollouts(attempt, reference, sure, prompts[:1], 1, 1, **kwargs)
    for last, eos in ((7, 8), (18, 0)):
        agree_on_rollouts(attempt, reference, sure, torch.tensor([[last], [last - 1]]), 2, 5, eos_id=eos, pad_id=5)


@check("rollouts", points=4)
def test_the_generator_is_all_randomness(attempt, rng):
    """equal generators give equal tokens, it moves on from call to call, and the global generator is left alone"""
    policy, prompts, generator = (rng.tensor(13, 7, dtype=F64), "all"), tokens(rng, 4, 3), rng.torch()
    start, kwargs = generator.get_state(), {"temperature": 1.5, "generator": generator, "eos_id": 3, "pad_id": 0}
    first, later = (rollouts(attempt, policy, prompts, 5, 6, **kwargs)[0] for _ in range(2))
    assert_equal(first[0][:, :3], prompts.repeat_interleave(5, dim=0))
    assert_true(not torch.equal(first[0], later[0]), "the generator stays where it was: tokens repeat in a second call")
    generator.set_state(start)
    again, model = rollouts(attempt, policy, prompts, 5, 6, **kwargs)
    assert_equal(again, first, label="rollouts of an equal generator")
    alone = attempt.run("left_global_generator", (model, prompts, 5, 6), kwargs)
    assert_true(alone is True, "torch's global generator was drawn from or seeded: use `generator`")


@check("rollouts", points=4)
def test_the_policy_is_called_once_a_token(attempt, rng):
    """call t gets all rows with the tokens so far, in eval mode, without a graph; the mode is as before afterwards"""
    for training, (eos, temperature) in itertools.product((True, False), ((None, 0), (5, 0), (5, 1.0))):
        policy, prompts, calls = (rng.tensor(13, 7, dtype=F64), "all"), tokens(rng, 3, 2), []
        kwargs = {"eos_id": eos, "temperature": temperature, "generator": rng.torch(), "pad_id": 0}
        (ids, mask), model = rollouts(attempt, policy, prompts, 2, 5, calls.append, training, **kwargs)
        enough = 5 if eos is None else int(mask.sum(dim=1).max())
        assert_true(enough <= len(calls) <= 5, "not one call a token", expected=enough, got=len(calls))
        for t, (seen, how) in enumerate(calls):
            assert_equal(seen, ids[:, : 2 + t], label=f"what call {t} gets")
            assert_equal(how, (False, False), label="(in train mode, builds a graph)")
        assert_equal(model.get("training"), training, label="model.training afterwards")
        count, _ = len(calls), attempt.sample_rollouts(model, prompts, 2, 5, **kwargs)
        assert_equal(calls[count:][:1], calls[:1], label="what the policy gets first when it is asked once more")


@check("advantages", points=7)
def test_advantages_are_centred_in_each_group(attempt, reference, rng):
    """each reward loses its group's mean; only normalize=True then divides by the sample deviation + 1e-4"""
    for sizes, normalize in itertools.product(((12, 4), (12, 3), (12, 12), (5, 1), (1, 1), (6, 2)), (False, True)):
        for dtype, close in ((F64, EXACT), (F32, {"rtol": 1e-5, "atol": 1e-5})):
            # No two nearly agree: of their difference only rounding would be left.
            rewards = torch.from_numpy(rng.permutation(sizes[0]) + 0.3 * rng.random(sizes[0])).to(dtype) / 4
            agree(attempt, reference, "group_advantages", (rewards, sizes[1], normalize), **close)
    equal_and_not = torch.tensor([0.5, 0.5, 0.5, 0.5, 1.0, 0.0, 0.25, 0.0], dtype=F64)
    tiny, strided = 1e-4 * rng.tensor(12, dtype=F64), rng.tensor(24, dtype=F64)[::2]
    cases = (equal_and_not, 4, True), (equal_and_not, 4), (tiny, 4, True), (strided, 3, True), (strided, 3)
    agree(attempt, reference, "group_advantages", *cases)


@check("advantages", points=2)
def test_advantages_are_constants_of_whole_groups(attempt, reference, rng):
    """no graph leads back to the rewards, and rewards that are no whole groups are a ValueError"""
    for normalize in (False, True):
        kwargs = {"rewards": rng.tensor(6, dtype=F64), "group_size": 3, "normalize": normalize}
        got, grads = gradients(attempt.group_advantages, kwargs, wrt=("rewards",), upstream=rng)
        assert_close(got, reference.group_advantages(**kwargs), **EXACT)
        assert_true(grads["rewards"] is None, "a gradient reaches the rewards: detach them")
        for count, group_size in ((7, 3), (2, 4), (6, 0), (6, -2)):
            assert_raises(ValueError, attempt.group_advantages, rng.tensor(count), group_size, normalize)


SHAPES = ((4, 3, 5, 6), (1, 1, 1, 2), (3, 1, 4, 5), (2, 5, 1, 3), (6, 2, 3, 9))


def loss_batch(rng, rows=4, prompt_len=3, count=5, vocab=6, dtype=F64):
    """Arguments of the loss, with completions of different length, the first a full one."""
    lengths = tokens(rng, rows, 1, low=1, high=count + 1)
    lengths[0] = count
    batch = {"logits": 2 * rng.tensor(rows, prompt_len + count, vocab, dtype=dtype), "prompt_len": prompt_len}
    batch |= {"ids": tokens(rng, rows, prompt_len + count, high=vocab), "mask": torch.arange(count) < lengths}
    return batch | {"advantages": rng.tensor(rows, dtype=dtype)}


def agree_on_loss(attempt, reference, rng, batch, **settings):
    """The same loss and the same gradient by the logits."""
    kwargs, dtype = {**batch, **settings}, batch["logits"].dtype
    ask, sides = {"kwargs": kwargs, "wrt": ("logits",), "upstream": rng.tensor(1, dtype=dtype)[0]}, (attempt, reference)
    got, want = (gradients(side.reinforce_loss, **ask) for side in sides)
    assert_close(got, want, **(SINGLE if dtype == F32 else EXACT), label="(loss, its gradient)")


@check("loss", points=6)
def test_loss_weighs_the_log_probabilities(attempt, reference, rng):
    """the loss is −Σ A·log π(token) over the completions' tokens, divided by their number in the whole batch"""
    for batch in (*(loss_batch(rng, *sizes) for sizes in SHAPES), loss_batch(rng, dtype=F32)):
        agree_on_loss(attempt, reference, rng, batch)
    batch = loss_batch(rng)
    batch |= {name: batch[name].transpose(0, 1).contiguous().transpose(0, 1) for name in ("logits", "ids", "mask")}
    batch["mask"][1:] = torch.tensor([[0, 0, 0, 0, 0], [1, 0, 1, 1, 0], [0, 1, 0, 0, 1]])
    agree_on_loss(attempt, reference, rng, batch, entropy_coef=0.0, temperature=1.0)


@check("loss", points=5)
def test_loss_has_an_entropy_bonus(attempt, reference, rng):
    """entropy_coef times the mean entropy of the whole distribution is taken off"""
    for sizes, dtype in ((SHAPES[0], F64), (SHAPES[1], F64), (SHAPES[4], F32)):
        batch = loss_batch(rng, *sizes, dtype=dtype)
        agree_on_loss(attempt, reference, rng, batch, entropy_coef=0.5)
        agree_on_loss(attempt, reference, rng, batch | {"advantages": 0 * batch["advantages"]}, entropy_coef=1.5)


@check("loss", points=4)
def test_loss_is_of_the_tempered_policy(attempt, reference, rng):
    """the temperature divides the logits of log π and of the entropy alike"""
    for temperature, coef in ((0.5, 0.0), (2.0, 0.0), (0.5, 0.75), (1.3, 0.5)):
        agree_on_loss(attempt, reference, rng, loss_batch(rng), temperature=temperature, entropy_coef=coef)


@check("loss", points=5)
def test_loss_ignores_what_is_not_counted(attempt, reference, rng):
    """NaN or inf in logits that predict no counted token, and any id there, reach neither value nor gradient"""
    for logit, token in ((torch.nan, -100), (torch.inf, 5), (-torch.inf, 10**9)):
        batch, predicts = loss_batch(rng), torch.zeros(4, 8, dtype=torch.bool)
        batch["mask"][2, 0] = False  # a hole, at the start
        predicts[:, 2:-1] = batch["mask"]
        batch["logits"][~predicts], batch["ids"][~predicts.roll(1, dims=1)] = logit, token
        agree_on_loss(attempt, reference, rng, batch, entropy_coef=0.25, temperature=0.8)
    for sizes in SHAPES[:2]:
        batch = loss_batch(rng, *sizes)
        nothing = batch | {"mask": batch["mask"] & False}
        agree_on_loss(attempt, reference, rng, nothing, entropy_coef=0.5)
        agree_on_loss(attempt, reference, rng, nothing | {"logits": batch["logits"] * torch.nan}, entropy_coef=0.5)


@check("loss", points=4)
def test_loss_stays_finite_at_extreme_logits(attempt, reference, rng):
    """logits of ±10⁴ and banned tokens of −inf give exact losses, entropies and gradients"""
    for dtype in (F64, F32):
        batch = loss_batch(rng, dtype=dtype)
        target = batch["ids"].roll(-1, dims=1).unsqueeze(-1)
        banned = batch["logits"].scatter(-1, (target + 1) % 6, -torch.inf)
        agree_on_loss(attempt, reference, rng, batch | {"logits": banned}, entropy_coef=0.5, temperature=0.8)
        if dtype == F64:  # log-probabilities of -10⁴ nearly cancel in the loss: float32 has no digits left for it
            far = banned.scatter(-1, (target + 2) % 6, 1e4).scatter(-1, (target + 3) % 6, -1e4)
            agree_on_loss(attempt, reference, rng, batch | {"logits": far}, entropy_coef=0.5)


@check("loss", points=3)
def test_loss_reports_and_leaves_its_inputs(attempt, reference, rng):
    """stats are Python numbers of the batch, no input is modified, and no gradient reaches the advantages"""
    for sizes, settings in ((SHAPES[0], {"entropy_coef": 0.5, "temperature": 0.7}), (SHAPES[3], {})):
        kwargs = loss_batch(rng, *sizes) | settings
        for case in (kwargs, kwargs | {"mask": kwargs["mask"] & False}):
            got = assert_inputs_unchanged(attempt.reinforce_loss, **case)
            assert_close(got, reference.reinforce_loss(**case), **EXACT, exact_type=True, label="(loss, stats)")
        grad = gradients(attempt.reinforce_loss, kwargs, wrt=("logits", "advantages"), upstream=rng)[1]["advantages"]
        assert_true(grad is None or not grad.any(), "a gradient reaches the advantages: detach them")


TABULAR = {"letters": 3, "target_len": 2, "prompts": 3, "group_size": 4, "max_new_tokens": 3, "max_grad_norm": 1e6}
SHORT = {"prompts": 3, "group_size": 4, "lr": 0.01, "total_steps": 7, "dropout": 0.25}
SGD = {"lr": 2.0, "momentum": 0.5, "gamma": 0.5}


def tabular_run(side, rng, steps, cfg, tell=None, levels=9):
    """Train a table by place and token -> the history, the table before and after, the rows asked: (ids, reward).

    So many different rewards there are.
    """
    width, vocab, rows = 1 + cfg["target_len"] + cfg["max_new_tokens"], LETTER + cfg["letters"], []
    table = rng.tensor(width, vocab, vocab, dtype=F64)

    def reward(completion, target, eos_id):
        assert_equal((len(completion), len(target), eos_id), (cfg["max_new_tokens"], cfg["target_len"], EOS))
        rows.append(([BOS, *target, *completion], int(rng.integers(0, levels)) / 8))  # eighths are exact in float32
        return rows[-1][1]

    model = side.run("policy", table, "place", tell, False)
    state = keep(side.TrainState)(model, *side.run("training_parts", model, SGD), rng.torch())
    history = side.train(state, keep(side.TrainConfig)(**cfg), steps, reward)
    counts = len(rows), state.get("step")
    assert_equal(counts, (steps * cfg["prompts"] * cfg["group_size"], steps), label="(calls of reward_fn, state.step)")
    return history, table, torch.cat(list(side.run("weights", state).values())), rows


def step_on(table, rows, cfg):
    """What a step on these rows reports, and the clipped gradient of its loss by the table."""
    ids, start = torch.tensor([row for row, _ in rows]), 1 + cfg["target_len"]
    rewards = torch.tensor([reward for _, reward in rows], dtype=F64).view(-1, cfg["group_size"])
    ended = (ids[:, start:] == EOS).int()
    mask, leaf = ended.cumsum(dim=1) == ended, table.clone().requires_grad_()
    logps = (leaf[torch.arange(ids.shape[1]), ids][:, start - 1 : -1] / cfg["temperature"]).log_softmax(dim=-1)
    gains = (rewards - rewards.mean(dim=1, keepdim=True)).view(-1, 1) * logps.gather(-1, ids[:, start:, None])[..., 0]
    entropy = -(logps.exp() * logps).sum(dim=-1)[mask].mean()
    loss = -gains[mask].mean() - cfg["entropy_coef"] * entropy
    loss.backward()
    torch.nn.utils.clip_grad_norm_([leaf], cfg["max_grad_norm"])
    return {"reward": rewards.mean().item(), "loss": loss.item(), "entropy": entropy.item()}, leaf.grad


def agree_on_training(attempt, rng, steps, levels=9, **cfg):
    """The history and the weights follow from the rows that the reward function was asked about."""
    history, table, trained, rows = tabular_run(attempt, rng, steps, TABULAR | cfg, levels=levels)
    velocity, want, size = 0, [], len(rows) // steps
    for step in range(steps):
        report, grad = step_on(table, rows[step * size : (step + 1) * size], TABULAR | cfg)
        velocity = SGD["momentum"] * velocity + grad
        table = table - SGD["lr"] * SGD["gamma"] ** step * velocity
        want.append(report)
    assert_close(history, want, rtol=1e-6, atol=1e-7, exact_type=True, label="history")
    assert_close(trained, table, **EXACT, label="the weights")


@check("train", points=6)
def test_a_step_is_the_policy_gradient(attempt, rng):
    """one step reports and does what its rollouts and rewards say, at the config's temperature and entropy bonus"""
    sizes = {"prompts": 5, "group_size": 2, "target_len": 3, "max_new_tokens": 4, "letters": 2}
    for temperature, entropy_coef, others in ((1.0, 0.0, {}), (0.5, 0.25, {}), (1.75, 0.5, {}), (0.75, 0.125, sizes)):
        agree_on_training(attempt, rng, 1, temperature=temperature, entropy_coef=entropy_coef, **others)
    state, cfg = new_run(attempt, 0, prompts=2, group_size=2, entropy_coef=0.0)
    before, _ = attempt.run("weights", state), attempt.train(state, cfg, 1, lambda *_: 0.5)
    assert_equal(attempt.run("weights", state), before, label="the weights, with equal rewards and no entropy bonus")


@check("train", points=4, needs="test_a_step_is_the_policy_gradient")
def test_steps_are_clipped_and_scheduled(attempt, rng):
    """the gradient's norm is clipped, old gradients are cleared, optimizer and scheduler move on with every step, and
    equal rewards leave the entropy bonus"""
    for norm in (0.02, 1e6):
        agree_on_training(attempt, rng, 4, temperature=0.75, entropy_coef=0.125, max_grad_norm=norm)
    agree_on_training(attempt, rng, 2, levels=1, temperature=0.75, entropy_coef=0.5)  # only the entropy counts


@check("train", points=4)
def test_rollouts_follow_the_policy(attempt, rng):
    """rows are drawn in eval mode from the tempered policy, by state.generator alone, and seen again in train mode"""
    cfg = TABULAR | {"prompts": 10, "group_size": 40, "letters": 2, "temperature": 0.2, "entropy_coef": 0.125}
    (*_, same), passes = tabular_run(attempt, deepcopy(rng), 2, cfg), []
    attempt.run("seed_global_generator", 7)
    _, table, _, rows = tabular_run(attempt, rng, 2, cfg, passes.append)
    assert_equal(rows, same, label="rows of an equal state, after torch.manual_seed")
    ids, (*sampling, last) = torch.tensor([row for row, _ in rows[400:]]), passes[len(passes) // 2 :]
    assert_equal({how for _, how in sampling}, {(False, False)}, label="(in train mode, with a graph) while sampling")
    assert_equal(last, (ids, (True, True)), label="the last pass: rows, (in train mode, with a graph)")
    assert_equal(ids[:, :3], ids[::40, :3].repeat_interleave(40, dim=0), label="the prompts of each group")
    table = table - SGD["lr"] * step_on(table, rows[:400], cfg)[1]  # what the second step's rows are drawn from
    for letter in set(ids[:, 2].tolist()):
        drawn, chances = ids[ids[:, 2] == letter, 3], (table[2, letter] / 0.2).softmax(dim=-1)
        assert_distribution(drawn.bincount(minlength=5).numpy(), chances.numpy())


def new_run(side, seed, **fields):
    side.run("use_one_thread")  # two on a busy machine cost 20 times the CPU time
    cfg = keep(side.TrainConfig)(**fields)
    return keep(side.make_state)(cfg, seed), cfg


def go_on(side, state, cfg, steps):
    """The history of some more steps, and the weights after them, which are others than before."""
    before, history, after = side.run("weights", state), side.train(state, cfg, steps), side.run("weights", state)
    assert_true(any(not torch.equal(before[name], after[name]) for name in before), "the weights stay as they were")
    return history, after


@check("train", points=4, needs="test_a_step_is_the_policy_gradient", trained=True)
def test_training_earns_its_reward(attempt, reference, rng):
    """a run with the default config has new prompts in each step, and earns a mean reward of 0.8 on all prompts"""
    (start, seed), targets = rng.integers(0, 2**31, size=2).tolist(), []
    state, cfg = new_run(attempt, start)
    attempt.train(state, cfg, 60)
    earned = reference.run("mean_reward", keep(reference.TrainConfig)(), attempt.run("weights", state), seed)
    assert_true(earned >= 0.8, "the policy has not learned", expected="≥ 0.8", got=f"{earned:.3f}")
    attempt.train(state, cfg, 2, lambda _, target, __: targets.append(target) or 0.5)
    assert_equal(len(targets), 128, label="rows that two more steps have rewarded")
    assert_true(targets[:64] != targets[64:], "two steps have the same prompts, in the same order")


@check("checkpoint", points=9)
def test_resumed_training_is_the_same_to_the_bit(attempt, rng):
    """resumed in a new process, training goes on bit by bit as if it had never stopped"""
    seed, other = rng.integers(0, 2**31, size=2).tolist()
    whole, weights = go_on(attempt, *new_run(attempt, seed, **SHORT), 7)
    state, cfg = new_run(attempt, seed, **SHORT)
    for _ in range(3):
        go_on(attempt, state, cfg, 1)
        attempt.save_checkpoint(attempt.path("run.pt"), state)
    want = whole[3:], weights
    assert_equal(go_on(attempt, state, cfg, 4), want, label="(history, weights) of what follows a save")
    attempt.run("moved", attempt.path("run.pt"), attempt.path("moved.pt"))
    fresh = attempt.restart()
    state, cfg = new_run(fresh, other, **SHORT)
    go_on(fresh, state, cfg, 2)
    for _ in range(2):
        fresh.load_checkpoint(fresh.path("moved.pt"), state)
        assert_equal(state.get("step"), 3, label="state.step after loading")
        assert_equal(go_on(fresh, state, cfg, 4), want, label="(history, weights) of what follows a load")


@check("checkpoint", points=2)
def test_the_file_holds_plain_data(attempt, reference, rng):
    """torch.load(path, weights_only=True) reads the file, which is the one that was named"""
    state, cfg = new_run(attempt, int(rng.integers(0, 2**31)), **SHORT)
    _, weights = go_on(attempt, state, cfg, 1)
    modes, results = [state.get("model").get("training")], []
    results.append(attempt.save_checkpoint(attempt.path("plain.ckpt"), state))
    modes.append(state.get("model").get("training"))
    results.append(attempt.load_checkpoint(attempt.path("plain.ckpt"), state))
    assert_equal(results, [None, None], label="what saving and loading return")
    assert_equal(modes[1], modes[0], label="model.training, once the state is saved")
    content, least = attempt.read_bytes("plain.ckpt"), 4 * sum(weight.numel() for weight in weights.values())
    assert_true(len(content) > least, "too small to hold the weights", got=f"{len(content)} bytes")
    plain = reference.confined().run("readable", content)
    assert_true(plain is True, "torch.load(…, weights_only=True) refuses it: save state_dicts and tensors, no objects")
