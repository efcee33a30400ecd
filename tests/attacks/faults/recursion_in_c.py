"""Lets C call itself until its stack ends: comparisons of nested lists, and a parser with deep parentheses."""
# expect: double=error|crashed|memory loss=error|memory|crashed find=passed
# with: right
import sys


def double(x):
    sys.setrecursionlimit(2**31 - 1)
    nested = []
    for _ in range(10**6):
        nested = [nested]
    return nested == nested[:]


def loss(x):
    return eval("(" * 10**5 + ")" * 10**5)
