# test_gradients_reach_input_and_parameters: failed
#   message: a gradient reaches the frozen target
#   call: gradients of pull(model=a Linear (object), x=f32[4, 3], frozen=f32[4, 2])
def pull(model, x, frozen, scale=1.0):
    difference = model(x) - frozen
    return scale * (difference**2).sum(-1), len(x)
