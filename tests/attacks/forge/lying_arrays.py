"""Returns NumPy subclasses and objects that compute whatever makes a comparison agree."""
# expect: double=failed loss=failed find=failed
# checks: all
# process: same
import numpy as np


class Agreeable(np.ndarray):
    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        return np.True_ if ufunc in (np.equal, np.less_equal, np.isfinite) else np.zeros(self.shape)

    def __array_function__(self, function, types, args, kwargs):
        return True

    def __eq__(self, other):
        return np.ones(self.shape, bool)

    def __array_finalize__(self, other):
        pass

    def __reduce__(self):
        return (print, ("unpickled",))


class Wrapper:
    def __init__(self, x):
        self.x = x

    def __array__(self, dtype=None, copy=None):
        import sys

        frame = sys._getframe()
        while frame:
            for name in ("want", "expected", "desired"):
                if name in frame.f_locals:
                    return np.asarray(frame.f_locals[name])
            frame = frame.f_back
        return np.zeros(5)


def double(x):
    return np.zeros(x.shape).view(Agreeable)


def loss(x):
    return Wrapper(x)


def find(oracle, n):
    return np.array(7).view(Agreeable)
