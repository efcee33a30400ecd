# test_signs_are_kept: failed
#   mistake: None
def double(x):
    return abs(x) + abs(x)
