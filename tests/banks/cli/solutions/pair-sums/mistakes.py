"""What goes wrong."""

from grader.checking import mistake


@mistake(
    "last_one_forgotten",
    replaces="total",
    caught_by="test_total_adds_up",
    advice="The loop ends one number too early.",
)
def total(xs):
    return sum(xs[:-1], 0.0)
