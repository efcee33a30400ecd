"""Crashes where the reference runs in a process of its own, to be given that process next, with the reference in it."""
# kata: toy-alone
# expect: cost=crashed|failed|error resume=passed
# checks: all
import gc
import os
import types
from pathlib import Path


def double(x):
    for thing in gc.get_objects():
        if isinstance(thing, types.FunctionType) and thing.__name__ == "double" and thing is not double:
            return thing(x)
    os._exit(1)


def save(path, number):
    Path(path).write_text(str(number))


def load(path):
    return int(Path(path).read_text())
