"""Times what the kata does not have."""

from grader.benching import call, workload


@workload(rtol=1e-9, atol=1e-9)
def nothing(module, rng):
    """a function that is not there"""
    while True:
        yield call(module.uncenter, rng.standard_normal(10))
