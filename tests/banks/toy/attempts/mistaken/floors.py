# test_mean_is_exact: failed
#   mistake: None
def mean(values):
    if not values:
        raise ValueError
    return sum(values) // len(values) + 0.0
