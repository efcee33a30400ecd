# test_equal_generators_give_equal_draws: failed
#   message: the generator was not used
def sample(probabilities, n, generator):
    own = torch.Generator()
    own.set_state(generator.get_state())
    return torch.multinomial(probabilities, n, replacement=True, generator=own)
