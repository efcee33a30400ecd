# test_lengths_are_in_metres: error
#   message: heapq is not allowed here: sort instead
# test_nothing_else_is_loaded: error
def length(vector, unit):
    import heapq

    return float(heapq.nlargest(1, [np.sqrt((vector * vector).sum())])[0] * METRES[unit])
