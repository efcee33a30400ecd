"""Known wrong ones."""

from grader.checking import mistake


@mistake("triple", replaces="double", caught_by="test_double_adds_x_to_itself", advice="Two, not three.")
def double(x):
    return 3 * x


@mistake("sum", replaces="loss", caught_by="test_loss_has_a_value_and_a_gradient", advice="The mean, not the sum.")
def loss(x):
    return (x * x).sum()
