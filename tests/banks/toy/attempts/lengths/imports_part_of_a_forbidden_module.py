# test_lengths_are_in_metres: error
#   message: heapq is not allowed here: sort instead
#   call: loading the file
# test_nothing_else_is_loaded: error
from heapq import nlargest
