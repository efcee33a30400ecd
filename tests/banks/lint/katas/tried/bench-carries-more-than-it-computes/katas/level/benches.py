"""Adds a number to many."""

from grader.benching import call, workload


@workload(rtol=1e-9, atol=1e-9)
def large(module, rng):
    """a million numbers, once"""
    while True:
        yield call(module.center, rng.standard_normal(1_000_000))
