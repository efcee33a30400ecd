# whole
# test_double_is_twice: error
#   message: line 10: def double(x)
#   call: loading the file
# test_double_is_twice_for_any_number: waiting
# test_inverse_divides: error
#   message: SyntaxError: expected ':'
# test_total_is_the_sum: error
# test_total_of_nothing: waiting
def double(x)
    return 2 * x
