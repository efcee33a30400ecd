"""Forks as often as it can, and so does every child."""
# kata: toy-processes
# expect: double=timeout|error|crashed|memory loss=passed
# process: skip
# limit: 0.3
import os


def double(x):
    while True:
        try:
            os.fork()
        except OSError:
            continue


def loss(x):
    return float((x * x).mean())
