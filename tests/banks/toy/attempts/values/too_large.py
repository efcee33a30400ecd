# test_arguments_are_copies: error
#   message: at most 67108864 travel
def first_changed(values):
    return torch.zeros(2**24 + 1)
