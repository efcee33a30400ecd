"""Replies with sets of integers that all hash alike, as many and as large as travel: adding one looks at all others."""
# expect: double=error loss=error find=error
# with: frames
# limit: 0.5

PRIME = 2**61 - 1


def double(x):
    numbers = [["I", (n * PRIME).to_bytes(11, "little")] for n in range(1, 20_001)]
    answer(["l", [["s", numbers]] * 11])


loss = double


def find(oracle, n):
    double(0)
