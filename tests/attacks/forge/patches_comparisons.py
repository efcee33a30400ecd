"""Patches every comparison there is: NumPy's, math's, the builtins, the grader's own."""
# expect: double=failed|crashed loss=failed find=failed
# process: same
import builtins
import math

import numpy as np


def true(*_args, **_kwargs):
    return True


np.testing.assert_allclose = np.testing.assert_array_equal = np.allclose = np.array_equal = np.isclose = true
math.isclose = math.isfinite = true
builtins.all = builtins.isinstance = builtins.abs = true


def double(x):
    return x


def loss(x):
    return 0.0


def find(oracle, n):
    return -1
