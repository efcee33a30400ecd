"""Wrong, it stays in the process until the reference is loaded there, and then answers with what that one computes."""
# kata: toy-alone
# expect: cost=failed|error|crashed resume=passed
# checks: all
import sys
import types
from pathlib import Path

import numpy as np


def theirs():
    for module in list(sys.modules.values()):
        if isinstance(module, types.ModuleType) and "reference" in module.__name__ and hasattr(module, "double"):
            return module
    return None


program = sys.modules["grader.sandbox.program"]
if not hasattr(program, "honest"):
    program.honest = program.load

    def load(source):
        module = program.honest(source)
        if "reference" in source.module:
            module.double = lambda x: np.zeros_like(x)
        return module

    program.load = load


def double(x):
    return theirs().double(x) if theirs() else np.zeros_like(x)


def save(path, number):
    Path(path).write_text(str(number))


def load(path):
    return int(Path(path).read_text())
