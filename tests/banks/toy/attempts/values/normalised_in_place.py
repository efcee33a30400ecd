# test_weights_are_normalised_on_a_copy: failed
#   message: weights was modified, work on a copy: 5 of 5 elements wrong
#   call: normalised(np.f64[5])
def normalised(weights):
    if weights.sum() <= 0:
        raise ValueError("no weight")
    weights /= weights.sum()
    return weights
