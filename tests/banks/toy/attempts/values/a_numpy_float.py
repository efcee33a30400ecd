# test_a_mean_is_a_python_float: failed
#   message: numpy.float64, wanted exactly float
def mean(values):
    return values.double().numpy().mean()
