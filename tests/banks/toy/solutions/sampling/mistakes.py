"""One that draws from the generator it is given."""

import torch

from grader.checking import mistake


@mistake(
    "all_alike",
    replaces="sample",
    caught_by="test_draws_follow_the_distribution",
    advice="Draw with the probabilities: yours are all alike.",
)
def sample(probabilities, n, generator):
    return torch.randint(len(probabilities), (n,), generator=generator)
