# test_double_is_twice: error
#   message: it called exit
#   call: loading the file
# test_double_is_twice_for_any_number: waiting
# test_inverse_divides: error
# test_total_is_the_sum: error
# test_total_of_nothing: waiting
raise SystemExit
