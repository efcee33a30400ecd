# A right attempt, of which a file spoils one function.

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


