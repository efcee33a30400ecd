"""Lets C call itself until its stack ends: comparisons of nested lists, and a parser with deep parentheses."""
# expect: double=error|crashed|memory|timeout loss=error|memory|crashed find=passed
# with: right
# limit: 0.4
import sys


def double(x):
    sys.setrecursionlimit(2**31 - 1)
    one, another = [], []
    for _ in range(10**5):
        one, another = [one], [another]
    return one == another


def loss(x):
    return eval("(" * 10**5 + ")" * 10**5)
