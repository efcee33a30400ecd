# test_lengths_are_in_metres: error
#   message: torch is not allowed here: NumPy is enough
#   call: loading the file
# test_nothing_else_is_loaded: error
import torch
