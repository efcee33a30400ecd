# test_weights_of_nothing_are_refused: failed
#   message: raised ZeroDivisionError: no weight
#   call: normalised(np.f64[3])
def normalised(weights):
    total = weights.sum()
    if not total:
        raise ZeroDivisionError("no weight")
    return weights / total
