# test_gradients_reach_input_and_parameters: failed
#   message: gradient of x: None, wanted a torch tensor
# test_a_step_is_judged_by_its_weights: error
#   message: element 0 of tensors does not require grad
def pull(model, x, frozen, scale=1.0):
    difference = model(x).detach() - frozen
    return scale * (difference**2).sum(-1), len(x)
