# test_a_chosen_upstream_gradient: failed
#   message: gradient of x
#   call: gradients of softmax(x=f32[1, 3])
def softmax(x):
    return (torch.softmax(x, -1) - x).detach() + x
