# test_a_step_is_judged_by_its_weights: failed
#   message: key 'weight' of the result
#   call: a probe of the checks (weights)
_train_step = train_step


def train_step(model, x, target, lr):
    return _train_step(model, x, target, -lr)
