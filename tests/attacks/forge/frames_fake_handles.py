"""Replies with handles and callbacks that were never given out, with numbers of any size."""
# expect: double=failed loss=failed find=error|failed
# with: frames


def double(x):
    answer(["h", 10**18, "ndarray"])


def loss(x):
    answer(["h", -1, "float"])


def find(oracle, n):
    send(["t", ["callback", 17, ["l", []], ["d", []]]])
    silence()
