"""Calls itself without end, within Python's limit and far beyond it."""
# expect: double=error|memory|crashed|timeout loss=error find=passed
# with: right
# limit: 0.4
import sys


def double(x):
    sys.setrecursionlimit(2**31 - 1)
    return double(x)


def loss(x):
    return loss(x)
