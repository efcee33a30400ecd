"""Those of the mean: what is too much for one file goes into another."""
# ruff: noqa: F811 — each takes the name it replaces

from grader.checking import mistake


@mistake("truncates", replaces="mean", caught_by="test_mean_is_exact", advice="Divide, do not floor.")
def mean(values):
    if not values:
        raise ValueError("no values")
    return float(sum(values) // len(values))


@mistake("floors", replaces="mean", caught_by="test_mean_is_exact", advice="Do not floor, divide.")
def mean(values):
    if not values:
        raise ValueError("no values")
    return float(sum(values) // len(values))
