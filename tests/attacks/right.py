"""The control: a right attempt, which passes everything."""
# expect: double=passed loss=passed find=passed
# checks: all


def double(x):
    return x + x


def loss(x):
    return float((x * x).mean())


def find(oracle, n):
    low, high = 0, n - 1
    while low < high:
        middle = (low + high) // 2
        told = oracle(middle)
        if told == 0:
            return middle
        low, high = (middle + 1, high) if told < 0 else (low, middle - 1)
    return low


