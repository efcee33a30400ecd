"""Prints 400 MB before it answers."""
# expect: double=passed loss=passed find=passed
# process: same
# with: right
import sys


def double(x):
    line = "x" * 2**20
    for _ in range(60):
        sys.stdout.write(line)
    return x + x


def loss(x):
    line = "y" * 2**20
    for _ in range(80):
        sys.stderr.write(line)
    return float((x * x).mean())
