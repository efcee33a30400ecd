"""Hidden checks of `fsdp`: formulas against exact numbers, one process, then a few groups of real and of fake ranks.

Importing FSDP takes a second of each process, so that what needs it stands together, behind what does not.
"""

import torch

from grader.checking import (
    assert_close,
    assert_equal,
    assert_inputs_unchanged,
    assert_raises,
    assert_true,
    check,
    keep,
    peak_bytes,
)

SIZES = (6, 5, 7, 3, 3)  # inputs, dim, hidden, blocks, classes: 7 rows on 2 ranks are 4 and 3, 5 on 4 are 2, 2, 1, 0
EXACT = {"rtol": 1e-12, "atol": 1e-9}
TOLD = {"rtol": 1e-5, "atol": 1e-7}
TRAINED = {"rtol": 1e-7, "atol": 1e-9}
MIB = 2**20
STATES = ("params", "grads", "optim", "total")
SPREADS = [("none", True), ("root", True), ("root", False), ("blocks", False), ("blocks", True)]


def settings(rng, wrap="none", reshard=True):
    lr, decay = rng.uniform(0.02, 0.05), rng.uniform(0.1, 0.3)
    return {"wrap": wrap, "reshard_after_forward": reshard, "lr": float(lr), "weight_decay": float(decay)}


def weights(reference, rng, sizes=SIZES):
    return reference.run("drawn", sizes, int(rng.integers(2**31)))


def rows(rng, count, sizes=SIZES):
    return 2 * rng.tensor(count, sizes[0], dtype=torch.float64), torch.from_numpy(
        rng.integers(0, sizes[-1], size=count)
    )


def split(batch, ranks, micro_batches):
    """For each rank its micro-batches, in a random order of rows."""
    parts = [part.chunk(ranks * micro_batches) for part in batch]
    return [list(zip(*(part[rank::ranks] for part in parts), strict=True)) for rank in range(ranks)]


def spread(module, wrap="blocks", reshard=True):
    return keep(module.ShardConfig)(wrap=wrap, reshard_after_forward=reshard)


def random_units(rng, blocks):
    """Shapes of the root's parameters and of each block's, uneven in rows, of one to three dimensions."""

    def unit(count):
        return [tuple(int(n) for n in rng.integers(1, 14, size=rng.integers(1, 4))) for _ in range(count)]

    return unit(3), [unit(int(rng.integers(1, 5))) for _ in range(blocks)]


@check("zero", points=5)
def test_memory_of_each_stage(attempt, reference, rng):
    """each stage divides what it shards, and nothing else, by the number of ranks"""
    for stage in range(4):
        for sizes in ({}, {"bytes_param": 4, "bytes_grad": 3, "bytes_optim": 8}):
            psi, n_ranks = int(rng.integers(10**3, 10**11)), int(rng.integers(2, 2000))
            got = attempt.zero_memory(psi, n_ranks, stage, **sizes)
            assert_close(got, reference.zero_memory(psi, n_ranks, stage, **sizes), **EXACT)
    assert_close(attempt.zero_memory(7, 1, 3), {"params": 14.0, "grads": 14.0, "optim": 84.0, "total": 112.0}, **EXACT)


@check("zero", points=4)
def test_the_published_table(attempt):
    """the figures of the paper, and a ValueError for what cannot be"""
    for psi, n_ranks, totals in (
        (7_500_000_000, 64, (120, 31.40625, 16.640625, 1.875)),
        (128_000_000_000, 1024, (2048, 513.5, 257.75, 2)),
    ):
        for stage, total in enumerate(totals):
            assert_close(attempt.zero_memory(psi, n_ranks, stage)["total"] / 1e9, float(total), **EXACT)
    assert_close(attempt.zero_memory(0, 4, 2), dict.fromkeys(STATES, 0.0), **EXACT)
    for bad in ((8, 4, 4), (8, 4, -1), (8, 0, 1), (8, -2, 0), (-1, 4, 3)):
        assert_raises(ValueError, attempt.zero_memory, *bad)


@check("rows", points=6)
def test_rows_of_each_rank(attempt, rng):
    """chunks of ceil(rows / ranks); the last ranks may hold fewer, or nothing"""
    for dim0, n_ranks, want in ((10, 4, [3, 3, 3, 1]), (5, 4, [2, 2, 1, 0]), (9, 8, [2, 2, 2, 2, 1, 0, 0, 0])):
        assert_equal(attempt.shard_rows(dim0, n_ranks), want)
    assert_equal(attempt.shard_rows(1, 3), [1, 0, 0])
    assert_equal(attempt.shard_rows(0, 3), [0, 0, 0])
    assert_equal(attempt.shard_rows(7, 1), [7])
    for _ in range(20):
        dim0, n_ranks = int(rng.integers(1, 200)), int(rng.integers(1, 40))
        chunks = [len(chunk) for chunk in torch.arange(dim0).chunk(n_ranks)]
        assert_equal(attempt.shard_rows(dim0, n_ranks), chunks + [0] * (n_ranks - len(chunks)))
    for bad in ((-1, 2), (4, 0), (4, -1)):
        assert_raises(ValueError, attempt.shard_rows, *bad)


@check("rows", points=5)
def test_numbers_of_each_rank(attempt, reference, rng):
    """every tensor is cut along its rows, by itself"""
    assert_equal(attempt.local_numel([(5, 3), (2,), (9, 1, 2)], 4, 0), 2 * 3 + 1 + 3 * 2)
    assert_equal([attempt.local_numel([(3,), (3, 2)], 2, rank) for rank in range(2)], [2 + 4, 1 + 2])
    for n_ranks in (1, 2, 5, 16):
        shapes = assert_units(rng)
        got = [assert_inputs_unchanged(attempt.local_numel, shapes, n_ranks, rank) for rank in range(n_ranks)]
        assert_equal(got, [reference.local_numel(shapes, n_ranks, rank) for rank in range(n_ranks)])
        assert_equal(sum(got), sum(int(torch.Size(shape).numel()) for shape in shapes))
    assert_equal(attempt.local_numel([], 3, 2), 0)
    for bad in (([(4,)], 2, 2), ([(4,)], 2, -1), ([(4,)], 0, 0)):
        assert_raises(ValueError, attempt.local_numel, *bad)


def assert_units(rng):
    root, blocks = random_units(rng, 2)
    return [*root, *blocks[0], *blocks[1]]


@check("build", points=4)
def test_build_in_one_process(attempt, reference, rng):
    """without a mesh the model comes back as it is, with an AdamW over all of its parameters"""
    start, config = weights(reference, rng), settings(rng)
    is_same, model, optimizer = attempt.run("built", SIZES, start, config)
    assert_true(is_same, "build returns another model", expected=True, got=is_same)
    name, holds_all, options = attempt.run("about", model, optimizer)
    assert_equal((name, holds_all), ("AdamW", True))
    wanted = {"lr": config["lr"], "weight_decay": config["weight_decay"], "betas": (0.9, 0.999), "eps": 1e-8}
    assert_close(options, wanted, rtol=1e-12, atol=0)
    for wrap in ("root", "blocks", "None", "layers"):
        assert_raises(ValueError, attempt.run, "refused", SIZES, start, config | {"wrap": wrap})


def shard(reference, weight, n_ranks, rank):
    counts = reference.shard_rows(len(weight), n_ranks)
    return weight[sum(counts[:rank]) : sum(counts[: rank + 1])].clone()


@check("build", points=10, needs="test_build_in_one_process")
def test_units_of_each_configuration(attempt, reference, rng):
    """one rank of four: the shards it holds, and how often each configuration gathers and scatters"""
    start, rank = weights(reference, rng), int(rng.integers(4))
    pieces = {name: shard(reference, weight, 4, rank) for name, weight in start.items()}
    expected = [(start, 0, 0), (pieces, 1, 1), (pieces, 1, 1), (pieces, 4, 4), (pieces, 7, 4)]
    for (wrap, reshard), (held, gathers, scatters) in zip(SPREADS, expected, strict=True):
        name = f"wrap={wrap!r}, reshard_after_forward={reshard}"
        config = settings(rng, wrap, reshard)
        is_same, (kind, holds_all, options), got, counts = attempt.run("units", SIZES, start, config, 4, rank)
        assert_true(is_same, f"{name}: build returns another model", expected=True, got=is_same)
        assert_close(got, held, rtol=1e-12, atol=0, label=f"{name}: what rank {rank} holds")
        assert_equal((kind, holds_all), ("AdamW", True), label=f"{name}: the optimizer holds the model's parameters")
        assert_close(options["lr"], config["lr"], rtol=1e-12, atol=0, label="lr")
        assert_close(options["weight_decay"], config["weight_decay"], rtol=1e-12, atol=0, label="weight_decay")
        want = {"gather": gathers, "scatter": scatters}
        assert_equal(counts, want, label=f"{name}: collectives of one forward and backward pass")
    got = attempt.run("refused_by_ranks", SIZES, start, settings(rng, "layers"), 4, rank)
    assert_equal(got, {"ValueError": True, "spread": False, "collectives": 0}, label="wrap='layers' with a mesh")


@check("parity", points=5, needs="test_build_in_one_process")
def test_a_step_in_one_process(attempt, reference, rng):
    """one micro-batch, no clipping: loss, gradient, its norm and the weights after each step"""
    start, config = weights(reference, rng), settings(rng)
    steps = [rows(rng, 5), rows(rng, 1), rows(rng, 4)]
    want = reference.run("alone", SIZES, start, config, steps)
    got = attempt.run("stepped", SIZES, start, config, [[batch] for batch in steps], None, 3.0)
    assert_trained(got, want)


def assert_trained(got, want, where=""):
    for index, (one, other) in enumerate(zip(got[0], want[0], strict=True)):
        assert_close(one, other, **TOLD, label=f"{where}(loss, norm) of step {index + 1}")
    assert_close(got[1], want[1], **TRAINED, label=f"{where}gradients after the last step")
    assert_close(got[2], want[2], **TRAINED, label=f"{where}weights after the last step")


@check("parity", points=3)
def test_gap_in_one_process(attempt, reference, rng):
    """the gap is the largest difference of all; NaN is an infinite one"""
    start = weights(reference, rng)
    for name, index, away in (("embed.bias", 2, -0.5), ("blocks.1.up.weight", 9, 0.25), ("head.weight", 14, 2.0)):
        others = {key: weight + 0.01 for key, weight in start.items()}
        others[name].view(-1)[index] = start[name].view(-1)[index] + away
        assert_close(attempt.run("gap", SIZES, start, others), abs(away), **EXACT)  # in float64, as the weights are
        others[name].view(-1)[index] = torch.nan
        assert_close(attempt.run("gap", SIZES, start, others), torch.inf, rtol=0, atol=0)
        assert_close(attempt.run("gap", SIZES, others, start), torch.inf, rtol=0, atol=0)
        others[name].view(-1)[index] = -torch.inf
        assert_close(attempt.run("gap", SIZES, others, others), torch.inf, rtol=0, atol=0)


@check("parity", points=4, needs="test_gap_in_one_process")
def test_gap_of_all_ranks(attempt, reference, rng):
    """every rank learns of the largest gap of any rank"""
    start = weights(reference, rng)
    others = [[{key: weight.clone() for key, weight in start.items()} for _ in range(3)] for _ in range(2)]
    others[1][0]["head.weight"][-1, -1] += 0.5
    others[0][1]["embed.bias"][0] -= 0.25
    others[1][1]["embed.bias"][1] += 0.125
    others[1][2]["blocks.2.norm.bias"][4] = torch.nan
    found = attempt.ranks(2).run_each("rank_gaps", [(SIZES, start, own) for own in others])
    for got in found:
        assert_close(got, [0.5, 0.25, torch.inf], rtol=1e-5, atol=1e-6)


@check("parity", points=11, needs="test_a_step_in_one_process")
def test_ranks_train_like_one_process(attempt, reference, rng):
    """two ranks that begin with different weights train as one process with all rows, from those of rank 0"""
    ranks, starts = attempt.ranks(2), [weights(reference, rng) for _ in range(2)]
    for wrap, reshard in (("none", True), ("root", True), ("blocks", False), ("blocks", True)):
        config, steps = settings(rng, wrap, reshard), [rows(rng, 2 * count) for count in (4, 1, 3)]
        want = reference.run("alone", SIZES, starts[0], config, steps)
        own = [[part[rank] for part in (split(batch, 2, 1) for batch in steps)] for rank in range(2)]
        found = ranks.run_each("rank_trained", [(SIZES, starts[rank], config, own[rank]) for rank in range(2)])
        for rank, (*got, gaps, _) in enumerate(found):
            assert_trained(got, want, f"{wrap!r}, rank {rank}: ")
            label = f"{wrap!r}, rank {rank}: parity_gap to the trained weights, and where rank 1's have 0.125 more"
            assert_close(gaps, [0.0, 0.125], rtol=0, atol=1e-9, label=label)


@check("bytes", points=5)
def test_bytes_in_one_process(attempt, rng):
    """parameters, gradients and moments, each as long as they are there, in the bytes of their type"""
    start = attempt_free_weights(rng)
    sizes, root, block, up = (4, 6, 1, 2, 5), 4 * 6 + 6, 6 + 6 + 6 + 1 + 6, 4 * (6 + 1)
    for dtype, size in ((torch.float32, 4), (torch.float64, 8), (torch.bfloat16, 2)):
        found = attempt.run("bytes_of", sizes, start, {"head": dtype}, "AdamW", 2)
        params, head = 4 * (root + 2 * block - 12) + 30 * size, 30 * size  # the blocks share their norm
        grads = params - 4 * root
        stepped = params, grads, 2 * (head + up)
        want = [(params, 0, 0), (params, grads, 0), stepped, stepped, stepped]
        for got, held in zip(found, want, strict=True):
            assert_equal(got, dict(zip(STATES, (*held, sum(held)), strict=True)))
    found = attempt.run("bytes_of", sizes, start, {}, "SGD", 1)
    params, grads = 4 * (root + 2 * block - 12 + 30), 4 * (2 * block - 12 + 30)
    assert_equal(found[-1], dict(zip(STATES, (params, grads, 0, params + grads), strict=True)))


def attempt_free_weights(rng):
    block = {"norm.weight": (6,), "norm.bias": (6,), "up.weight": (1, 6), "up.bias": (1,), "down.weight": (6, 1)}
    shapes = {"embed.weight": (6, 4), "embed.bias": (6,), "head.weight": (5, 6)}
    shapes |= {f"blocks.{index}.{name}": shape for index in range(2) for name, shape in block.items()}
    return {name: rng.tensor(*shape) for name, shape in shapes.items()}


@check("bytes", points=6, needs="test_bytes_in_one_process")
def test_bytes_of_each_rank(attempt, reference, rng):
    """each of two ranks holds its own shards: 4 bytes a parameter, 4 a gradient, 8 of moments"""
    start, ranks = {name: weight.float() for name, weight in weights(reference, rng).items()}, attempt.ranks(2)
    shapes = [tuple(weight.shape) for weight in start.values()]
    for wrap in ("none", "blocks"):
        found = ranks.run("rank_bytes", SIZES, start, settings(rng, wrap), [(rng.tensor(2, 6), torch.tensor([0, 2]))])
        for rank, got in enumerate(found):
            n = 4 * (
                reference.local_numel(shapes, 2, rank) if wrap == "blocks" else reference.local_numel(shapes, 1, 0)
            )
            for held, now in zip(((n, 0, 0), (n, n, 0), (n, n, 2 * n)), got, strict=True):
                assert_equal(now, dict(zip(STATES, (*held, sum(held)), strict=True)), label=f"{wrap!r}, rank {rank}")


@check("profile", points=10)
def test_profile_of_each_configuration(attempt, reference, rng):
    """the most there is in each pass, on every rank of every configuration, wherever the largest block stands"""
    small, large = [(8, 2)], [(8, 20)]
    uneven = [[large if index == place else small for index in range(3)] for place in range(3)]
    for wrap, reshard in SPREADS:
        cases = [([], blocks, 4, 1) for blocks in uneven]
        for blocks in (4, 1, 0):
            units, n_ranks = random_units(rng, blocks), int(rng.integers(2, 9))
            cases += [(*units, n_ranks, 0), (*units, n_ranks, n_ranks - 1), (*units, 1, 0)]
        mine, ours = (spread(module, wrap, reshard) for module in (attempt, reference))
        for case in cases:
            got, want = attempt.memory_profile(*case, mine), reference.memory_profile(*case, ours)
            assert_equal(got, want, label=f"wrap={wrap!r}, reshard_after_forward={reshard}")
    peaks = [attempt.memory_profile(small, [large] * 6, 8, 0, spread(attempt, *one))["peak"] for one in SPREADS]
    assert_equal(peaks, [15616, 9272, 9272, 6072, 3272])


@check("profile", points=4, needs="test_profile_of_each_configuration")
def test_peaks_from_outside(attempt, reference):
    """one rank of eight, its memory read from outside: what memory_profile says, and up to 2 MiB of buffers"""
    sizes = (8, 128, 512, 8, 8)
    ours, units = attempt.confined(), reference.run("shapes", sizes)
    profiles = [ours.memory_profile(*units, 8, 0, spread(ours, *one)) for one in SPREADS]
    assert_equal(profiles, [reference.memory_profile(*units, 8, 0, spread(reference, *one)) for one in SPREADS])
    for wrap in ("none", "blocks"):  # the first use of anything reads it in
        ours.run("two_steps", *ours.run("spread_out", (2, 2, 2, 1, 2), {"wrap": wrap}, 8))
    for (wrap, reshard), profile in zip(SPREADS, profiles, strict=True):
        told = float(profile["peak"] - profile["rest"] / 4) / MIB  # parameters are there before
        made = ours.run("spread_out", sizes, {"wrap": wrap, "reshard_after_forward": reshard}, 8)
        got = peak_bytes(ours.run, "two_steps", *made) / MIB
        most = told + 2 if wrap != "none" else 2 * told + 2  # whole gradients may be joined to be reduced
        asked = f"{told:.1f} MiB, and not above {most:.1f}"
        name = f"wrap={wrap!r}, reshard_after_forward={reshard}: two steps need {got:.1f} MiB"
        assert_true(told - 0.3 < got < most, name, expected=asked, got=f"{got:.1f} MiB")


@check("collectives", points=4)
def test_counts_of_each_configuration(attempt, reference, rng):
    """how many collectives a step needs"""
    for wrap, reshard in SPREADS:
        for blocks, micro_batches in ((5, 1), (3, 4), (0, 2)):
            root, inner = random_units(rng, blocks)
            inner[1:1] = [[]]  # a block without parameters
            for own in (root, []):
                args = own, inner, int(rng.integers(2, 9))
                got = attempt.collectives(*args, spread(attempt, wrap, reshard), micro_batches)
                want = reference.collectives(*args, spread(reference, wrap, reshard), micro_batches)
                for name in ("all_gather", "reduce_scatter", "all_reduce"):
                    assert_equal(got[name], want[name], label=f"{name} of wrap={wrap!r}")
        for bad in (0, -1):
            assert_raises(ValueError, attempt.collectives, [(4,)], [], 2, spread(attempt, wrap, reshard), bad)


@check("collectives", points=4)
def test_bytes_around_the_ring(attempt, reference, rng):
    """what each rank sends in a step: 2, 2 and 3 times the parameters, and what micro-batches add"""
    for wrap, reshard in SPREADS:
        for micro_batches in (1, 3):
            root, inner = random_units(rng, 4)
            args = root, inner, int(rng.integers(1, 9))
            got = attempt.collectives(*args, spread(attempt, wrap, reshard), micro_batches)
            want = reference.collectives(*args, spread(reference, wrap, reshard), micro_batches)
            assert_close(got["bytes"], want["bytes"], **EXACT)
    got = attempt.collectives([], [[(8, 8)]] * 5, 4, spread(attempt))
    assert_close(got, {"all_gather": 10, "reduce_scatter": 5, "all_reduce": 0, "bytes": 2880.0}, **EXACT)


@check("accumulate", points=3)
def test_micro_batches_in_one_process(attempt, reference, rng):
    """several micro-batches make one step on their mean"""
    start, config = weights(reference, rng), settings(rng)
    steps = [rows(rng, 6), rows(rng, 4), rows(rng, 3)]
    want = reference.run("alone", SIZES, start, config, steps)
    own = [split(batch, 1, count)[0] for batch, count in zip(steps, (3, 2, 1), strict=True)]
    assert_trained(attempt.run("stepped", SIZES, start, config, own), want)


@check("accumulate", points=3)
def test_clipping_in_one_process(attempt, reference, rng):
    """the whole gradient is scaled to the norm where it is above it; the norm from before is returned"""
    start, config = weights(reference, rng), settings(rng)
    steps = [rows(rng, 4), rows(rng, 4)]
    for max_norm in (0.1, 0.7, 1e4, 0.0):
        want = reference.run("alone", SIZES, start, config, steps, max_norm)
        got = attempt.run("stepped", SIZES, start, config, [split(batch, 1, 2)[0] for batch in steps], max_norm)
        assert_trained(got, want, f"max_norm={max_norm}: ")


@check("accumulate", points=4, needs="test_ranks_train_like_one_process")
def test_ranks_accumulate_and_clip(attempt, reference, rng):
    """three ranks reduce once a step, and clip by the norm of the whole gradient"""
    start, ranks = weights(reference, rng), attempt.ranks(3)
    size = sum(weight.numel() for weight in start.values())
    for wrap in ("none", "blocks"):
        config, steps = settings(rng, wrap), [rows(rng, 18), rows(rng, 18)]
        want = reference.run("alone", SIZES, start, config, steps, 0.3)
        own = [[part[rank] for part in (split(batch, 3, 3) for batch in steps)] for rank in range(3)]
        found = ranks.run_each("rank_trained", [(SIZES, start, config, own[rank], 0.3, True) for rank in range(3)])
        for rank, (*got, _, counts) in enumerate(found):
            assert_trained(got, want, f"{wrap!r}, rank {rank}: ")
            if wrap == "blocks":
                assert_equal(counts["scatter"], 4, label="reduce-scatters of a step of three micro-batches")
            else:
                name = "a step of three micro-batches all-reduces more numbers than there are gradients"
                assert_true(counts["reduced"] < 2 * size, name, expected=f"about {size}", got=counts["reduced"])
