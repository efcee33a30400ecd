"""Replies with sets of integers that all hash alike, as many and as large as travel: adding one looks at all others."""
# expect: double=failed loss=error find=failed
# with: frames
# within: 20

PRIME = 2**61 - 1


def double(x):
    return x


def loss(x):
    numbers = [["I", (n * PRIME).to_bytes(11, "little")] for n in range(1, 20_001)]
    answer(["l", [["s", numbers]] * 11])


def find(oracle, n):
    return -1
