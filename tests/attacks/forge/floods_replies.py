"""Answers each of many calls with as much as travels, which the check collects before it compares."""
# kata: toy-careless
# expect: careless=failed|error handles=failed|error
# within: 30
import numpy as np

LARGE = bytes(63 * 2**20)


def square(n):
    return LARGE


def report():
    return np.frombuffer(LARGE, np.uint8)


def encode(text):
    return "𝄞" * (15 * 2**20)


def decode(code):
    return code


def answer():
    return {"𝄞" * 10**6: LARGE[: 2**20]}


chain = walk = answer
