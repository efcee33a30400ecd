"""Replies with values nested as deep as a head holds."""
# expect: double=error loss=error find=error
# with: frames


def double(x):
    send(b"\x92\xa1l\x91" * 1_000_000 + b"\xc0")
    silence()


def loss(x):
    send(b"\x91" * 4_000_000 + b"\xc0")
    silence()


def find(oracle, n):
    value = None
    for _ in range(100):
        value = ["l", [value]]
    answer(value)
