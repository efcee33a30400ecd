# test_lengths_are_in_metres: error
#   message: numpy.linalg.norm is not allowed here: write the root of the sum of squares
#   call: length(
# test_nothing_else_is_loaded: error
def length(vector, unit):
    return float(np.linalg.norm(vector) * METRES[unit])
