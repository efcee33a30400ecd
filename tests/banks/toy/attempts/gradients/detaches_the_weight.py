# test_gradients_reach_input_and_parameters: failed
#   message: gradients of the parameters: key 'weight'
# test_a_step_is_judged_by_its_weights: error
def pull(model, x, frozen, scale=1.0):
    difference = x @ model.weight.detach().T + model.bias - frozen.detach()
    return scale * (difference**2).sum(-1), len(x)
