# test_double_is_twice: failed
#   mistake: id='squares'
# test_shifted_is_one_more: failed
#   mistake: id='squared_inside'
# test_signs_are_kept: failed
#   mistake: None
def double(x):
    return x**2
