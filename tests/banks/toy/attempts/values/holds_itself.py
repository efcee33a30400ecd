# test_arguments_are_copies: error
#   message: WireError: a list that holds itself cannot travel
def first_changed(values):
    values[0] = values
    return values
