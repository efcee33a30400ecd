# test_lengths_are_in_metres: error
#   message: torch
#   call: loading the file
# test_nothing_else_is_loaded: error
import torch
