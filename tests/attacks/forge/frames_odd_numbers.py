"""Replies with integers of 5,000 bits, NumPy scalars without bytes, and dtypes that hold objects."""
# expect: double=error loss=error find=error
# checks: all
# with: frames


def double(x):
    answer(["I", bytes(625)])


def loss(x):
    answer(["N", "O" if len(x) == 3 else "<f8", 0], [b"\x41" * (8 if len(x) == 3 else 3)])


def find(oracle, n):
    answer(["n", "O", [1], None, 0], [b"\x41" * 8])
