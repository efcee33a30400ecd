# test_double_is_twice: failed
#   mistake: id='halves', advice='Twice, not half.'
# test_shifted_is_one_more: failed
#   mistake: None
# test_signs_are_kept: failed
#   mistake: None
def double(x):
    return x * 0.5
