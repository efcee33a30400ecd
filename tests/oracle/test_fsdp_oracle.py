"""The FSDP kata's reference against real gloo ranks, CommDebugMode, FSDPMemTracker and the published figures."""

import importlib
import os
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F  # noqa: N812 — its usual name
from references import reference

pytest.importorskip("torch.distributed.fsdp")
fake_pg = pytest.importorskip("torch.testing._internal.distributed.fake_pg")
pytest.importorskip("torch.distributed._tools.fsdp2_mem_tracker")

from torch.distributed._tools.fsdp2_mem_tracker import FSDPMemTracker  # noqa: E402 — skipped where it is missing
from torch.distributed._tools.mem_tracker import MemTracker  # noqa: E402 — likewise
from torch.distributed.device_mesh import init_device_mesh  # noqa: E402 — likewise
from torch.distributed.fsdp import fully_shard  # noqa: E402 — likewise
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor  # noqa: E402 — likewise
from torch.distributed.tensor.debug import CommDebugMode  # noqa: E402 — likewise
from torch.multiprocessing import spawn  # noqa: E402 — likewise

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.filterwarnings("ignore"),  # what watches modules warns of inputs without gradients
]

SIZES = (6, 5, 7, 3, 3)  # inputs, dim, hidden, blocks, classes
SPREADS = [("none", True), ("root", True), ("blocks", False), ("blocks", True)]


@pytest.fixture(scope="module")
def fsdp() -> ModuleType:
    return reference("fsdp")


def model_of(sizes: tuple[int, ...], seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return importlib.import_module("sharded_blocks").BlockModel(*sizes)


def units_of(model: Any) -> tuple[list[tuple[int, ...]], list[list[tuple[int, ...]]]]:
    root = [tuple(weight.shape) for name, weight in model.named_parameters() if not name.startswith("blocks")]
    return root, [[tuple(weight.shape) for weight in block.parameters()] for block in model.blocks]


@pytest.fixture(params=[(4, 0), (4, 3), (8, 1)], ids=str)
def mesh(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A mesh of ranks that are not there."""
    count, rank = request.param
    dist.init_process_group("fake", rank=rank, world_size=count, store=fake_pg.FakeStore())
    yield init_device_mesh("cpu", (count,))
    dist.destroy_process_group()


def test_zero_is_the_papers_table(fsdp):
    """Rajbhandari et al. 2020, table 1 and figure 1: GB of model states on each device, as printed."""
    printed = {
        (7.5e9, 4): (120, 52.5, 41.3, 30.0),
        (7.5e9, 64): (120, 31.4, 16.6, 1.88),
        (7.5e9, 1024): (120, 30.1, 15.1, 0.12),
        (128e9, 64): (2048, 536, 284, 32.0),
        (1e12, 1024): (16000, 4011, 2013, 15.6),
    }
    for (psi, ranks), totals in printed.items():
        for stage, total in enumerate(totals):
            got = fsdp.zero_memory(int(psi), ranks, stage)["total"] / 1e9
            assert got == pytest.approx(total, rel=5e-3, abs=5e-3)


def test_rows_are_those_of_a_dtensor(fsdp, mesh):
    for rows in (1, 2, 3, 4, 5, 7, 8, 9, 10, 16, 17, 31):
        local = distribute_tensor(torch.zeros(rows, 3), mesh, [Shard(0)]).to_local()
        assert len(local) == fsdp.shard_rows(rows, mesh.size())[mesh.get_rank()]
        assert local.numel() == fsdp.local_numel([(rows, 3)], mesh.size(), mesh.get_rank())


@pytest.mark.parametrize(("wrap", "reshard"), SPREADS)
def test_collectives_are_those_that_a_pass_makes(fsdp, mesh, wrap, reshard):
    config, model = fsdp.ShardConfig(wrap, reshard), model_of(SIZES)
    units = units_of(model)
    model, _ = fsdp.build(model, mesh, config)
    seen = CommDebugMode()
    with seen:
        model(torch.ones(2, SIZES[0])).sum().backward()
    counts = {"gather": 0, "scatter": 0}
    for name, count in seen.get_comm_counts().items():
        for kind in counts:
            counts[kind] += count if kind in str(name) else 0
    want = fsdp.collectives(*units, mesh.size(), config)
    assert (counts["gather"], counts["scatter"]) == (want["all_gather"], want["reduce_scatter"])


def test_volume_is_the_papers(fsdp):
    """Stages 0 to 2 move 2 Ψ, stage 3 moves 3 Ψ, for large N: section 7 of the paper."""
    blocks, ranks = [[(64, 64)]] * 4, 10**6
    parameters = 4 * 64 * 64
    volumes = [fsdp.collectives([], blocks, ranks, fsdp.ShardConfig(*one))["bytes"] / 4 / parameters for one in SPREADS]
    assert volumes == pytest.approx([2, 2, 2, 3], rel=1e-5)


@pytest.mark.parametrize(("wrap", "reshard"), SPREADS)
def test_bytes_and_rest_are_the_trackers(fsdp, wrap, reshard):
    """Even shapes, so no padding: parameters, gradients and moments as FSDPMemTracker counts them before the step."""
    dist.init_process_group("fake", rank=0, world_size=8, store=fake_pg.FakeStore())
    mesh = init_device_mesh("cpu", (8,))
    try:
        snapshot, peak, held, told = tracked(fsdp, mesh, fsdp.ShardConfig(wrap, reshard))
    finally:
        dist.destroy_process_group()
    assert (held["params"], held["grads"], held["total"]) == (snapshot["param"], snapshot["grad"], told["rest"])
    assert held["optim"] == pytest.approx(snapshot["optim"], abs=1000)  # it counts the step counters
    assert told["peak"] <= peak <= 1.5 * told["peak"] + 100_000


def tracked(fsdp: ModuleType, mesh: Any, config: Any) -> tuple[dict[str, int], int, dict[str, int], dict[str, int]]:
    """What the tracker saw between backward pass and step, its peak, and what the reference says of both."""
    sizes = (8, 128, 512, 6, 8)
    model = model_of(sizes)
    units = units_of(model)
    model, optimizer = fsdp.build(model, mesh, config)
    x, y = torch.ones(4, 8), torch.zeros(4, dtype=torch.int64)
    tracker = MemTracker() if config.wrap == "none" else FSDPMemTracker(model, optimizer)
    if config.wrap == "none":
        tracker.track_external(model, optimizer)
    else:
        tracker.track_inputs((x, y))
    with tracker:
        for step in range(2):
            F.cross_entropy(model(x), y).backward()
            if step:
                snapshot = tracker.get_tracker_snapshot("current")[torch.device("cpu")]
                held = fsdp.local_state_bytes(model, optimizer)
            optimizer.step()
            if not step:
                optimizer.zero_grad()
                tracker.reset_mod_stats()
    kinds = {"param": "PARAM", "grad": "GRAD", "optim": "OPT"}
    found = {kind: sum(n for key, n in snapshot.items() if name in str(key)) for kind, name in kinds.items()}
    peak = tracker.get_tracker_snapshot("peak")[torch.device("cpu")]["Total"]
    return found, peak, held, fsdp.memory_profile(*units, 8, 0, config)


@pytest.mark.parametrize("ranks", [2, 3])
def test_real_ranks_train_like_one_process(ranks, tmp_path):
    spawn(train_on_a_rank, (ranks, str(tmp_path / "rendezvous")), nprocs=ranks)


def train_on_a_rank(rank: int, ranks: int, meeting_place: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting_place}", rank=rank, world_size=ranks)
    fsdp = reference("fsdp")
    mesh = init_device_mesh("cpu", (ranks,))
    for wrap, reshard in SPREADS:
        config = fsdp.ShardConfig(wrap, reshard)
        own, whole = model_of(SIZES, seed=rank), model_of(SIZES, seed=0)
        own, optimizer = fsdp.build(own, mesh, config)
        plain = torch.optim.AdamW(whole.parameters(), lr=config.lr, weight_decay=config.weight_decay)
        for step in range(4):
            compare_a_step(fsdp, (rank, ranks), (own, optimizer), (whole, plain), step)
            assert fsdp.parity_gap(own, whole) < 1e-5
        compare_shards(fsdp, (rank, ranks), own, whole)
        with torch.no_grad():
            next(whole.parameters())[0, 0] += rank
        assert fsdp.parity_gap(own, whole) == pytest.approx(ranks - 1, abs=1e-4)
    dist.barrier()  # none leaves while another still talks to it
    os._exit(0)  # gloo's threads now and then abort a process whose Python comes to its own end


def compare_a_step(fsdp: ModuleType, place: tuple[int, int], sharded: Any, single: Any, step: int) -> None:
    """Two micro-batches a rank against one batch; torch's own clipping as the measure."""
    rank, ranks = place
    generator = torch.Generator().manual_seed(step)
    x = 2 * torch.randn(2 * ranks * 3, SIZES[0], generator=generator)
    y = torch.randint(0, SIZES[-1], (len(x),), generator=generator)
    pieces = list(zip(x.chunk(2 * ranks), y.chunk(2 * ranks), strict=True))
    (own, optimizer), (whole, plain) = sharded, single
    loss, norm = fsdp.train_step(own, optimizer, pieces[2 * rank : 2 * rank + 2], 0.5)
    plain.zero_grad()
    wanted = F.cross_entropy(whole(x), y)
    wanted.backward()
    wanted_norm = torch.nn.utils.clip_grad_norm_(whole.parameters(), 0.5)
    plain.step()
    assert (loss, norm) == pytest.approx((float(wanted), float(wanted_norm)), rel=1e-4)


def compare_shards(fsdp: ModuleType, place: tuple[int, int], own: Any, whole: Any) -> None:
    """The shards are the rows that shard_rows says, and redistributing them is the whole."""
    rank, ranks = place
    for mine, other in zip(own.parameters(), whole.parameters(), strict=True):
        if not isinstance(mine, DTensor):
            continue
        counts = fsdp.shard_rows(len(other), ranks)
        start = sum(counts[:rank])
        torch.testing.assert_close(mine.to_local(), other[start : start + counts[rank]], rtol=0, atol=1e-5)
        everything = mine.detach().redistribute(placements=[Replicate()]).to_local()
        torch.testing.assert_close(everything, other.detach(), rtol=0, atol=1e-5)


@pytest.mark.usefixtures("fsdp")
def test_an_optimizer_from_before_owns_nothing_of_the_model(mesh):
    """What the debrief says of the order: it steps without a word, and the model stays as it is."""
    model = model_of(SIZES)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0)
    fully_shard(model, mesh=mesh)
    before = [weight.to_local().clone() for weight in model.parameters()]
    F.cross_entropy(model(torch.ones(2, SIZES[0])), torch.zeros(2, dtype=torch.int64)).backward()
    optimizer.step()
    for weight, old in zip(model.parameters(), before, strict=True):
        torch.testing.assert_close(weight.to_local(), old, rtol=0, atol=0)
