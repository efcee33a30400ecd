# test_lengths_are_in_metres: error
#   message: No module named 'my_helpers'; your file may import
#   call: loading the file
# test_nothing_else_is_loaded: error
import my_helpers
