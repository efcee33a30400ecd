"""Ends the process with exit code 0 instead of returning."""
# expect: double=crashed loss=crashed find=crashed
import os


def double(x):
    os._exit(0)


loss = double


def find(oracle, n):
    oracle(50)
    os._exit(0)
