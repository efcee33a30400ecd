# test_a_count_and_a_choice_carry_no_gradient: failed
def pull(model, x, frozen, scale=1.0):
    difference = model(x) - frozen.detach()
    return scale * (difference**2).sum(-1)


def train_step(model, x, target, lr):
    pull(model, x, target).mean().backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= lr * parameter.grad
    return model
