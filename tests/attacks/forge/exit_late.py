"""Registers functions that end the process with exit code 0 on its way out, and answers wrong."""
# expect: double=failed loss=failed find=failed
# process: same
import atexit
import os
import weakref


class Last:
    def __del__(self):
        os._exit(0)


last = Last()
weakref.finalize(last, os._exit, 0)
atexit.register(os._exit, 0)


def double(x):
    return x


def loss(x):
    return 0.0


def find(oracle, n):
    return -1
