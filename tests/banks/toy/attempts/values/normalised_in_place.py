# test_weights_are_normalised_on_a_copy: failed
#   message: argument 1 was modified
#   call: normalised(np.f64[5])
def normalised(weights):
    if weights.sum() <= 0:
        raise ValueError("no weight")
    weights /= weights.sum()
    return weights
