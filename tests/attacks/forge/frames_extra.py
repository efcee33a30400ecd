"""Replies several times to each call: rights and wrongs, one of them will fit."""
# expect: double=failed|error loss=failed|error find=failed|error
# process: same
# with: frames


def double(x):
    for value in (0.0, 1.0, None, True):
        send(reply(value))
    return 0.0


def loss(x):
    return double(x)


def find(oracle, n):
    for guess in range(n):
        send(reply(guess))
    return -1
