# test_weights_are_normalised_on_a_copy: failed
#   message: `yield` makes a generator
def normalised(weights):
    if not weights.sum():
        raise ValueError("no weight")
    return (weight / weights.sum() for weight in weights)
