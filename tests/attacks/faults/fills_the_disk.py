"""Fills its scratch folder: one endless file, then many, then folders inside folders."""
# expect: double=error|crashed loss=error|crashed|timeout find=passed
# with: right
# limit: 1
import os


def double(x):
    with open("large", "wb", buffering=0) as file:
        while file.write(b"x" * 2**20) == 2**20:
            pass
    return x + x if False else open("another", "wb", buffering=0).write(b"x") // 0


def loss(x):
    for number in range(10**9):
        with open(f"f{number}", "wb") as file:
            file.write(b"x" * 2**16)
