# test_mean_of_nothing_is_refused: failed
#   message: raised KeyError
#   mistake: None
def mean(values):
    if not values:
        raise KeyError("nothing")
    return sum(values) / len(values)
