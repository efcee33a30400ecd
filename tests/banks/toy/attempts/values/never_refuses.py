# test_weights_of_nothing_are_refused: failed
#   message: no ValueError was raised
#   expected: ValueError
#   got: np.f64[3]
def normalised(weights):
    return weights / max(weights.sum(), 1e-9)
