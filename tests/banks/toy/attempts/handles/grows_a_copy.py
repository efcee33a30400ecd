# test_a_kept_list_grows_over_there: failed
#   message: grow returned another list
def grow(values, item):
    return [*values, item]
