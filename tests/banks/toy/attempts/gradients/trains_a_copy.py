# test_a_step_is_judged_by_its_weights: failed
#   message: not the same model
import copy

_train_step = train_step


def train_step(model, x, target, lr):
    return _train_step(copy.deepcopy(model), x, target, lr)
