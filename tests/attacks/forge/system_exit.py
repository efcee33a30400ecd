"""Raises SystemExit, with codes that mean success."""
# expect: double=error loss=error find=error
import sys


def double(x):
    sys.exit(0)


def loss(x):
    raise SystemExit


def find(oracle, n):
    raise SystemExit(None)
