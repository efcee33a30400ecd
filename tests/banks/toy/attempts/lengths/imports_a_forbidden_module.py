# test_lengths_are_in_metres: error
#   message: statistics is not allowed here: compute the mean yourself
#   call: loading the file
# test_nothing_else_is_loaded: error
import statistics
