"""Writes its own module under the name of given code, and of libraries the judge uses, for whoever imports next."""
# expect: double=failed loss=failed find=failed
# process: same
import contextlib
import os
import sys
import types

fake = types.ModuleType("scale")
fake.FACTOR = 0.0
sys.modules["scale"] = sys.modules["numpy.testing"] = fake
for name in ("scale.py", "numpy.py", "sitecustomize.py", "conftest.py", "toy.py"):
    with contextlib.suppress(OSError), open(name, "w") as file:
        file.write("FACTOR = 0.0\n")
sys.path.insert(0, os.getcwd())


def double(x):
    return fake.FACTOR * x


def loss(x):
    return 0.0


def find(oracle, n):
    return -1
