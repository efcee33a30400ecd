# test_draws_follow_the_distribution: failed
#   message: the draws do not follow the distribution
def sample(probabilities, n, generator):
    return torch.randint(len(probabilities), (n,), generator=generator)
