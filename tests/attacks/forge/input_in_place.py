"""Returns the right values, made by changing the argument: one check knows."""
# expect: double=failed|passed loss=failed find=failed
# checks: all


def double(x):
    x *= 2
    return x


def loss(x):
    return 0.0


def find(oracle, n):
    return -1
