"""Replies with a dict, a set and a dataclass of 20,001 keys."""
# expect: double=error loss=error find=error
# with: frames


def double(x):
    answer(["d", [n for key in range(20_001) for n in (key, None)]])


def loss(x):
    answer(["s", list(range(20_001))])


def find(oracle, n):
    answer(["r", "Wide", [n for key in range(20_001) for n in (f"f{key}", None)]])
