"""Saving, a new process, loading: the losses go on as they would have."""

import pytest

from grader.checking import assert_close, assert_equal, assert_true, check
from grader.sandbox.wire import WireError


def losses(trainer, n):
    return [trainer.step() for _ in range(n)]


@check("checkpoint", points=30)
def test_training_goes_on_in_a_new_process(attempt, rng):
    """after loading, the losses and the count go on as if nothing had happened"""
    seed = int(rng.integers(1000))
    whole = losses(attempt.Trainer(seed), 6)
    first = attempt.Trainer(seed)
    assert_equal(losses(first, 3), whole[:3])
    path = attempt.path("checkpoint.pt")
    attempt.save(first, path)
    second = attempt.restart().load(path)
    assert_equal(second.get("steps"), 3)
    assert_close(losses(second, 3), whole[3:], rtol=1e-6, atol=0)


@check("checkpoint", points=30)
def test_the_checkpoint_holds_data_alone(attempt, reference):
    """the checkpoint is a file of torch's that loads with weights_only"""
    for module in (attempt, reference):
        path = module.path("checkpoint.pt")
        module.save(module.Trainer(1), path)
        assert_equal(module.read_bytes("checkpoint.pt")[:2], b"PK")
        names = module.run("contents", path)
        assert_true("weights" in names, "no weights in the checkpoint", got=names)


@check("checkpoint", points=20)
def test_a_restart_is_a_new_process(attempt):
    """nothing is left of the process before"""
    attempt.run("leave_a_mark")
    assert_true(attempt.run("marked"), "the mark does not stay")
    assert_true(not attempt.restart().run("marked"), "still the same process")


@check("checkpoint", points=20)
def test_the_reference_restarts_too(attempt, reference):
    """attempt and reference train alike, before a restart and after"""
    trained = []
    for module in (attempt, reference):
        trainer = module.Trainer(7)
        before = losses(trainer, 2)
        module.save(trainer, module.path("c.pt"))
        fresh = module.restart()
        with pytest.raises(WireError, match="of another process"):
            fresh.save(trainer, module.path("again.pt"))
        trained.append(before + losses(fresh.load(module.path("c.pt")), 2) + losses(fresh.Trainer(7), 1))
    assert_close(trained[0], trained[1], rtol=1e-6, atol=0)
