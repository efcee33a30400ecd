# test_gradients_reach_input_and_parameters: error
#   message: ImportError: cannot import name 'better' from 'toy_linear'
#   call: loading the file
# test_a_chosen_upstream_gradient: error
# test_a_count_and_a_choice_carry_no_gradient: error
# test_a_handle_is_a_function_too: error
# test_a_step_is_judged_by_its_weights: error
from toy_linear import better
