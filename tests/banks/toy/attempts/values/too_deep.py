# test_arguments_are_copies: error
#   message: WireError: nested deeper than 64 levels
#   call: first_changed(['a', 'b'])
def first_changed(values):
    for _ in range(100):
        values = [values]
    return values
