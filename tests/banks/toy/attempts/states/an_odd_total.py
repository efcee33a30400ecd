# test_total_is_the_sum: failed
#   message: what came back could not be used: TypeError
#   call: total([1, 2, 3])
# test_total_of_nothing: waiting
def total(values):
    return str(sum(values))
