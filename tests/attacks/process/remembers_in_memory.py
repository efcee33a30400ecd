"""Saves to its memory instead of its file, and loads from there in what should be another process."""
# kata: toy-alone
# expect: cost=passed resume=failed|error
# checks: all
import builtins
from pathlib import Path


def double(x):
    return x + x


def save(path, number):
    Path(path).write_text(str(number))
    builtins.number = number


def load(path):
    return builtins.number
