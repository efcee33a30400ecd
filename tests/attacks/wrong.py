"""The control: an honest attempt that is wrong everywhere."""
# expect: double=failed loss=failed find=failed
# checks: all


def double(x):
    return x * 1.9


def loss(x):
    return float(abs(x).mean()) + 1


def find(oracle, n):
    return n
