# test_inverse_divides: error
#   message: RecursionError: maximum recursion depth exceeded
def inverse(x):
    return inverse(x)
