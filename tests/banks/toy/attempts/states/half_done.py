# test_inverse_divides: not_attempted
def inverse(x):
    raise NotImplementedError("inverse: divide")
