# test_equal_generators_give_equal_draws: failed
#   message: the generator was not used
def sample(probabilities, n, generator):
    return torch.multinomial(probabilities, n, replacement=True)
