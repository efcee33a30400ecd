"""The hidden checks. All sizes differ, tokens of a batch differ, and upstream gradients are random.

Rounding never decides between two logits: where less than float64 is asked for, they are multiples of a step.
"""

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
EXACT = {"rtol": 1e-9, "atol": 1e-11}
# bfloat16 keeps less than three digits.
TOLERANCES = {F64: EXACT, F32: {"rtol": 1e-5, "atol": 1e-5}, torch.bfloat16: {"rtol": 0.04, "atol": 0.04}}

SIZES = {"dim": 7, "hidden": 3, "n_experts": 5, "k": 2}
BLOCK = {"dim": 6, "hidden": 4, "n_experts": 5, "k": 2}
COSTLY = {"dim": 64, "hidden": 128, "n_experts": 32, "k": 1}
MANY_EXPERTS = {"dim": 4, "hidden": 2, "n_experts": 4096, "k": 1}
# (N, D, E, k)
ROUTINGS = ((9, 7, 5, 2), (1, 3, 4, 3), (6, 4, 6, 1), (5, 2, 3, 3), (4, 5, 1, 1))
NAMES = ("weights", "indices", "probs")
PARAMETERS = ("x", "layer.parameters")


def strided(tensor):
    """The same values, not contiguous."""
    return tensor.transpose(0, -1).contiguous().transpose(0, -1)


def tokens(rng, n, dim, n_experts):
    """x [N, D] and w_router [E, D]."""
    return rng.tensor(n, dim, dtype=F64), rng.tensor(n_experts, dim, dtype=F64)


def distinct(rng, n, n_experts, k):
    """Indices [N, k] as a router gives them; the higher experts are chosen more often."""
    scores = torch.from_numpy(rng.random((n, n_experts))) * torch.arange(1, n_experts + 1)
    return scores.argsort(dim=1, descending=True)[:, :k].contiguous()


def moe_weights(rng, *, dim, hidden, n_experts, dtype=F64, **_options):
    """Random weights of a MoE."""
    shapes = {"w_router": (n_experts, dim), "w_in": (n_experts, 2 * hidden, dim), "w_out": (n_experts, dim, hidden)}
    return {name: rng.tensor(*shape, dtype=dtype) / shape[-1] ** 0.5 for name, shape in shapes.items()}


def stepped(rng, shape, weights):
    """Tokens (*shape, D) whose logits are multiples of ⅛, all different; the router becomes a part of the identity."""
    w_router = weights["w_router"]
    n_experts, dim = w_router.shape
    w_router.copy_(torch.eye(n_experts, dim))
    x = rng.tensor(*shape, dim)
    x[..., :n_experts] = (torch.from_numpy(rng.random((*shape, n_experts))).argsort(dim=-1) - n_experts // 2) / 8
    return x.to(w_router.dtype)


def crowd(rng, weights, shape):
    """Tokens (*shape, D) that all like the same expert best."""
    liked = weights["w_router"][0]
    return 20 * liked / liked.norm() + 0.1 * rng.tensor(*shape, len(liked), dtype=F64)


def both(attempt, reference, sizes, weights, name="MoE"):
    """The same layer on both sides."""
    return [side.run("loaded", name, sizes, weights) for side in (attempt, reference)]


def assert_layer(layers, x, *args, method="forward", label="y"):
    """The layers' method gives the same, and leaves x as it was."""
    mine, right = (getattr(layer, method) for layer in layers)
    got, want, close = assert_inputs_unchanged(mine, x, *args), right(x, *args), TOLERANCES[x.dtype]
    if isinstance(want, tuple):  # the fraction that was dropped may be counted in float32
        assert_close(got, want, label=label, rtol=max(1e-6, close["rtol"]), atol=max(1e-6, close["atol"]))
        got, want, label = got[0], want[0], "y"
    assert_close(got, want, label=label, **close)


def assert_gradients(functions, inputs, rng, wrt, output=0):
    """One backward pass a side, with the same random upstream: values and gradients agree."""
    pairs = zip(functions, inputs, strict=True)
    results = [gradients(f, kwargs, wrt=wrt, upstream=deepcopy(rng), output=output) for f, kwargs in pairs]
    (got, grads), (want, wanted) = results
    assert_close(got, want, label="value", **TOLERANCES[want.dtype])
    for name in wrt:
        assert_close(grads[name], wanted[name], label=f"gradient of {name}", **TOLERANCES[want.dtype])


def layer_gradients(attempt, reference, rng, method, sizes, x, weights=None, wrt=PARAMETERS, **options):
    """The method's value and its gradients agree."""
    layers = both(attempt, reference, sizes, weights or moe_weights(rng, **sizes))
    inputs = [{"layer": layer, "x": x} | options for layer in layers]
    functions = [side.run("calling", method) for side in (attempt, reference)]
    assert_gradients(functions, inputs, rng, wrt)


def assert_routed(attempt, reference, *args, only=NAMES, within=None, **options):
    """What route returns, by name; x and w_router stay as they were."""
    got, want = assert_inputs_unchanged(attempt.route, *args, **options), reference.route(*args, **options)
    assert_true(isinstance(got, tuple) and len(got) == 3, "it returns a tuple of three", expected=NAMES, got=got)
    for name, mine, right in zip(NAMES, got, want, strict=True):
        if name in only:
            assert_close(mine, right, label=name, **(within or TOLERANCES[want[2].dtype]))


@check("route", points=6)
def test_route_chooses_the_highest_logits(attempt, reference, rng):
    """indices [N, k] are those of the k highest logits, the highest first, of int64"""
    for n, dim, n_experts, k in ROUTINGS:
        x, w_router = tokens(rng, n, dim, n_experts)
        for args in ((x, w_router), (strided(x), strided(w_router))):
            assert_routed(attempt, reference, *args, k, only=["indices"])


@check("route", points=7)
def test_weights_are_a_softmax_over_the_chosen(attempt, reference, rng):
    """weights [N, k] are the softmax over the k chosen logits, or as they are in probs, the softmax over all [N, E]"""
    for n, dim, n_experts, k in ROUTINGS:
        for renormalise in (True, False):
            assert_routed(attempt, reference, *tokens(rng, n, dim, n_experts), k, renormalise=renormalise)


@check("route", points=3)
def test_equal_logits_go_to_the_lower_index(attempt, reference, rng):
    """of equal logits the lower index comes first, in a row of zeros as well as among a few"""
    for n, dim, n_experts, k in ((6, 3, 9, 2), (3, 4, 40, 3), (4, 2, 16, 16)):
        for scale, dtype in ((1, F32), (2**13, F64)):
            x, w_router = (torch.from_numpy(rng.integers(-1, 2, size=(rows, dim))).to(dtype) for rows in (n, n_experts))
            x[0] = 0
            assert_routed(attempt, reference, scale * x, w_router, k)


@check("route", points=3)
def test_route_at_large_logits(attempt, reference, rng):
    """logits of ±1e4, whose probabilities are 0 or 1, and tiny differences leave choice and weights exact"""
    for scale, dtype in ((1e4, F64), (1e4, F32), (1e-6, F64), (1e-12, F64)):
        w_router, steps = scale * torch.eye(6, dtype=dtype), torch.from_numpy(rng.random((8, 6))).argsort(dim=-1)
        for renormalise in (True, False):
            assert_routed(attempt, reference, (steps - 2).to(dtype), w_router, 4, renormalise=renormalise)


@check("route", points=3)
def test_router_learns_from_weights_and_probs(attempt, reference, rng):
    """weights and probs carry a gradient to x and w_router; for k = 1 the weights do without renormalising"""
    for k, renormalise, output in ((3, True, 0), (2, False, 0), (1, False, 0), (2, True, 2)):
        x, w_router = tokens(rng, 6, 4, 5)
        kwargs = {"x": x, "w_router": w_router, "k": k, "renormalise": renormalise}
        assert_gradients((attempt.route, reference.route), [kwargs] * 2, rng, ("x", "w_router"), output)


@check("route", points=2)
def test_route_edges(attempt, reference, rng):
    """half precision is routed in float32; no tokens give empty results; k below 1 or above E raises ValueError"""
    for dtype in (torch.bfloat16, torch.float16):
        # logits of 512 to 1024 and a fraction: half precision does not hold both, float32 is exact to 6e-5
        x = torch.stack([torch.from_numpy(rng.integers(16, 32, size=8)) * 32.0, torch.full((8,), 0.0625)], dim=1)
        w_router = torch.stack([torch.ones(6), torch.from_numpy(rng.permutation(6))], dim=1)
        assert_routed(attempt, reference, x.to(dtype), w_router.to(dtype), 3, within={"rtol": 1.5e-4, "atol": 0})
    x, w_router = tokens(rng, 4, 3, 5)
    assert_routed(attempt, reference, x[:0], w_router, 2)
    for k in (0, -1, 6):
        assert_raises(ValueError, attempt.route, x, w_router, k)


@check("moe", points=8)
def test_moe_is_the_weighted_sum_of_its_experts(attempt, reference, rng):
    """y is the sum of weight · expert(x) over each token's k experts, for a batch of different sequences"""
    for k, shape in ((2, (2, 6)), (3, (3, 4))):
        layers = both(attempt, reference, SIZES | {"k": k}, moe_weights(rng, **SIZES))
        assert_layer(layers, rng.tensor(*shape, 7, dtype=F64))


@check("moe", points=4)
def test_moe_at_all_sizes(attempt, reference, rng):
    """one token or none, k = 1 and k = E, a single expert, and no renormalising work as well"""
    for n_experts, k, renormalise in ((5, 1, False), (5, 1, True), (4, 4, True), (1, 1, False)):
        sizes = SIZES | {"n_experts": n_experts, "k": k, "renormalise": renormalise}
        layers = both(attempt, reference, sizes, moe_weights(rng, **sizes))
        for shape in ((3, 2), (1, 1), (2, 0)):
            assert_layer(layers, rng.tensor(*shape, 7, dtype=F64))


@check("moe", points=3, needs="test_moe_is_the_weighted_sum_of_its_experts")
def test_moe_drops_nobody(attempt, reference, rng):
    """where all tokens crowd on the same experts, each of them is still worked on, in train and in eval mode"""
    sizes = SIZES | {"n_experts": 32}
    layers = both(attempt, reference, sizes, weights := moe_weights(rng, **sizes))
    for training in (True, False):
        layers[0].train(training)
        assert_layer(layers, crowd(rng, weights, (2, 60)), label=f"y, training={training},")


@check("moe", points=4, needs="test_moe_is_the_weighted_sum_of_its_experts")
def test_moe_gradients(attempt, reference, rng):
    """x, the router and all experts get their gradient; an expert without tokens gets 0"""
    for k, renormalise, shape in ((2, True, (2, 6)), (3, False, (1, 4)), (1, False, (3, 1))):
        sizes = SIZES | {"k": k, "renormalise": renormalise}
        layer_gradients(attempt, reference, rng, "forward", sizes, rng.tensor(*shape, 7, dtype=F64))


@check("moe", points=2, needs="test_moe_is_the_weighted_sum_of_its_experts")
def test_moe_in_any_dtype_and_layout(attempt, reference, rng):
    """y has the dtype of x, which need not be contiguous; after new weights, or new tokens in the same x, it is new"""
    for dtype in (F32, torch.bfloat16, F64):
        weights = moe_weights(rng, **SIZES, dtype=dtype)
        x = strided(stepped(rng, (2, 6), weights))
        assert_layer(both(attempt, reference, SIZES, weights), x, label="y of an x that is not contiguous")
    args = SIZES, (weights, moe_weights(rng, **SIZES)), x
    got, want = (side.run("reused", *args) for side in (attempt, reference))
    assert_close(got, want, label="(y, y after new weights, y after x changed in place)", **EXACT)


@check("moe", points=3, needs="test_moe_is_the_weighted_sum_of_its_experts")
def test_experts_work_on_their_tokens_only(attempt, reference, rng):
    """an expert whose weights are NaN spoils the tokens that chose it and no others"""
    for broken in ("w_in", "w_out"):
        weights = moe_weights(rng, **SIZES)
        weights[broken][int(rng.integers(5))] = torch.nan
        assert_layer(both(attempt, reference, SIZES, weights), rng.tensor(2, 8, 7, dtype=F64))


def assert_cheap(attempt, reference, method, sizes, weights, cases, limit, advice):
    """The method gives the same in the first case, and takes `limit` times the reference's CPU time at most."""
    sides = (attempt, reference.confined())
    functions = [getattr(side.run("on_one_thread", sizes, weights), method) for side in sides]
    assert_close(functions[0](cases[0]), functions[1](cases[0]), label="y", **TOLERANCES[cases[0].dtype])
    mine, right = (min(cpu_seconds(keep(function), x) for x in cases[1:]) for function in functions)
    assert_true(mine <= limit * right, f"too slow: {advice}", expected=f"≤ {limit}×", got=f"{mine / right:.1f}×")


@check("moe", points=4, needs="test_moe_is_the_weighted_sum_of_its_experts")
def test_moe_costs_k_experts_a_token(attempt, reference, rng):
    """with 2048 tokens, 32 experts and k = 1 it takes no more than 3 times the CPU time of a dispatch by expert"""
    weights = moe_weights(rng, **COSTLY, dtype=F32)
    cases = [stepped(rng, (4, 512), weights) for _ in range(3)]
    assert_cheap(attempt, reference, "forward", COSTLY, weights, cases, 3, "one batch of rows for each expert")


def random_weights(rng, handle):
    """Random weights of the shapes that this module has; norms are around 1."""
    weights = handle.state_dict()
    return {name: 0.7 * rng.tensor(*old.shape, dtype=F64) + ("norm" in name) for name, old in weights.items()}


@check("block", points=5)
def test_block_adds_attention_then_the_moe(attempt, reference, rng):
    """both residual branches are there, each on its own norm; gradients reach x and every parameter"""
    weights = random_weights(rng, reference.Block(**BLOCK))
    blocks = both(attempt, reference, BLOCK, weights, "Block")
    functions = [side.run("attending") for side in (attempt, reference)]
    for shape, window in (((2, 5), 3), ((3, 1), 1), ((1, 7), 7)):
        x, rotation = rng.tensor(*shape, 6, dtype=F64), rng.tensor(shape[1], 6, 6, dtype=F64)
        mask = torch.ones(shape[1], shape[1], dtype=torch.bool).tril().triu(1 - window)
        inputs = [{"block": block, "x": x, "mask": mask, "rotation": rotation} for block in blocks]
        assert_gradients(functions, inputs, rng, ("x", "block.parameters"))


@check("block", points=7)
def test_chunks_give_the_logits_of_the_whole(attempt, reference, rng):
    """whole, in chunks or token by token, alone or in any batch, in train and eval mode: the logits are the same"""
    args = 11, 2, BLOCK, random_weights(rng, reference.run("model", 11, 2, BLOCK, None))
    mine, right = (side.run("model", *args) for side in (attempt, reference))
    ids = torch.from_numpy(rng.integers(0, 11, size=(3, 9)))
    cases = ((4, [9], [0, 1, 2]), (3, [1] * 4 + [5], [2, 0]), (4, [4, 1, 4], [2]), (1, [2, 7], [1] * 5))
    for training, (window, sizes, rows) in zip((True, False, False, True), cases, strict=True):
        want = reference.run("logits_in_chunks", right, ids, [9], window)[rows]
        mine.train(training)
        got = attempt.run("logits_in_chunks", mine, ids[rows], sizes, window)
        assert_close(got, want, label=f"logits, {window=}, chunks of {sizes}, {training=},", **EXACT)


def routing(rng, n, n_experts, k, dtype=F64):
    """(probs [N, E], indices [N, k]); the indices are not those of the highest probabilities."""
    return rng.tensor(n, n_experts, dtype=dtype).softmax(dim=-1), distinct(rng, n, n_experts, k)


@check("balance", points=5)
def test_balancing_loss_is_one_when_balanced(attempt, reference, rng):
    """E·Σ f·P with f and P summing to 1 over the experts, for every k; experts that nobody chose count too"""
    for n, n_experts, k, dtype in ((9, 5, 1, F64), (7, 5, 2, F64), (6, 4, 4, F64), (1, 6, 3, F64), (8, 5, 2, F32)):
        probs, indices = routing(rng, n, n_experts, k, dtype)
        for args in ((strided(probs), strided(indices)), (probs, torch.zeros_like(indices))):
            got = assert_inputs_unchanged(attempt.load_balancing_loss, *args, n_experts)
            assert_close(got, reference.load_balancing_loss(*args, n_experts), **TOLERANCES[probs.dtype])


@check("balance", points=5)
def test_padding_does_not_count(attempt, reference, rng):
    """tokens left out change neither loss nor gradient, whatever they hold; without any the loss is 0; f is constant"""
    for mask in (None, torch.arange(8) % 3 > 0, torch.arange(8) > 6, torch.arange(8) > 8):
        probs, indices = routing(rng, 8, 5, 2)
        if mask is not None:
            probs[~mask], indices[~mask] = torch.nan, -1
        kwargs = {"probs": probs, "indices": indices, "n_experts": 5, "mask": mask}
        assert_inputs_unchanged(attempt.load_balancing_loss, **kwargs)
        assert_gradients((attempt.load_balancing_loss, reference.load_balancing_loss), [kwargs] * 2, rng, ["probs"])
    none = probs[:0], indices[:0], 5
    assert_close(attempt.load_balancing_loss(*none), reference.load_balancing_loss(*none), **EXACT)


@check("balance", points=2, needs="test_balancing_loss_is_one_when_balanced")
def test_layers_are_averaged_not_pooled(attempt, reference, rng):
    """the model's loss is the mean of its layers' losses, so that opposite imbalances do not cancel"""
    for layers, mask in ((3, None), (2, torch.arange(7) % 3 > 0), (1, None)):
        routings = [routing(rng, 7, 5, 2) for _ in range(layers)]
        routings[-1][0].requires_grad_()
        got = assert_inputs_unchanged(attempt.model_balancing_loss, routings, 5, mask)
        assert_close(got, reference.model_balancing_loss(routings, 5, mask), **EXACT)
        assert_true(got.requires_grad, "no gradient reaches the last layer's probs", expected=True, got=False)


@check("balance", points=4)
def test_z_loss_is_the_mean_square_of_logsumexp(attempt, reference, rng):
    """the z-loss and its gradient are right, up to logits of 1e4, over the tokens that count; without any it is 0"""
    some, nobody = torch.arange(7) % 3 > 0, torch.arange(7) > 7
    for scale, mask, dtype in ((1, None, F32), (1e4, None, F64), (2, some, F64), (1, nobody, F64)):
        logits = scale * rng.tensor(7, 5, dtype=dtype)
        if mask is not None:
            logits[~mask] = torch.nan
        kwargs = {"logits": logits, "mask": mask}
        assert_inputs_unchanged(attempt.router_z_loss, **kwargs)
        assert_gradients((attempt.router_z_loss, reference.router_z_loss), [kwargs] * 2, rng, ["logits"])
    assert_close(attempt.router_z_loss(logits[:0]), reference.router_z_loss(logits[:0]), **EXACT)


@check("capacity", points=4)
def test_earlier_tokens_find_room(attempt, reference, rng):
    """an expert takes ceil(capacity_factor·N·k/E) assignments, those of the earliest tokens, in whatever slot"""
    # factors that a float holds exactly
    cases = ((11, 5, 2, 1.0), (9, 4, 3, 1.25), (13, 6, 2, 0.5), (8, 3, 1, 0.75), (7, 5, 4, 1), (10, 4, 2, 1.125))
    for n, n_experts, k, factor in cases:
        chosen = strided(distinct(rng, n, n_experts, k))
        got = assert_inputs_unchanged(attempt.keep_within_capacity, chosen, n_experts, factor)
        assert_equal(got, reference.keep_within_capacity(chosen, n_experts, factor), label=f"keep at {factor}")


@check("capacity", points=2)
def test_capacity_edges(attempt, reference, rng):
    """a tiny factor leaves room for one, a large one for all; no tokens work; a factor of 0 or less is a ValueError"""
    indices, layer = distinct(rng, 9, 4, 2), attempt.MoE(**SIZES)
    for chosen, factor in ((indices, 2.0**-20), (indices, 8.0), (indices, 4), (indices[:0], 1.0), (indices[:1], 0.5)):
        got = attempt.keep_within_capacity(chosen, 4, factor)
        assert_equal(got, reference.keep_within_capacity(chosen, 4, factor), label=f"keep at {factor}")
    for factor, tokens_of in ((0, 9), (-1.0, 9), (0.0, 0)):
        assert_raises(ValueError, attempt.keep_within_capacity, indices[:tokens_of], 4, factor)
        assert_raises(ValueError, layer.limited, rng.tensor(1, tokens_of, 7), factor)


@check("capacity", points=6, needs="test_earlier_tokens_find_room")
def test_dropped_assignments_add_nothing(attempt, reference, rng):
    """y lacks what was dropped and is 0 where all was, other weights stay as they are; dropped is the fraction"""
    for k, factor in ((2, 0.5), (3, 1.25), (1, 0.25), (2, 8)):
        sizes = SIZES | {"k": k, "renormalise": k < 3}
        weights = moe_weights(rng, **sizes)
        layers = both(attempt, reference, sizes, weights)
        for x in (rng.tensor(3, 4, 7, dtype=F64), crowd(rng, weights, (2, 7)), rng.tensor(2, 0, 7, dtype=F64)):
            assert_layer(layers, x, factor, method="limited", label="(y, dropped)")
    weights["w_in"][0] = torch.nan
    x = crowd(rng, weights, (2, 7))
    layer_gradients(attempt, reference, rng, "limited", SIZES, x, weights, wrt=["x"], capacity_factor=1.0)
    layer_gradients(attempt, reference, rng, "limited", SIZES, rng.tensor(2, 6, 7, dtype=F64), capacity_factor=0.5)


@check("grouped", points=3)
def test_assignments_are_sorted_by_expert(attempt, reference, rng):
    """order puts the assignments of each expert side by side, earlier ones first; offsets says where each begins"""
    for n, n_experts, k in ((9, 5, 2), (7, 9, 3), (40, 3, 3), (5, 1, 1), (1, 6, 2), (0, 4, 2)):
        chosen = strided(distinct(rng, n, n_experts, k))
        got = assert_inputs_unchanged(attempt.sort_by_expert, chosen, n_experts)
        assert_equal(got, reference.sort_by_expert(chosen, n_experts), label="(order, offsets)")


@check("grouped", points=3)
def test_grouped_is_the_same_layer(attempt, reference, rng):
    """grouped gives what forward should at all sizes and dtypes, gradients and experts of NaN included"""
    for k, renormalise in ((2, True), (3, False)):
        sizes = SIZES | {"k": k, "renormalise": renormalise}
        layer_gradients(attempt, reference, rng, "grouped", sizes, rng.tensor(2, 5, 7, dtype=F64))
    for n, dtype in ((1, F64), (0, F64), (6, F32), (6, torch.bfloat16), (6, F64)):
        weights = moe_weights(rng, **SIZES, dtype=dtype)
        x = strided(stepped(rng, (2, n), weights))
        if dtype == F64:
            weights["w_out"][0] = torch.nan
        assert_layer(both(attempt, reference, SIZES, weights), x, method="grouped")


@check("grouped", points=2, needs="test_grouped_is_the_same_layer")
def test_experts_without_tokens_cost_nothing(attempt, reference, rng):
    """with 4096 experts and 8 tokens, grouped takes no more than 5 times the CPU time of the reference"""
    weights = moe_weights(rng, **MANY_EXPERTS)
    cases = [rng.tensor(2, 4, 4, dtype=F64) for _ in range(3)]
    assert_cheap(attempt, reference, "grouped", MANY_EXPERTS, weights, cases, 5, "leave out experts without tokens")
