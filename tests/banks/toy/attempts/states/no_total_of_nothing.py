# test_total_of_nothing: failed
#   message: the total of nothing is zero
#   call: total([])
def total(values):
    return sum(values) or None
