# whole
# test_double_is_twice: error
#   message: double is not defined in your file: is it misspelt or removed?
#   call: double(3)
# test_double_is_twice_for_any_number: waiting
# test_inverse_divides: error
# test_total_is_the_sum: error
# test_total_of_nothing: waiting
